import type { Recorded } from "./join";
/** A shown probe, or the mean over the whole probe set. */
export type Probe = number | "mean";

/** Entropy maps of one layer for one probe: 8 bits a position, a range of H a step. */
export interface LayerMaps extends Recorded {
  readonly run: string;
  readonly layer: string;
  readonly channels: number;
  readonly probe: Probe;
  readonly lo: Float32Array;
  readonly hi: Float32Array;
  /** [steps, *shape]; code c < 255 stands for lo + (hi - lo) c / 254 nats, 255 for NaN. */
  readonly codes: Uint8Array;
  readonly shape: readonly number[];
  readonly pooledFrom: readonly number[] | null;
}

/** Rows and columns a map is shown with: [L] is a strip, a solid is its slices below each other. */
export function sides(shape: readonly number[]): [rows: number, columns: number] {
  const last = shape[shape.length - 1] ?? 1;
  return [shape.slice(0, -1).reduce((rows, side) => rows * side, 1), last];
}

/** H in nats at one position of one step; NaN where it was not finite or is out of range. */
export function entropyAt(maps: LayerMaps, step: number, position: number): number {
  const size = maps.shape.reduce((a, b) => a * b, 1);
  if (step < 0 || position < 0 || position >= size) return NaN;
  const code = maps.codes[step * size + position] ?? 255;
  const lo = maps.lo[step] ?? NaN;
  return code === 255 ? NaN : lo + (((maps.hi[step] ?? NaN) - lo) * code) / 254;
}

/** "row 3, column 7", "position 5", or nothing for a dense layer. */
export function positionText(shape: readonly number[], position: number): string {
  const size = shape.reduce((a, b) => a * b, 1);
  if (size <= 1) return "the whole layer";
  const [, columns] = sides(shape);
  if (shape.length < 2 || shape[0] === size) return `position ${position}`;
  return `row ${Math.floor(position / columns)}, column ${position % columns}`;
}

import { nearest } from "./epochs";
import type { Recorded } from "./records";
import type { Mode } from "./statistics";
import { extent } from "./statistics";

/** A shown probe, or the mean over the whole probe set. */
export type Probe = number | "mean";

/** Entropy maps of one layer for one probe: 8 bits for each position, a range of H for each step. */
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

/** Rows and columns of a map as drawn: [L] is a strip, a solid is its slices below each other. */
export function sides(shape: readonly number[]): [rows: number, columns: number] {
  const last = shape[shape.length - 1] ?? 1;
  return [shape.slice(0, -1).reduce((rows, side) => rows * side, 1), last];
}

/** H in nats at one position of one step; NaN if it was not finite, or there is no such position. */
export function entropyAt(maps: LayerMaps, step: number, position: number): number {
  const size = maps.shape.reduce((a, b) => a * b, 1);
  if (step < 0 || position < 0 || position >= size) return NaN;
  const code = maps.codes[step * size + position] ?? 255;
  const lo = maps.lo[step] ?? NaN;
  return code === 255 ? NaN : lo + (((maps.hi[step] ?? NaN) - lo) * code) / 254;
}

/** H / ln D at each position of one step, [positions]; NaN if it is unknown. */
export function relativeAt(maps: LayerMaps, step: number): Float64Array {
  const size = maps.shape.reduce((a, b) => a * b, 1);
  const values = new Float64Array(size).fill(NaN);
  if (step < 0 || step >= maps.steps.length) return values;
  const most = Math.log(maps.channels);
  const lo = (maps.lo[step] ?? NaN) / most;
  const width = (maps.hi[step] ?? NaN) / most - lo;
  // A plain loop, since this runs for each tile that the cursor changes.
  for (let at = 0; at < size; at++) {
    const code = maps.codes[step * size + at] ?? 255;
    if (code < 255) values[at] = lo + (width * code) / 254;
  }
  return values;
}

/** Maps as they are shown: as recorded, minus those of the layer's first epoch, or minus another run's. */
export interface ShownMaps {
  readonly maps: LayerMaps;
  readonly mode: Mode;
  /** The other run's, in a difference. */
  readonly reference: LayerMaps | null;
}

/** What is shown at each position of a step, [positions], of ln D; NaN if it is unknown. */
export function shownAt(shown: ShownMaps, step: number): Float64Array {
  const values = relativeAt(shown.maps, step);
  if (shown.mode === "value") return values;
  const base = baseAt(shown, step);
  return values.map((value, at) => value - (base[at] ?? NaN));
}

interface KnownEnds {
  readonly shown: ShownMaps;
  readonly ends: readonly [number, number] | null;
}

// Kept for as long as the maps are, since all epochs have to be searched for them.
const known = new WeakMap<LayerMaps, KnownEnds>();

/** The lowest and the highest value shown at any epoch, of ln D; null if none is known. */
export function shownEnds(shown: ShownMaps): readonly [number, number] | null {
  const { maps, mode, reference } = shown;
  const before = known.get(maps);
  if (before?.shown.mode === mode && before.shown.reference === reference) return before.ends;
  const ends = extent(rowsOf(shown));
  known.set(maps, { shown, ends });
  return ends;
}

function rowsOf(shown: ShownMaps): ArrayLike<number>[] {
  const { maps, mode } = shown;
  if (mode !== "value") return Array.from(maps.steps, (_, step) => shownAt(shown, step));
  return [maps.lo, maps.hi].map((edge) => edge.map((h) => h / Math.log(maps.channels)));
}

/** What is subtracted at a step, [positions]; empty if there is nothing to compare with. */
export function baseAt({ maps, mode, reference }: ShownMaps, step: number): Float64Array {
  if (mode === "change") return relativeAt(maps, startOf(maps));
  if (!reference || !sameShape(maps, reference)) return new Float64Array();
  return relativeAt(reference, reference.steps.indexOf(maps.steps[step] ?? NaN));
}

/** Position of the step that changes are counted from: the layer's first with any value. */
export function startOf({ codes, shape }: LayerMaps): number {
  const size = shape.reduce((a, b) => a * b, 1);
  return Math.max(0, Math.floor(codes.findIndex((code) => code < 255) / size));
}

/** Whether the positions of both correspond. */
export function sameShape(a: LayerMaps, b: LayerMaps): boolean {
  return String(a.shape) === String(b.shape);
}

/** Position of the step to show at an epoch, among those that can be compared; -1 for none. */
export function stepNear({ maps, mode, reference }: ShownMaps, epoch: number): number {
  if (mode !== "difference") return nearest(maps.steps, epoch);
  const both = maps.steps.filter((step) => reference?.steps.includes(step));
  return maps.steps.indexOf(both[nearest(both, epoch)] ?? NaN);
}

/** "slice 2, row 3, column 7", "position 5", or "the whole layer" if it has no positions. */
export function positionText(shape: readonly number[], position: number): string {
  const size = shape.reduce((a, b) => a * b, 1);
  if (size <= 1) return "the whole layer";
  const [rows = 1, columns = 1] = shape.slice(-2);
  if (shape.length < 2 || shape[0] === size) return `position ${position}`;
  const slice = shape.length > 2 ? `slice ${Math.floor(position / (rows * columns))}, ` : "";
  return `${slice}row ${Math.floor(position / columns) % rows}, column ${position % columns}`;
}

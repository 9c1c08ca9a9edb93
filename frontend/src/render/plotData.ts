import type { Range } from "../data/epochs";
import { format } from "../data/formatting";
import type { Axis } from "./axis";
import type { Tip } from "./tip";
import { fitted } from "./tip";

/** What a line is a line of. */
export interface LineSource {
  /** The name of the statistic, or the tag of the scalar. */
  readonly quantity: string;
  readonly run: string;
  readonly layer: string | null;
  /** Width of the Gaussian in epochs that smooths it; 0 for none. */
  readonly sigma: number;
}

/** One line of a plot. `undefined` is no record at that x, `null` a record without a value. */
export interface Line {
  readonly label: string;
  /** What the colour and the dash stand for: its name in the key. */
  readonly key: string;
  readonly source: LineSource;
  readonly values: readonly (number | null | undefined)[];
  readonly stroke: string;
  readonly width: number;
  readonly dash: readonly number[];
  /** Has no tooltip and is not exported: the edge of a band. */
  readonly silent?: boolean;
  readonly onClick?: () => void;
}

/** A vertical line across a plot. */
export interface Mark {
  readonly x: number;
  readonly stroke: string;
  readonly dash: readonly number[];
  readonly label: string;
}

/** Lines over a common axis. */
export interface PlotData {
  readonly axis: Axis;
  /** What the values are, with their unit: beside their axis. */
  readonly valueTitle: string;
  /** Where the lines have their values, ascending. */
  readonly x: readonly number[];
  readonly lines: readonly Line[];
  /** Pairs of lines, upper and lower, with a fill between them. */
  readonly bands: readonly { readonly of: readonly [number, number]; readonly fill: string }[];
  readonly marks: readonly Mark[];
  /** Whether the values, not the axis, are spaced by their logarithms. */
  readonly logarithmic: boolean;
  /** The range of the values, or null to fit them. */
  readonly values: Range | null;
  readonly dark: boolean;
  /** What the tooltip says at an x, given the line that the pointer is at; else, each line's value. */
  readonly tip?: (x: number, near: number | null) => Tip;
}

/** The ends of the axis of values: given, or those of the values in view with a little room. */
export function valueEnds({ axis, x, lines, logarithmic, values: given }: PlotData): Range {
  if (given && !logarithmic) return given;
  let [lo, hi] = [Infinity, -Infinity];
  for (const { values } of lines) {
    values.forEach((value, index) => {
      const at = x[index] ?? NaN;
      if (value === null || value === undefined) return;
      if (!(at >= axis.range[0] && at <= axis.range[1])) return;
      lo = Math.min(lo, value);
      hi = Math.max(hi, value);
    });
  }
  if (!(lo <= hi)) return logarithmic ? [1, 10] : [0, 1];
  const pad = (hi - lo) * 0.05 || Math.abs(hi) * 0.05 || 1;
  return logarithmic ? [lo / 1.1, hi * 1.1] : [lo - pad, hi + pad];
}

/** The value of each line at position `index` of x, or else at its own nearest record. */
export function linesTip(data: PlotData, index: number, near: number | null): Tip {
  const rows = data.lines.flatMap(({ label, stroke, dash, values, silent }, line) => {
    const at = recordNear(values, index);
    if (silent || at < 0) return [];
    const cells = [format(values[at] ?? NaN)];
    return [{ name: label, stroke, dash, cells, near: line === near }];
  });
  return fitted([data.axis.phrase(data.x[index] ?? NaN)], { head: ["", ""], rows });
}

/** Position of the record nearest to a position, the earlier of two; -1 if there is none. */
function recordNear(values: Line["values"], index: number): number {
  for (let off = 0; off < values.length; off++) {
    if (values[index - off] !== undefined) return index - off;
    if (values[index + off] !== undefined) return index + off;
  }
  return -1;
}

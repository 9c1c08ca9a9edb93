import type { Range } from "../data/epochs";
import type { Axis } from "./axis";

/** One line of a plot. `undefined` is no record at that x, `null` a record without a value. */
export interface Line {
  readonly label: string;
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
}

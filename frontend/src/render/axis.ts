import type { Range } from "../data/epochs";
import { epochPhrase, epochText, formatRound } from "../data/formatting";
import { logTicks, ticks, wholeTicks } from "../scale/ticks";

/** A horizontal axis: what it spans, how its values are spaced, and how they are written. */
export interface Axis {
  readonly title: string;
  /** The first and the last value in view. */
  readonly range: Range;
  /** Room beyond either end, in units of the values. */
  readonly margin: number;
  readonly logarithmic: boolean;
  /** Round values within the range, about `count` of them. */
  readonly ticks: (count: number) => number[];
  /** The text below a tick; empty for values that should have none. */
  readonly tickText: (value: number) => string;
  /** A value, written out: "epoch 14". */
  readonly phrase: (value: number) => string;
}

/** Epochs: whole numbers, each with half an epoch of room on either side. */
export function epochAxis(range: Range): Axis {
  return {
    title: "epoch",
    range,
    margin: 0.5,
    logarithmic: false,
    ticks: (count) => wholeTicks(range[0], range[1], count),
    tickText: (value) => (value % 1 ? "" : epochText(value)),
    phrase: epochPhrase,
  };
}

/** Any numbers, evenly spaced or by their logarithms. */
export function numberAxis(title: string, range: Range, logarithmic = false): Axis {
  const [lo, hi] = range;
  return {
    title,
    range,
    margin: 0,
    logarithmic,
    ticks: (count) => (logarithmic ? logTicks(lo, hi) : ticks(lo, hi, count)),
    tickText: formatRound,
    phrase: (value) => `${title} ${formatRound(value)}`,
  };
}

/** The values at the ends of an axis. */
export function axisEnds({ range, margin }: Axis): [number, number] {
  return [range[0] - margin, range[1] + margin];
}

/** Where a value lies on an axis, as a share of its width. */
export function axisShare(axis: Axis, value: number): number {
  const [lo, hi] = axisEnds(axis);
  if (!axis.logarithmic) return (value - lo) / (hi - lo);
  return Math.log(value / lo) / Math.log(hi / lo);
}

/** Steps are epochs, strictly increasing; -1 is "before training". */
export type Steps = ArrayLike<number>;

/** A range of epochs, both included. */
export type Range = readonly [number, number];

/** All steps of several runs, ascending. */
export function union(lists: readonly Steps[]): number[] {
  const all = new Set<number>();
  for (const steps of lists) for (let i = 0; i < steps.length; i++) all.add(steps[i] ?? 0);
  return [...all].sort((a, b) => a - b);
}

/** Position of the step nearest to an epoch, the earlier of two; -1 if there are no steps. */
export function nearest(steps: Steps, epoch: number): number {
  let lo = 0;
  let hi = steps.length - 1;
  while (hi - lo > 1) {
    const middle = (lo + hi) >> 1;
    if ((steps[middle] ?? 0) <= epoch) lo = middle;
    else hi = middle;
  }
  if (hi < 0) return -1;
  const below = Math.abs(epoch - (steps[lo] ?? 0));
  const above = Math.abs((steps[hi] ?? 0) - epoch);
  return above < below ? hi : lo;
}

/** Position of the record that stands for an epoch, at most half the usual gap away; else -1. */
export function held(steps: Steps, epoch: number): number {
  const at = nearest(steps, epoch);
  return at >= 0 && Math.abs((steps[at] ?? 0) - epoch) <= reach(steps) ? at : -1;
}

/** The step `by` places from the one nearest to an epoch, kept within the list. */
export function stepBy(steps: Steps, epoch: number, by: number): number {
  const at = nearest(steps, epoch);
  return steps[Math.max(0, Math.min(steps.length - 1, at + by))] ?? epoch;
}

/** How many epochs a record stands for on each side: half the usual gap between records. */
export function reach(steps: Steps): number {
  const gaps: number[] = [];
  for (let i = 1; i < steps.length; i++) gaps.push((steps[i] ?? 0) - (steps[i - 1] ?? 0));
  gaps.sort((a, b) => a - b);
  return (gaps[gaps.length >> 1] ?? 1) / 2;
}

/** Columns of a picture. Column i shows the records `from[i]` to `to[i] - 1`, none if they are equal. */
export interface EpochColumns {
  readonly range: Range;
  readonly count: number;
  readonly from: Int32Array;
  readonly to: Int32Array;
}

/**
 * Cuts a range of epochs into at most `limit` columns of equal width. Each shows the records that
 * lie in it or, if there are none, the nearest record, if it is at most half the usual gap away.
 */
export function columnsOf(steps: Steps, range: Range, limit: number): EpochColumns {
  const [first, last] = range;
  const span = last - first + 1;
  const count = Math.max(1, Math.min(span, limit));
  const width = span / count;
  const within = reach(steps);
  const from = new Int32Array(count);
  const to = new Int32Array(count);
  let at = 0;
  for (let column = 0; column < count; column++) {
    const start = first - 0.5 + column * width;
    while (at < steps.length && (steps[at] ?? 0) < start) at++;
    let end = at;
    while (end < steps.length && (steps[end] ?? 0) < start + width) end++;
    from[column] = at;
    to[column] = end;
    if (end > at) continue;
    const centre = start + width / 2;
    const near = nearest(steps, centre);
    if (near >= 0 && Math.abs((steps[near] ?? 0) - centre) <= within) {
      from[column] = near;
      to[column] = near + 1;
    }
  }
  return { range, count, from, to };
}

/** Mean of the finite values that a column shows; NaN if there are none. */
export function columnValue(columns: EpochColumns, column: number, values: Float64Array): number {
  let sum = 0;
  let count = 0;
  for (let i = columns.from[column] ?? 0; i < (columns.to[column] ?? 0); i++) {
    const value = values[i] ?? NaN;
    if (Number.isFinite(value)) {
      sum += value;
      count++;
    }
  }
  return count ? sum / count : NaN;
}

/** Where an epoch's middle lies in a range, as a share of its width. */
export function shareOf(range: Range, epoch: number): number {
  return (epoch - range[0] + 0.5) / (range[1] - range[0] + 1);
}

/** The epoch at a share of a range's width. */
export function epochAt(range: Range, share: number): number {
  const epoch = Math.round(range[0] - 0.5 + share * (range[1] - range[0] + 1));
  return Math.max(range[0], Math.min(range[1], epoch));
}

/**
 * At most `count` of the steps, evenly spread. The first, the last and those of `must` (in order of
 * importance) are among them.
 */
export function pick(steps: readonly number[], count: number, must: readonly number[]): number[] {
  if (steps.length <= count) return [...steps];
  const chosen = new Set<number>();
  const last = steps.length - 1;
  for (let i = 0; i < count; i++) {
    chosen.add(count > 1 ? Math.round((i * last) / (count - 1)) : last);
  }
  const kept = new Set<number>([0, last]);
  for (const epoch of must) {
    const wanted = nearest(steps, epoch);
    if (!chosen.has(wanted)) replaceNearest(chosen, kept, wanted);
    if (chosen.has(wanted)) kept.add(wanted);
  }
  return [...chosen].sort((a, b) => a - b).map((index) => steps[index] ?? 0);
}

function replaceNearest(chosen: Set<number>, kept: ReadonlySet<number>, wanted: number): void {
  let best = -1;
  for (const index of chosen) {
    if (kept.has(index)) continue;
    if (best < 0 || Math.abs(index - wanted) < Math.abs(best - wanted)) best = index;
  }
  if (best < 0) return;
  chosen.delete(best);
  chosen.add(wanted);
}

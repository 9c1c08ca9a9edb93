/** How far a statistic moved, by the rule of core/sparsight/maths/movement.py: tests/movement.json holds both to it. */

/** Median of the finite values; NaN if there are none. */
export function median(values: ArrayLike<number>): number {
  const finite = Array.from(values)
    .filter(Number.isFinite)
    .sort((a, b) => a - b);
  const middle = finite.length >> 1;
  if (finite.length % 2) return finite[middle] ?? NaN;
  return finite.length ? ((finite[middle - 1] ?? 0) + (finite[middle] ?? 0)) / 2 : NaN;
}

const LAST = 10;

/** Position of a layer's own first record, the first value that is a number; -1 for none. */
export function begins(values: Float64Array): number {
  return values.findIndex(Number.isFinite);
}

/** Where a statistic starts: at the layer's own first record, which may not be the run's. */
export function started(values: Float64Array): number {
  return values[begins(values)] ?? NaN;
}

/**
 * Where a statistic ends: the median over its last 10 records, because single epochs swing; over the
 * last sixth of fewer than 60, as the last 10 of a dozen would be most of the way there.
 */
export function settled(values: Float64Array, end = values.length): number {
  const start = begins(values);
  const last = Math.min(LAST, Math.ceil((end - start) / 6));
  const from = Math.max(Math.min(start + 1, end - 1), end - last, 0);
  return median(values.subarray(from, end));
}

/** How far a statistic moved between its first record and record `end`, not included. */
export function moved(values: Float64Array, end = values.length): number {
  return settled(values, end) - started(values);
}

/** Positions of the rows that moved farthest, the farthest first. Only noticeable movements count. */
export function farthest(movements: readonly number[], count = 3, threshold = 0.1): number[] {
  return movements
    .map((movement, index) => ({ size: Math.abs(movement), index }))
    .filter(({ size }) => size >= threshold)
    .sort((a, b) => b.size - a.size)
    .slice(0, count)
    .map(({ index }) => index);
}

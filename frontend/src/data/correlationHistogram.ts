import type { Correlations } from "./runs";
import { BINS } from "./runs";

/** Share of the pairs in each bin at each step, [steps][201]; NaN if there were no pairs. */
export function shares(correlations: Correlations): Float64Array[] {
  const { steps, counts } = correlations;
  return Array.from(steps, (_, step) => {
    const row = counts.subarray(step * BINS, (step + 1) * BINS);
    const total = row.reduce((sum, count) => sum + count, 0);
    return Float64Array.from(row, (count) => (total ? count / total : NaN));
  });
}

/** Coefficient at the middle of a bin. */
export function coefficient(bin: number): number {
  return Math.round(bin - (BINS - 1) / 2) / 100;
}

/** The smallest share that is not 0, and the largest; null if there are no pairs. */
export function shareExtent(rows: readonly Float64Array[]): [number, number] | null {
  let lo = Infinity;
  let hi = 0;
  for (const row of rows) {
    for (const value of row) {
      if (value > 0 && value < lo) lo = value;
      if (value > hi) hi = value;
    }
  }
  return hi > 0 ? [lo, hi] : null;
}

/** One row for each coefficient, +1 at the top, over the steps, as a picture is drawn. */
export function byCoefficient(rows: readonly Float64Array[]): Float64Array[] {
  return Array.from({ length: BINS }, (_, at) =>
    Float64Array.from(rows, (row) => row[BINS - 1 - at] ?? NaN),
  );
}

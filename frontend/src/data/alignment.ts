import { nearest } from "./epochs";

/** What a plot draws: `undefined` is no record at that x, `null` a record without a value. */
export type PlotValues = (number | null | undefined)[];

/** The values of one line, aligned with the x of all lines. Both are ascending. */
export function align(
  x: readonly number[],
  own: ArrayLike<number | null>,
  values: ArrayLike<number | null>,
): PlotValues {
  const found: PlotValues = new Array<undefined>(x.length).fill(undefined);
  for (let i = 0; i < own.length; i++) {
    const wanted = own[i];
    if (wanted === null || wanted === undefined) continue;
    const at = nearest(x, wanted);
    if (x[at] !== wanted) continue;
    const value = values[i] ?? NaN;
    found[at] = Number.isFinite(value) ? value : null;
  }
  return found;
}

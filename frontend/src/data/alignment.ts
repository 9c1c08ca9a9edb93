import { nearest } from "./epochs";

/** What a plot draws: `undefined` is no record at that epoch, `null` a record without a value. */
export type PlotValues = (number | null | undefined)[];

/** Values at their own epochs, spread over the epochs of all lines; both ascending. */
export function spread(
  epochs: readonly number[],
  own: ArrayLike<number | null>,
  values: ArrayLike<number | null>,
): PlotValues {
  const found: PlotValues = new Array<undefined>(epochs.length).fill(undefined);
  for (let i = 0; i < own.length; i++) {
    const epoch = own[i];
    if (epoch === null || epoch === undefined) continue;
    const at = nearest(epochs, epoch);
    if (epochs[at] !== epoch) continue;
    const value = values[i] ?? NaN;
    found[at] = Number.isFinite(value) ? value : null;
  }
  return found;
}

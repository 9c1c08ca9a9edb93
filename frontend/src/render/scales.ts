import { shareExtent } from "../data/correlationHistogram";
import type { Mode, Statistic } from "../data/statistics";
import { extent } from "../data/statistics";
import type { ColourScale } from "../scale/colour";
import { diverging, sequential } from "../scale/colour";

/** Which values set the ends of a colour scale. */
export type Policy = "fixed" | "shared" | "layer";

/** Scales of a matrix: one for all layers, or one for each. */
export interface Scales {
  /** The one scale, or null if each layer has its own. */
  readonly common: ColourScale | null;
  readonly of: (layer: number) => ColourScale;
}

/** `rows[layer]` holds the values of a layer in every run that is shown. */
export function scalesOf(
  rows: readonly (readonly Float64Array[])[],
  statistic: Statistic,
  mode: Mode,
  policy: Policy,
): Scales {
  if (policy === "layer") {
    const each = rows.map((values) => scaleOf(extent(values), statistic, mode));
    const none = scaleOf(null, statistic, mode);
    return { common: null, of: (layer) => each[layer] ?? none };
  }
  const fixed = policy === "fixed" ? fixedScale(statistic, mode) : null;
  const common = fixed ?? scaleOf(extent(rows.flat()), statistic, mode);
  return { common, of: () => common };
}

function fixedScale(statistic: Statistic, mode: Mode): ColourScale | null {
  if (!statistic.range) return null;
  const [lo, hi] = statistic.range;
  if (mode !== "value") return diverging(hi - lo);
  return lo < 0 ? diverging(Math.max(-lo, hi)) : sequential(lo, hi);
}

/** From the lowest to the highest value; for a difference, equally far on both sides of 0. */
export function scaleOf(
  ends: readonly [number, number] | null,
  statistic: Statistic,
  mode: Mode,
): ColourScale {
  const [lo, hi] = ends ?? [0, 1];
  if (mode !== "value") return diverging(Math.max(Math.abs(lo), Math.abs(hi)));
  return sequential(lo, hi, statistic.logarithmic);
}

const RAREST = 1e-4; // share of the pairs: one pair among those of 142 filters

/** The scale of correlation histograms: from the rarest to the most frequent shown, or fixed. */
export function shareScale(
  rows: readonly Float64Array[],
  frequency: "log" | "linear",
  policy: "shared" | "fixed",
): ColourScale {
  const [lo, hi] = (policy === "shared" ? shareExtent(rows) : null) ?? [RAREST, 1];
  return frequency === "log" ? sequential(lo, hi, true) : sequential(0, hi);
}

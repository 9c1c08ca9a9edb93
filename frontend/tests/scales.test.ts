import { describe, expect, it } from "vitest";
import { RELATIVE_ENTROPY, statisticOf } from "../src/data/statistics";
import { scalesOf, shareScale } from "../src/render/scales";

describe("scales", () => {
  const rows = [[Float64Array.of(0.2, NaN)], [Float64Array.of(0.6, 0.8)]];
  const ends = (policy: "fixed" | "shared" | "layer", mode: "value" | "change", row = 0) => {
    const { lo, hi } = scalesOf(rows, RELATIVE_ENTROPY, mode, policy).of(row);
    return [lo, hi];
  };

  it("are fixed, shared or each layer's own", () => {
    expect(ends("fixed", "value")).toEqual([0, 1]);
    expect(ends("shared", "value")).toEqual([0.2, 0.8]);
    expect(ends("layer", "value", 1)).toEqual([0.6, 0.8]);
    expect(scalesOf(rows, RELATIVE_ENTROPY, "value", "layer").common).toBeNull();
  });

  it("are symmetric where they show a change", () => {
    expect(ends("fixed", "change")).toEqual([-1, 1]);
    expect(ends("shared", "change")).toEqual([-0.8, 0.8]);
  });

  it("of correlations fit all that are shown, or are fixed", () => {
    const known = [Float64Array.of(0, 0.25, 0.75), Float64Array.of(NaN, 0.01)];
    expect(shareScale(known, "log", "shared")).toMatchObject({ lo: 0.01, hi: 0.75 });
    expect(shareScale(known, "linear", "shared")).toMatchObject({ lo: 0, hi: 0.75 });
    for (const frequency of ["log", "linear"] as const) {
      expect(shareScale(known, frequency, "fixed").hi).toBe(1);
      expect(shareScale([], frequency, "shared")).toEqual(shareScale(known, frequency, "fixed"));
    }
  });

  it("fit the data where a statistic has no range, by its logarithm if it spans magnitudes", () => {
    const { common } = scalesOf(rows, statisticOf("rms"), "value", "fixed");
    expect(common).toMatchObject({ lo: 0.2, hi: 0.8, logarithmic: true });
  });
});

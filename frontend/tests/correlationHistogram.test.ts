import { describe, expect, it } from "vitest";
import { byCoefficient, coefficient, shareExtent, shares } from "../src/data/correlationHistogram";
import { BINS } from "../src/data/runs";

const WHOLE = { warnings: [], since: "", until: "" };

describe("histograms of correlations", () => {
  const counts = new Int32Array(2 * BINS);
  counts[0] = 1;
  counts[200] = 3;
  const found = shares({ run: "a", layer: "b", steps: Int32Array.of(0, 1), counts, ...WHOLE });

  it("are shares of the pairs, unknown where there was no pair", () => {
    expect(found[0]?.[0]).toBe(0.25);
    expect(found[0]?.[200]).toBe(0.75);
    expect(found[1]?.[0]).toBeNaN();
    expect(shareExtent(found)).toEqual([0.25, 0.75]);
    expect(shareExtent([])).toBeNull();
  });

  it("have their bins centred on -1.00, -0.99 … 1.00, and +1 on top of the picture", () => {
    expect([0, 1, 100, 200].map(coefficient)).toEqual([-1, -0.99, 0, 1]);
    expect(byCoefficient(found)[0]?.[0]).toBe(0.75);
  });
});

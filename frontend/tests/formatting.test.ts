import { describe, expect, it } from "vitest";
import { count, format, formatRound, listed, percent, shorten } from "../src/data/formatting";

describe("format", () => {
  it.each([
    [0.6434, "0.643"],
    [-0.6434, "−0.643"],
    [0, "0.000"],
    [-0.0001, "−1.00e-4"],
    [12.345, "12.35"],
    [123.45, "123.5"],
    [12345.6, "12346"],
    [1.5e7, "1.50e+7"],
    [NaN, "–"],
    [Infinity, "–"],
  ])("%f is %s", (value, text) => {
    expect(format(value)).toBe(text);
  });

  it("shows the sign of a change, but of no change", () => {
    expect(format(0.25, true)).toBe("+0.250");
    expect(format(0, true)).toBe("0.000");
  });
});

it("writes round numbers without idle places", () => {
  const round = [0, 0.5, 1, 10, 100, 1000, 0.00001, 0.25].map(formatRound);
  expect(round).toEqual(["0", "0.5", "1", "10", "100", "1000", "1e-5".replace("-", "−"), "0.25"]);
});

it("cuts long names in the middle, by whole characters", () => {
  expect(shorten("conv1")).toBe("conv1");
  const cut = shorten(`/model/${"x".repeat(10_000)}/conv2`);
  expect([...cut]).toHaveLength(28);
  expect(cut.startsWith("/model/")).toBe(true);
  expect(cut.endsWith("/conv2")).toBe(true);
  expect(shorten("😀".repeat(100), 4)).toBe("😀…😀😀");
});

it("writes small lists and counts", () => {
  expect(listed(["a", "b", "c"])).toBe("a, b and c");
  expect([count(1, "epoch"), count(2, "epoch")]).toEqual(["1 epoch", "2 epochs"]);
  expect([percent(0.004), percent(0.31), percent(0)]).toEqual(["0.4%", "31%", "0%"]);
});

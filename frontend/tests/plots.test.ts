import { describe, expect, it } from "vitest";
import { plotOptions } from "../src/components/plotOptions";
import { shareOf } from "../src/data/epochs";
import type { Axis } from "../src/render/axis";
import { axisEnds, axisShare, epochAxis, numberAxis } from "../src/render/axis";
import { chartFigure } from "../src/render/chartFigure";
import type { PlotData } from "../src/render/plotData";
import { svgDocument } from "../src/render/svg";

const lambdas = numberAxis("lambda", [0.001, 10], true);

/** One line that rises by 1 at each of these x. */
function plotOver(axis: Axis, x: readonly number[]): PlotData {
  const source = { quantity: "accuracy", run: "sr2", layer: null, sigma: 0 };
  const values = x.map((_, at) => at);
  const line = { label: "accuracy", key: "sr2", source, values, stroke: "#0072b2", width: 1 };
  return {
    ...{
      axis,
      x,
      valueTitle: "accuracy",
      lines: [{ ...line, dash: [] }],
      bands: [],
      logarithmic: false,
    },
    ...{ marks: [{ x: x[1] ?? NaN, stroke: "#000000", dash: [], label: "best" }] },
    ...{ values: null, dark: false },
  };
}

describe("an axis", () => {
  it("of epochs gives each of them the same room, as the pictures do", () => {
    const axis = epochAxis([-1, 59]);
    expect(axisEnds(axis)).toEqual([-1.5, 59.5]);
    for (const epoch of [-1, 0, 14, 59]) {
      expect(axisShare(axis, epoch)).toBeCloseTo(shareOf(axis.range, epoch), 12);
    }
    expect([-1, 0.5, 14].map(axis.tickText)).toEqual(["−1", "", "14"]);
    expect([-1, 14].map(axis.phrase)).toEqual(["before training", "epoch 14"]);
  });

  it("of numbers is linear or logarithmic", () => {
    const linear = numberAxis("depth", [0, 8]);
    expect([0, 4, 8].map((x) => axisShare(linear, x))).toEqual([0, 0.5, 1]);
    expect(linear.ticks(4)).toEqual([0, 2, 4, 6, 8]);
    expect(axisShare(lambdas, 0.1)).toBeCloseTo(0.5, 12);
    expect(lambdas.ticks(4)).toEqual([0.001, 0.01, 0.1, 1, 10]);
    expect(lambdas.phrase(0.01)).toBe("lambda 0.01");
  });
});

describe("a plot", () => {
  const xScale = (data: PlotData) => plotOptions(data, [640, 300], {}).scales?.["x"];
  const xTexts = (data: PlotData, found: readonly (number | null)[]) => {
    const values = plotOptions(data, [640, 300], {}).axes?.[0]?.values;
    if (typeof values !== "function") throw new Error("the axis has no texts");
    return values(null as never, found as number[], 0, 0, 0);
  };

  it("spans the epochs with half an epoch of room on either side", () => {
    const data = plotOver(epochAxis([0, 2]), [0, 1, 2]);
    expect(xScale(data)).toEqual({ time: false, range: [-0.5, 2.5] });
    expect(xTexts(data, [0, 0.5, 1])).toEqual(["0", "", "1"]);
  });

  it("takes any other x with its own spacing and texts", () => {
    const data = plotOver(lambdas, [0.001, 0.1, 10]);
    expect(xScale(data)).toEqual({ time: false, range: [0.001, 10], distr: 3 });
    expect(xTexts(data, [0.001, null, 10])).toEqual(["0.001", "", "10"]);
    const splits = plotOptions(data, [640, 300], {}).axes?.[0]?.splits;
    if (typeof splits !== "function") throw new Error("the axis has no ticks of its own");
    expect(splits(null as never, 0, 0.001, 10, 0, 0)).toEqual(lambdas.ticks(9));
  });

  it("is drawn over any x in a figure, too", () => {
    const chart = { title: "Accuracy", data: plotOver(lambdas, [0.001, 0.1, 10]), height: 100 };
    const written = svgDocument(chartFigure("By strength", [chart]));
    expect(written).toContain(">lambda</text>");
    const [, path = ""] = /<path d="([^"]*)"/.exec(written) ?? [];
    const points = path.split(/[ML]/).filter(Boolean);
    expect(points.map((point) => Number(point.split(",")[0]))).toEqual([0, 320, 640]);
    // The mark stands where its x is.
    expect(written).toContain('<line x1="320" y1="0" x2="320" y2="100"');
  });
});

import { expect, it } from "vitest";
import { PAPER, syntheticProvider } from "../src/api/syntheticProvider";
import type { LayerInfo } from "../src/data/layerTable";
import { State } from "../src/state/state";
import { svgDocument } from "../src/render/svg";
import { curvesCsv, curvesFigure } from "../src/views/curves/export";
import { CurvesState } from "../src/views/curves/CurvesState";

/** A page that shows runs with this many layers, the deeper ones of which move farther. */
async function page(count: number) {
  const [first] = PAPER.layers;
  const layers = Array.from({ length: count }, (_, at) => ({ ...first, name: `conv${at}` }));
  const state = new State(syntheticProvider({ ...PAPER, layers: layers as LayerInfo[] }));
  const view = state.part(CurvesState);
  view.charts.subscribe(() => undefined);
  await expect.poll(() => view.charts.value.length).toBeGreaterThan(3);
  return { state, view };
}

it("several runs have a plot for each layer, in the runs' colours, and the losses below", async () => {
  const { state, view } = await page(8);
  expect(view.layers.value).toEqual(state.layers.value);
  const charts = view.charts.value;
  expect(charts.map(({ title }) => title)).toEqual([
    ...state.layers.value,
    "loss/validation",
    "accuracy/validation",
  ]);
  const strokes = charts.slice(0, 8).map(({ data }) => data.lines.map(({ stroke }) => stroke));
  expect(new Set(strokes.map(String)).size).toBe(1);
  expect(charts[8]?.data.lines[1]?.stroke).toBe(strokes[0]?.[0]);
});

it("the layers of one run share a plot, in colours that no run has", async () => {
  const { state, view } = await page(8);
  const ofRuns = view.plots.value[0]?.data.lines.map(({ stroke }) => stroke) ?? [];
  state.toggleRun("sr2Net-s");
  const [plot, ...others] = view.plots.value;
  expect(others).toEqual([]);
  expect(plot?.data.lines.map(({ key }) => key)).toEqual(state.layers.value);
  expect(plot?.data.lines.some(({ stroke }) => ofRuns.includes(stroke))).toBe(false);
});

it("the CSV has run and layer in columns of their own", async () => {
  const { view } = await page(2);
  const [header, ...lines] = curvesCsv(view.charts.value).trim().split("\r\n");
  expect(header).toBe("quantity,run,layer,smoothing,epoch,value");
  expect(lines).toHaveLength(2 * 2 * 61 + 2 * 4 * 60);
  expect(lines[0]).toMatch(/^relative_entropy,sr2Net-s,conv0,0,-1,0\.9/);
  expect(lines.some((line) => line.startsWith("loss/validation,vanillaNet-s,,2,14,0.6"))).toBe(
    true,
  );
});

it("the figure's key names each run once, and is as wide as its names", async () => {
  const { view } = await page(8);
  const written = svgDocument(curvesFigure(view.charts.value));
  expect(written.split(">vanillaNet-s<")).toHaveLength(2);
  expect(written).not.toContain("NaN");
});

it("the tip of a plot holds every run, wherever the pointer is", async () => {
  const { view } = await page(2);
  const tip = view.plots.value[0]?.data.tip?.(20, null);
  expect(tip?.lines).toEqual(["conv0, epoch 20"]);
  expect(tip?.table?.head).toEqual(["", "H / ln D", "change", "RMS", "scale-free"]);
  expect(tip?.table?.rows.map(({ name, cells }) => [name, cells.length])).toEqual([
    ["sr2Net-s", 4],
    ["vanillaNet-s", 4],
  ]);
});

it("of many layers those that moved farthest are drawn, and the chosen one", async () => {
  const { state, view } = await page(20);
  const deepest = ["conv14", "conv15", "conv16", "conv17", "conv18", "conv19"];
  expect(view.layers.value).toEqual(deepest);
  state.select("conv3");
  expect(view.layers.value).toEqual(["conv3", ...deepest]);
  view.fields.curveLayers.cell.value = ["conv1"];
  expect(view.layers.value).toEqual(["conv1"]);
});

it("the spread of the chosen layer is a band without lines of its own", async () => {
  const { state, view } = await page(5);
  state.select("conv2");
  view.fields.band.cell.value = true;
  const { bands, lines } = view.plots.value[2]?.data ?? { bands: [], lines: [] };
  expect(bands).toHaveLength(2);
  expect(lines.filter(({ silent }) => silent)).toHaveLength(4);
  expect(view.plots.value[1]?.data.bands).toEqual([]);
  view.fields.curve.cell.value = "rms";
  expect(view.plots.value[2]?.data.bands).toEqual([]);
});

import { expect, it } from "vitest";
import { PAPER, syntheticProvider } from "../src/api/syntheticProvider";
import type { LayerInfo } from "../src/data/layerTable";
import { State } from "../src/state/state";
import { CurvesState } from "../src/views/curves/CurvesState";

/** A page that shows runs with this many layers, the deeper ones of which move farther. */
async function page(count: number) {
  const [first] = PAPER.layers;
  const layers = Array.from({ length: count }, (_, at) => ({ ...first, name: `conv${at}` }));
  const state = new State(syntheticProvider({ ...PAPER, layers: layers as LayerInfo[] }));
  const view = state.part(CurvesState);
  view.charts.subscribe(() => undefined);
  await expect.poll(() => view.charts.value.length).toBe(2);
  return { state, view };
}

it("all layers are drawn where there are few, with the losses below them", async () => {
  const { state, view } = await page(8);
  expect(view.layers.value).toEqual(state.layers.value);
  const [statistic, loss] = view.charts.value;
  expect(statistic?.title).toBe("Relative entropy");
  expect(statistic?.data.lines).toHaveLength(2 * 8);
  expect(loss?.title).toBe("loss/validation");
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
  const { view } = await page(5);
  view.fields.band.cell.value = true;
  const { bands, lines } = view.plot.value;
  expect(bands).toHaveLength(2);
  expect(lines.filter(({ silent }) => silent)).toHaveLength(4);
  view.fields.curve.cell.value = "rms";
  expect(view.plot.value.bands).toEqual([]);
});

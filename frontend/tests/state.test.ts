import { describe, expect, it } from "vitest";
import type { Provider } from "../src/api/provider";
import { PAPER, syntheticProvider } from "../src/api/syntheticProvider";
import type { LayerTable } from "../src/data/layerTable";
import type { Index, RunEntry } from "../src/data/runs";
import { State } from "../src/state/state";
import { MapsState } from "../src/views/maps/MapsState";
import { OverviewState } from "../src/views/overview/OverviewState";

const plan = { ...PAPER, runs: ["drop", "sr1", "vanilla"] };

/** A page that shows a log directory whose index is exchanged under it, and which grows. */
function page(records = plan.epochs) {
  const known = syntheticProvider(plan);
  let change = (index: Index): Index => index;
  let version = 0;
  let recorded = records;
  const provider: Provider = {
    ...known,
    layers: async (run, signal) => {
      const table = await known.layers(run, signal);
      return { ...table, steps: table.steps.slice(0, recorded), values: begun(table, recorded) };
    },
    index: async (signal) => ({ ...change(await known.index(signal)), version: String(version) }),
    version: () => Promise.resolve(String(version)),
  };
  const state = new State(provider);
  const [maps, overview] = [state.part(MapsState), state.part(OverviewState)];
  const watched = [maps.runs, state.layer, state.chosen];
  watched.forEach((cell) => cell.subscribe(() => undefined));
  const show = async (next: typeof change): Promise<void> => {
    change = next;
    version++;
    await state.data.poll();
    await new Promise((done) => setTimeout(done, 200));
  };
  const grow = async (to: number): Promise<void> => {
    recorded = to;
    await show(change);
  };
  return { state, maps, overview, show, grow };
}

/** Relative entropy of conv2 falls by one half at the second record, that of conv4 at the third. */
function begun({ values, layers, columns }: LayerTable, records: number): Float32Array {
  if (records > 3) return values;
  const found = values.slice(0, records * layers.length * columns.length);
  const at = (step: number, layer: number) => (step * layers.length + layer) * columns.length;
  if (records > 1) found.set([0.5 * Math.log(16)], at(1, 1));
  if (records > 2) found.set([0], at(2, 3));
  return found;
}

const turned =
  (...runs: readonly string[]) =>
  (index: Index): Index => ({
    ...index,
    runs: index.runs.map((entry): RunEntry => ({
      ...entry,
      onset: runs.includes(entry.run) ? 14 : null,
    })),
  });

describe("a difference of one run", () => {
  const open = async (...runs: readonly string[]) => {
    const { state, maps, overview, show } = page();
    maps.needed.subscribe(() => undefined);
    overview.needed.subscribe(() => undefined);
    maps.fields.mapMode.cell.value = "difference";
    overview.fields.mode.cell.value = "difference";
    if (runs.length) state.fields.runs.cell.value = runs;
    await show(turned());
    return { state, maps, overview, show };
  };

  it("says that a second run is needed, and where to choose it", async () => {
    const { state, maps, overview, show } = await open("sr1");
    expect(maps.mode.value).toBe("value");
    expect(maps.needed.value).toContain("needs a second run: tick another one above");
    expect(overview.needed.value).toContain("needs a second run: tick another one above");
    state.toggleRun("drop");
    await show(turned());
    expect(maps.mode.value).toBe("difference");
    expect([maps.needed.value, overview.needed.value]).toEqual([null, null]);
    maps.fields.maps.cell.value = ["drop"];
    expect(maps.needed.value).toContain("choose one under “beside”");
    state.toggleRun("sr1");
    await show((index) => ({ ...index, runs: index.runs.slice(0, 1) }));
    expect(maps.needed.value).toContain("record another one");
  });

  it("is none where the overview compares with a run that is not shown", async () => {
    const { overview } = await open("sr1");
    overview.fields.reference.cell.value = "drop";
    expect(overview.needed.value).toBeNull();
    overview.fields.reference.cell.value = "gone";
    expect(overview.needed.value).toContain("no run “gone” to compare with");
  });

  it("says nothing where there are more, or nothing is compared", async () => {
    const { state, maps, overview } = await open();
    expect([maps.needed.value, overview.needed.value]).toEqual([null, null]);
    state.fields.runs.cell.value = ["sr1"];
    maps.fields.mapMode.cell.value = "change";
    overview.fields.mode.cell.value = "value";
    expect([maps.needed.value, overview.needed.value]).toEqual([null, null]);
  });
});

describe("what the page chose for the reader", () => {
  it("stays when a live run gets its onset", async () => {
    const { state, maps, show } = page();
    await show(turned("vanilla"));
    const [runs, layer] = [maps.runs.value, state.layer.value];
    expect(runs).toEqual(["vanilla", "sr1"]);
    expect(layer).toBe("fc1");
    await show(turned("drop"));
    expect(state.entries.value[0]?.onset).toBe(14);
    expect(maps.runs.value).toBe(runs);
    expect(state.layer.value).toBe(layer);
  });

  it("is chosen anew as long as TensorBoard reads what there was", async () => {
    const { maps, show } = page();
    await show((index) => ({ ...turned("vanilla")(index), loading: true }));
    expect(maps.runs.value[0]).toBe("vanilla");
    await show(turned("drop"));
    expect(maps.runs.value[0]).toBe("drop");
  });

  it("is chosen once more at the second record of a run that has only begun, then stays", async () => {
    const { state, grow } = page(1);
    await grow(1);
    expect(state.layer.value).toBe("conv1");
    expect(state.fields.layer.cell.value).toBeNull();
    await grow(2);
    expect(state.layer.value).toBe("conv2");
    await grow(3);
    expect(state.layer.value).toBe("conv2");
  });

  it("is not chosen again where the reader or the address chose", async () => {
    const { state, grow } = page(1);
    await grow(1);
    state.select("conv1");
    await grow(2);
    expect(state.layer.value).toBe("conv1");
    state.fields.layer.cell.value = null;
    expect(state.layer.value).toBe("conv2");
  });

  it("gives way to the reader", async () => {
    const { state, maps, show } = page();
    await show(turned("vanilla"));
    state.toggleRun("vanilla");
    expect(maps.runs.value).toEqual(["drop", "sr1"]);
    state.toggleRun("drop");
    expect(maps.runs.value).toEqual(["sr1"]);
    state.fields.runs.cell.value = null;
    maps.fields.maps.cell.value = ["sr1"];
    state.fields.layer.cell.value = "conv2";
    expect(maps.runs.value).toEqual(["sr1"]);
    expect(state.layer.value).toBe("conv2");
  });
});

describe("onsets", () => {
  it("follow the smoothing and the loss, for all runs at once", async () => {
    const state = new State(syntheticProvider(plan));
    state.onsets.subscribe(() => undefined);
    state.chosen.subscribe(() => undefined);
    await expect.poll(() => state.onsetOf("vanilla")?.epoch).toBe(14);
    expect(state.onsetOf("sr1")).toBeNull();
    state.fields.sigma.cell.value = 10;
    await expect
      .poll(() => state.onsetOf("vanilla"))
      .toMatchObject({ epoch: 22, first: 19, last: 25 });
    state.fields.loss.cell.value = "accuracy/validation";
    await expect.poll(() => state.onsets.value.size).toBe(0);
  });
});

describe("the order of layers", () => {
  it("is that of the graph or of the changes, and holds only what is looked for", async () => {
    const state = new State(syntheticProvider(plan));
    state.orderedLayers.subscribe(() => undefined);
    await expect.poll(() => state.tables.value.length).toBe(3);
    expect(state.orderedLayers.value).toEqual(["conv1", "conv2", "conv3", "conv4", "fc1"]);
    state.fields.order.cell.value = "change";
    expect(state.orderedLayers.value).toEqual(["fc1", "conv4", "conv3", "conv2", "conv1"]);
    state.fields.find.cell.value = "conv";
    expect(state.orderedLayers.value).toEqual(["conv4", "conv3", "conv2", "conv1"]);
    state.select("conv3");
    state.moveLayer(1);
    expect(state.layer.value).toBe("conv2");
  });
});

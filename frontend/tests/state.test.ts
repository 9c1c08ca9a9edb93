import { describe, expect, it } from "vitest";
import type { Provider } from "../src/api/provider";
import { PAPER, twin } from "../src/api/twin";
import type { Index, RunEntry } from "../src/data/runs";
import { State } from "../src/state";

const plan = { ...PAPER, runs: ["drop", "sr1", "vanilla"] };

/** A page that shows a log directory whose index is exchanged under it. */
function page() {
  const known = twin(plan);
  let change = (index: Index): Index => index;
  let version = 0;
  const provider: Provider = {
    ...known,
    index: async (signal) => ({ ...change(await known.index(signal)), version: String(version) }),
    version: () => Promise.resolve(String(version)),
  };
  const state = new State(provider);
  const watched = [state.mapRuns, state.layer, state.chosen];
  watched.forEach((cell) => cell.subscribe(() => undefined));
  const show = async (next: typeof change): Promise<void> => {
    change = next;
    version++;
    await state.poll();
    await new Promise((done) => setTimeout(done, 200));
  };
  return { state, show };
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

describe("what the page chose for the reader", () => {
  it("stays when a live run gets its onset", async () => {
    const { state, show } = page();
    await show(turned("vanilla"));
    const [maps, layer] = [state.mapRuns.value, state.layer.value];
    expect(maps).toEqual(["vanilla", "sr1"]);
    expect(layer).toBe("fc1");
    await show(turned("drop"));
    expect(state.entries.value[0]?.onset).toBe(14);
    expect(state.mapRuns.value).toBe(maps);
    expect(state.layer.value).toBe(layer);
  });

  it("is chosen anew as long as TensorBoard reads what there was", async () => {
    const { state, show } = page();
    await show((index) => ({ ...turned("vanilla")(index), loading: true }));
    expect(state.mapRuns.value[0]).toBe("vanilla");
    await show(turned("drop"));
    expect(state.mapRuns.value[0]).toBe("drop");
  });

  it("gives way to the reader", async () => {
    const { state, show } = page();
    await show(turned("vanilla"));
    state.toggleRun("vanilla");
    expect(state.mapRuns.value).toEqual(["drop", "sr1"]);
    state.toggleRun("drop");
    expect(state.mapRuns.value).toEqual(["sr1"]);
    state.fields.runs.cell.value = null;
    state.fields.maps.cell.value = ["sr1"];
    state.fields.layer.cell.value = "conv2";
    expect(state.mapRuns.value).toEqual(["sr1"]);
    expect(state.layer.value).toBe("conv2");
  });
});

import { describe, expect, it } from "vitest";
import { PAPER, syntheticProvider } from "../src/api/syntheticProvider";
import type { LayerTable } from "../src/data/layerTable";
import type { RunEntry } from "../src/data/runs";
import { defaultRuns, defaultMapRuns } from "../src/data/defaults";

const never = new AbortController().signal;
// Made-up runs whose names begin with "sr" have no onset.
const NAMES = ["sr2", "sr1", "vanilla", "drop", "norm", "sr3"];
const provider = syntheticProvider({ ...PAPER, runs: NAMES });
const { runs } = await provider.index(never);
const tables = await Promise.all(NAMES.map((run) => provider.layers(run, never)));
const names = (entries: readonly RunEntry[]): string[] => entries.map(({ run }) => run);

describe("the runs to begin with", () => {
  it("are such as overfit and such as do not, half and half, in order", () => {
    expect(names(defaultRuns(runs, 4))).toEqual(["sr2", "sr1", "vanilla", "drop"]);
    expect(names(defaultRuns([...runs].reverse(), 4))).toEqual(["sr3", "norm", "drop", "sr1"]);
  });

  it("are filled up where there are few of one kind, and all where there are few", () => {
    const rarely = runs.filter(({ run }) => run !== "drop" && run !== "norm");
    expect(names(defaultRuns(rarely, 3))).toEqual(["sr2", "sr1", "vanilla"]);
    const quiet = runs.map((entry) => ({ ...entry, onset: null }));
    expect(names(defaultRuns(quiet, 4))).toEqual(NAMES.slice(0, 4));
    expect(defaultRuns(runs, 9)).toEqual(runs);
    expect(defaultRuns([], 4)).toEqual([]);
  });

  it("stay, whatever becomes of them, and are filled up where one is gone", () => {
    const begun = runs.map((entry) => ({ ...entry, onset: null }));
    const shown = names(defaultRuns(begun, 4));
    const turned = begun.map((entry) => ({ ...entry, onset: entry.run === "sr3" ? 7 : null }));
    expect(names(defaultRuns(turned, 4))).not.toEqual(shown);
    expect(names(defaultRuns(turned, 4, shown))).toEqual(shown);
    expect(names(defaultRuns(turned.slice(1), 4, shown))).toEqual([...shown.slice(1), "sr3"]);
  });
});

describe("the maps that tell most", () => {
  it("are of a run with an onset, beside one whose entropy hardly fell", () => {
    const [first = "", second = ""] = defaultMapRuns(tables, runs);
    expect(first.startsWith("sr")).toBe(false);
    expect(second).toBe("sr2");
  });

  it("are compared with a run on the same probes where there is one", () => {
    const others = runs.map((entry) =>
      entry.run.startsWith("sr") && entry.run !== "sr3" ? { ...entry, probeDigest: "x" } : entry,
    );
    expect(defaultMapRuns(tables, others)[1]).toBe("sr3");
    const alone = runs.map((entry) => ({ ...entry, probeDigest: entry.run }));
    expect(defaultMapRuns(tables, alone)).toHaveLength(2);
  });

  it("are compared with the run of most epochs in common, of those that fell hardly more", () => {
    const few = (run: string): LayerTable[] =>
      tables.map((table) =>
        table.run === run ? { ...table, steps: table.steps.map((step) => 5 * step) } : table,
      );
    expect(defaultMapRuns(few("sr2"), runs)[1]).toBe("sr1");
    // Such as fell far less are preferred all the same.
    const pair = [few("sr2")[0], tables[2], tables[3]].flatMap((table) => table ?? []);
    expect(defaultMapRuns(pair, runs)[1]).toBe("sr2");
  });

  it("are of the run whose entropy fell most where none has an onset", () => {
    const quiet = runs.map((entry) => ({ ...entry, onset: null }));
    expect(defaultMapRuns(tables, quiet)).toEqual(defaultMapRuns(tables, runs));
  });

  it("are of one run, or none, where there are no more", () => {
    expect(defaultMapRuns(tables.slice(0, 1), runs)).toEqual(["sr2"]);
    expect(defaultMapRuns([], runs)).toEqual([]);
  });
});

import { describe, expect, it } from "vitest";
import cases from "../../tests/movement.json";
import { syntheticProvider } from "../src/api/syntheticProvider";
import { caveats } from "../src/data/caveats";
import { farthest, median, moved, settled, started } from "../src/data/movement";
import {
  RELATIVE_ENTROPY,
  STATISTICS,
  change,
  extent,
  grid,
  groups,
  series,
  statisticAt,
  statisticOf,
  withUnit,
} from "../src/data/statistics";
import { summaries } from "../src/data/layerSummary";
import type { LayerTable } from "../src/data/layerTable";
import { layerIndex, layerNames, valueAt } from "../src/data/layerTable";

/** Curves and their movement, which tests/core/test_movement.py holds Python to as well. */
const SHARED: {
  readonly name: string;
  readonly values: (number | null)[];
  readonly started: number | null;
  readonly settled: number | null;
  readonly moved: number | null;
}[] = cases;

const never = new AbortController().signal;
const vanilla = await syntheticProvider().layers("vanillaNet-s", never);
const regularised = await syntheticProvider().layers("sr2Net-s", never);

describe("statistics", () => {
  it("divide entropy by ln D, and know nothing of one channel", () => {
    const [conv1] = vanilla.layers;
    if (!conv1) throw new Error("no layer");
    expect(RELATIVE_ENTROPY.of(Math.log(16), conv1)).toBeCloseTo(1, 12);
    expect(RELATIVE_ENTROPY.of(0, { ...conv1, channels: 1 })).toBeNaN();
  });

  it("are the same at one step and in a series", () => {
    const fc1 = layerIndex(vanilla, "fc1");
    const all = series(vanilla, fc1, RELATIVE_ENTROPY);
    expect(statisticAt(vanilla, 20, fc1, RELATIVE_ENTROPY)).toBe(all[20]);
  });

  it("are NaN where there is no such layer, step or column", () => {
    expect(statisticAt(vanilla, 0, -1, RELATIVE_ENTROPY)).toBeNaN();
    expect(valueAt(vanilla, 0, 0, -1)).toBeNaN();
    expect(valueAt(vanilla, 9999, 0, 0)).toBeNaN();
    expect([...series(vanilla, 99, RELATIVE_ENTROPY)].every(Number.isNaN)).toBe(true);
  });

  it("fall back to relative entropy for a name from an old address", () => {
    expect(statisticOf("no such")).toBe(RELATIVE_ENTROPY);
  });

  it("count doublings where they span orders of magnitude", () => {
    expect(change(8, 1, statisticOf("rms"))).toBe(3);
    expect(change(0.5, 0.9, RELATIVE_ENTROPY)).toBeCloseTo(-0.4, 12);
  });
});

describe("grid", () => {
  it("starts at 0 where it shows the change", () => {
    for (const row of grid(vanilla, RELATIVE_ENTROPY, "change")) expect(row[0]).toBe(0);
  });

  it("starts from a layer's own first record where that came later than the run's", () => {
    const values = vanilla.values.slice();
    const layers = vanilla.layers.length;
    const width = vanilla.columns.length;
    for (let step = 0; step < 4; step++) {
      values.fill(NaN, (step * layers + 3) * width, (step * layers + 4) * width);
    }
    const table: LayerTable = { ...vanilla, values };
    const own = series(table, 3, RELATIVE_ENTROPY);
    const row = grid(table, RELATIVE_ENTROPY, "change")[3] ?? new Float64Array();
    expect([...row.subarray(0, 4)].every(Number.isNaN)).toBe(true);
    expect(row[4]).toBe(0);
    expect(row[30]).toBeCloseTo((own[30] ?? NaN) - (own[4] ?? NaN), 12);
    const [, , , line] = summaries(table);
    expect(line?.first).toBe(own[4]);
    expect(line?.change).toBeLessThan(-0.4);
    expect(caveats(table).map(({ layer }) => layer)).toContain("conv4");
  });

  it("is 0 everywhere for the difference of a run from itself", () => {
    const rows = grid(vanilla, RELATIVE_ENTROPY, "difference", vanilla);
    expect(extent(rows)).toEqual([0, 0]);
  });

  it("matches layers by name and steps by epoch", () => {
    const shifted: LayerTable = {
      ...regularised,
      layers: regularised.layers.filter(({ name }) => name !== "conv2"),
      steps: regularised.steps.map((step) => step + 1),
    };
    const rows = grid(vanilla, RELATIVE_ENTROPY, "difference", shifted);
    expect([...(rows[1] ?? [])].every(Number.isNaN)).toBe(true);
    expect(rows[0]?.[0]).toBeNaN(); // nobody measured the other run at epoch -1
    expect(rows[0]?.[5]).toBeCloseTo(
      statisticAt(vanilla, 5, 0, RELATIVE_ENTROPY) - statisticAt(shifted, 4, 0, RELATIVE_ENTROPY),
      12,
    );
  });
});

it("layers of several runs keep the order of the graph", () => {
  const other: LayerTable = {
    ...vanilla,
    layers: ["conv1", "extra", "conv4", "fc2"].map((name) => ({ ...vanilla.layers[0]!, name })),
  };
  const names = layerNames([vanilla, other]);
  expect(names).toEqual(["conv1", "extra", "conv2", "conv3", "conv4", "fc2", "fc1"]);
});

describe("movement", () => {
  it.each(SHARED)("is what it is in Python: $name", ({ values, ...wanted }) => {
    const curve = Float64Array.from(values, (value) => value ?? NaN);
    for (const [rule, number] of [
      [started, wanted.started],
      [settled, wanted.settled],
      [moved, wanted.moved],
    ] as const) {
      if (number === null) expect(rule(curve)).toBeNaN();
      else expect(rule(curve)).toBeCloseTo(number, 12);
    }
  });

  it("up to the cursor is that of a run that ends there", () => {
    const curve = Float64Array.from({ length: 40 }, (_, i) => Math.cos(i));
    for (let end = 1; end <= curve.length; end++) {
      expect(moved(curve, end)).toBe(moved(curve.subarray(0, end)));
    }
  });

  it("leaves out what was not measured", () => {
    expect(median([NaN, 1, 3, NaN])).toBe(2);
    expect(median([])).toBeNaN();
  });

  it("names only what moved noticeably, the farthest first", () => {
    expect(farthest([0.01, -0.5, NaN, 0.3, 0.2, 0.4])).toEqual([1, 5, 3]);
  });
});

describe("caveats", () => {
  it("say that entropy fell by scale alone, at the layer concerned", () => {
    const found = caveats(vanilla).filter(({ layer }) => layer === "conv4");
    expect(found).toHaveLength(1);
    expect(found[0]?.text).toMatch(/^Entropy fell by 0\.\d+ but scale-free entropy did not/);
    expect(found[0]?.text).toContain("RMS grew 15-fold");
  });

  it("are silent on a run that is well", () => {
    expect(caveats(regularised)).toEqual([]);
  });

  it("tell of dead channels, NaN, folded batch normalisation and single channels", () => {
    const values = regularised.values.slice();
    const width = regularised.columns.length;
    const last = (regularised.steps.length - 1) * regularised.layers.length * width;
    const at = (name: string): number =>
      last + regularised.columns.findIndex((column) => column.name === name);
    values[at("dead_fraction")] = 0.4;
    values[at("nan_share")] = 0.001;
    const layers = regularised.layers.map((layer, i) => ({
      ...layer,
      batchNormFolded: i === 1,
      channels: i === 2 ? 1 : layer.channels,
    }));
    const texts = caveats({ ...regularised, values, layers }).map(({ layer, text }) => [
      layer,
      text,
    ]);
    expect(texts).toEqual([
      ["conv1", expect.stringContaining("40% of its channels are dead")],
      ["conv1", expect.stringContaining("0.1% of its positions hold NaN")],
      ["conv2", expect.stringContaining("folded")],
      ["conv3", expect.stringContaining("one channel")],
    ]);
  });
});

describe("the table of statistics", () => {
  it("lists each statistic once, under its own group", () => {
    const listed = groups().flatMap(([, members]) => members);
    expect(listed.map(({ id }) => id).sort()).toEqual(STATISTICS.map(({ id }) => id).sort());
    for (const [title, members] of groups()) {
      expect(members.every(({ group }) => group === title)).toBe(true);
    }
    const titles = groups().map(([title]) => title);
    expect(new Set(titles).size).toBe(titles.length);
  });

  it("names the unit where there is one", () => {
    expect(withUnit("Dead channels", "share of channels")).toBe(
      "Dead channels [share of channels]",
    );
    expect(withUnit("Relative entropy", "")).toBe("Relative entropy");
  });

  it("can be read at every statistic of a made-up run", () => {
    for (const statistic of STATISTICS) {
      expect(statisticAt(regularised, 1, 0, statistic), statistic.id).not.toBeNaN();
    }
  });

  it("knows no value of a column that an older run has not recorded", () => {
    const width = regularised.layers.length * regularised.columns.length;
    const missing = new Set(["hoyer_sparsity", "channel_mean_share"]);
    const kept = [...regularised.values].filter(
      (_, at) => !missing.has(regularised.columns[at % regularised.columns.length]?.name ?? ""),
    );
    const older: LayerTable = {
      ...regularised,
      columns: regularised.columns.filter(({ name }) => !missing.has(name)),
      values: Float32Array.from(kept),
    };
    expect(regularised.values.length).toBe(regularised.steps.length * width);
    expect(older.columns).toHaveLength(14);
    for (const statistic of STATISTICS) {
      const value = statisticAt(older, 1, 2, statistic);
      if (missing.has(statistic.column)) expect(value).toBeNaN();
      else expect(value).toBe(statisticAt(regularised, 1, 2, statistic));
    }
  });
});

import { describe, expect, it } from "vitest";
import { PAPER, syntheticProvider } from "../src/api/syntheticProvider";
import { csv } from "../src/data/csv";
import { byCoefficient, coefficient, shareExtent, shares } from "../src/data/correlationHistogram";
import { continued, join } from "../src/data/records";
import { align } from "../src/data/alignment";
import type { LayerMaps, ShownMaps } from "../src/data/entropyMaps";
import {
  entropyAt,
  positionText,
  shownAt,
  shownEnds,
  sides,
  stepNear,
} from "../src/data/entropyMaps";
import { BINS } from "../src/data/runs";
import type { Mode } from "../src/data/statistics";
import { RELATIVE_ENTROPY, grid, statisticOf } from "../src/data/statistics";
import { sorted, summaries } from "../src/data/layerSummary";
import type { LayerTable } from "../src/data/layerTable";
import { scalesOf, shareScale } from "../src/render/scales";
import { RED_BLUE } from "../src/scale/colour";
import { overviewCsv } from "../src/views/overview/export";
import { mapTooltip } from "../src/views/maps/mapTooltip";
import { pictureScale } from "../src/views/maps/layerPictures";
import { shape, svgDocument, text, xml } from "../src/render/svg";

const never = new AbortController().signal;
const WHOLE = { warnings: [], since: "", until: "" };

describe("SVG", () => {
  it("cannot be broken out of", () => {
    const evil = `</text><script>alert(1)</script>" onload='x' & \u0000\ud800`;
    const written = xml(text(0, 0, evil));
    expect(written).not.toContain("<script");
    expect(written.match(/<\/text>/g)).toHaveLength(1);
    expect(written).toContain("&amp;");
    expect(written).toMatch(/\ufffd\ufffd<\/text>$/);
    expect(xml(shape("rect", { title: evil }))).not.toContain('" onload');
  });

  it("is a document with a title, whose numbers are short", () => {
    const figure = { title: "A <b>", width: 10.4, height: 20, body: [text(1 / 3, 2, "x")] };
    const written = svgDocument(figure);
    expect(written).toContain('<svg xmlns="http://www.w3.org/2000/svg" width="11" height="50"');
    expect(written).toContain("<title>A &lt;b&gt;</title>");
    expect(written).toContain('x="0.33"');
  });
});

it("CSV quotes, leaves unknown numbers empty, and starts no formula", () => {
  const lines = csv(
    ["a", "b"],
    [
      ['say "x", y', NaN],
      ["=cmd()", 0.5],
      [null, -1],
    ],
  );
  expect(lines).toBe('a,b\r\n"say ""x"", y",\r\n\'=cmd(),0.5\r\n,-1\r\n');
});

describe("the CSV of the overview", async () => {
  const tables = await Promise.all(PAPER.runs.map((run) => syntheticProvider().layers(run, never)));
  const [reference, table] = tables as [LayerTable, LayerTable];
  const lines = (mode: Mode) => {
    const layers = ["fc1", "conv1"];
    const rows = grid(table, RELATIVE_ENTROPY, mode, reference);
    const found = new Map([[table.run, [4, 0].map((at) => rows[at] ?? new Float64Array())]]);
    const scales = scalesOf([], RELATIVE_ENTROPY, mode, "fixed");
    const compared = mode === "difference" ? reference.run : null;
    const matrix = { statistic: RELATIVE_ENTROPY, mode, layers, reference: compared };
    const written = overviewCsv([table], { ...matrix, rows: found, scales });
    return { rows, lines: written.split("\r\n").map((line) => line.split(",")) };
  };

  it("names the run that was subtracted", () => {
    const { rows, lines: found } = lines("difference");
    const header = ["run", "subtracted_run", "layer", "epoch", "relative_entropy_difference"];
    expect(found[0]).toEqual(header);
    const value = String(rows[4]?.[40]);
    expect(found).toContainEqual(["vanillaNet-s", "sr2Net-s", "fc1", "39", value]);
  });

  it("has no such column where nothing was", () => {
    expect(lines("change").lines[0]).toEqual(["run", "layer", "epoch", "relative_entropy_change"]);
    expect(lines("value").lines[1]?.slice(0, 3)).toEqual(["vanillaNet-s", "fc1", "-1"]);
  });
});

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

it("lines leave out epochs they have no record of, and break where a value is missing", () => {
  expect(align([0, 1, 2, 3], [0, 2, 3], [5, NaN, 7])).toEqual([5, undefined, null, 7]);
  expect(align([0, 1.5], [null, 1.5], [4, 6])).toEqual([undefined, 6]);
});

describe("maps", () => {
  it("decode to nats, and NaN is none of the values", () => {
    const maps = {
      ...{ run: "a", layer: "b", channels: 4, probe: 0, steps: Int32Array.of(3) },
      ...{ lo: Float32Array.of(0.5), hi: Float32Array.of(1), shape: [1, 3], pooledFrom: null },
      ...{ codes: Uint8Array.of(0, 254, 255), ...WHOLE },
    };
    expect(entropyAt(maps, 0, 0)).toBe(0.5);
    expect(entropyAt(maps, 0, 1)).toBe(1);
    expect(entropyAt(maps, 0, 2)).toBeNaN();
    expect(entropyAt(maps, 0, 3)).toBeNaN();
    expect(entropyAt(maps, -1, 0)).toBeNaN();
  });

  describe("as they are shown", () => {
    const recorded = (
      run: string,
      steps: number[],
      codes: number[],
      shape = [1, 2],
    ): LayerMaps => ({
      ...{ run, layer: "b", channels: Math.E, probe: 0, steps: Int32Array.from(steps), ...WHOLE },
      ...{ lo: new Float32Array(steps.length), hi: new Float32Array(steps.length).fill(1), shape },
      ...{ codes: Uint8Array.from(codes), pooledFrom: null },
    });
    const ours = recorded("a", [-1, 0, 2], [254, 127, 0, 254, 127, 255]);
    const theirs = recorded("b", [0, 1, 2], [127, 254, 0, 0, 0, 0]);
    const shown = (mode: Mode, reference: LayerMaps | null = null): ShownMaps => ({
      ...{ maps: ours, mode, reference },
    });

    it("are H / ln D of each position", () => {
      expect([...shownAt(shown("value"), 0)]).toEqual([1, 0.5]);
      expect([...shownAt(shown("value"), -1)]).toEqual([NaN, NaN]);
    });

    it("change from nothing at the first record, and by NaN where a position is NaN", () => {
      expect([...shownAt(shown("change"), 0)]).toEqual([0, 0]);
      expect([...shownAt(shown("change"), 1)]).toEqual([-1, 0.5]);
      expect([...shownAt(shown("change"), 2)]).toEqual([-0.5, NaN]);
    });

    it("change from the layer's first epoch with a value, which the tip names", () => {
      const late = recorded("a", [3, 4, 5], [255, 255, 254, 127, 0, 127]);
      const change: ShownMaps = { maps: late, mode: "change", reference: null };
      expect([...shownAt(change, 2)]).toEqual([-1, 0]);
      expect(mapTooltip(change, 2, 0)[0]).toBe("H / ln D −1.000: 0.000 against 1.000 at epoch 4");
      const nothing = recorded("a", [3], [255, 255]);
      expect([...shownAt({ ...change, maps: nothing }, 0)]).toEqual([NaN, NaN]);
    });

    it("differ from another run at the same epoch, and nowhere else", () => {
      expect([...shownAt(shown("difference", theirs), 1)]).toEqual([-0.5, 0]);
      expect([...shownAt(shown("difference", theirs), 0)]).toEqual([NaN, NaN]);
      expect([...shownAt(shown("difference"), 1)]).toEqual([NaN, NaN]);
      const square = recorded("c", [0], [0, 0], [2, 1]);
      expect([...shownAt(shown("difference", square), 1)]).toEqual([NaN, NaN]);
    });

    it("reach from the lowest to the highest of what is shown, not of what it is made of", () => {
      expect(shownEnds(shown("value"))).toEqual([0, 1]);
      expect(shownEnds(shown("change"))).toEqual([-1, 0.5]);
      expect(shownEnds(shown("difference", theirs))).toEqual([-0.5, 0.5]);
      expect(shownEnds(shown("difference"))).toBeNull();
      expect(shownEnds(shown("value"))).toEqual([0, 1]);
      const apart = ["change", "difference"] as const;
      const [change, difference] = apart.map((mode) => pictureScale([shown(mode, theirs)], mode));
      expect(change).toMatchObject({ lo: -1, hi: 1, table: RED_BLUE });
      expect(difference).toMatchObject({ lo: -0.5, hi: 0.5, table: RED_BLUE });
      expect(pictureScale([], "difference").table).toBe(RED_BLUE);
    });

    it("stand at the nearest epoch that can be shown", () => {
      expect(stepNear(shown("value"), -1)).toBe(0);
      expect(stepNear(shown("difference", theirs), -1)).toBe(1);
      expect(stepNear(shown("difference", recorded("c", [7], [0, 0])), 2)).toBe(-1);
    });
  });

  it("are shown flat, whatever their dimensions", () => {
    expect([sides([]), sides([7]), sides([2, 3]), sides([2, 3, 4])]).toEqual([
      [1, 1],
      [1, 7],
      [2, 3],
      [6, 4],
    ]);
    expect(positionText([4, 5], 7)).toBe("row 1, column 2");
    expect(positionText([2, 4, 5], 27)).toBe("slice 1, row 1, column 2");
    expect(positionText([9], 7)).toBe("position 7");
    expect(positionText([1, 1], 0)).toBe("the whole layer");
  });
});

describe("the layer table", () => {
  it("sorts by any column, layers in graph order, unknown values last", async () => {
    const table = await syntheticProvider().layers("vanillaNet-s", never);
    const lines = summaries(table);
    const names = (order: string | null) => sorted(lines, order).map(({ layer }) => layer.name);
    expect(names(null)).toEqual(["conv1", "conv2", "conv3", "conv4", "fc1"]);
    expect(names("-layer")).toEqual(["fc1", "conv4", "conv3", "conv2", "conv1"]);
    expect(names("change")[0]).toBe("fc1");
    expect(names("no such column")).toEqual(names(null));
    const unknown = lines.map((line, at) => (at === 0 ? { ...line, last: NaN } : line));
    expect(sorted(unknown, "last").at(-1)?.layer.name).toBe("conv1");
    expect(sorted(unknown, "-last").at(-1)?.layer.name).toBe("conv1");
  });
});

describe("answers with records", async () => {
  const table = await syntheticProvider().layers("vanillaNet-s", never);
  const width = table.layers.length * table.columns.length;
  const part = (from: number, to: number, warnings: readonly string[] = []) => ({
    ...table,
    steps: table.steps.slice(from, to),
    wallTimes: table.wallTimes.slice(from, to),
    globalSteps: table.globalSteps.slice(from, to),
    values: table.values.slice(from * width, to * width),
    warnings,
    since: from ? `up to ${from}` : table.since,
    until: to < 61 ? `up to ${to}` : table.until,
  });

  it("are joined page by page", () => {
    expect(join([part(0, 20), part(20, 50), part(50, 61)])).toEqual(table);
    expect(join([part(0, 20, ["a"]), part(20, 61, ["a", "b"])]).warnings).toEqual(["a", "b"]);
    expect(() => join([])).toThrow("no answer");
  });

  it("leave out what describes other layers than the newest answer", () => {
    const other = { ...part(0, 20), layers: table.layers.slice(1) };
    expect(join([other, part(20, 61)]).steps).toEqual(table.steps.slice(20));
  });

  it("go on from what is known, which stays itself where nothing is new", () => {
    const known = part(0, 40);
    expect(continued(known, [part(40, 50), part(50, 61)])).toEqual(table);
    expect(continued(known, [part(40, 40)])).toBe(known);
    expect(continued(known, [part(40, 40, ["damaged"])])?.warnings).toEqual(["damaged"]);
  });

  it("say once what was left out: as often as the newest answer counts it", () => {
    const known = part(0, 40, ["1 damaged record"]);
    const newer = part(40, 61, ["2 damaged records", "too many"]);
    expect(continued(known, [newer])?.warnings).toEqual(newer.warnings);
    expect(continued(known, [part(40, 40, known.warnings)])).toBe(known);
    expect(continued(known, [part(40, 40)])?.warnings).toEqual([]);
  });

  it("do not go on where the run resumed or its layers changed", () => {
    const known = part(0, 40);
    expect(continued(known, [{ ...part(40, 61), since: "another past" }])).toBeNull();
    expect(continued(known, [part(40, 50), { ...part(50, 61), since: "another" }])).toBeNull();
    expect(continued(known, [{ ...part(40, 61), layers: [] }])).toBeNull();
    expect(continued(known, [])).toBeNull();
  });
});

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

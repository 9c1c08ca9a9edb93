import { describe, expect, it } from "vitest";
import { syntheticProvider } from "../src/api/syntheticProvider";
import { continued, join } from "../src/data/records";

const never = new AbortController().signal;

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

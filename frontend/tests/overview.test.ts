import { describe, expect, it } from "vitest";
import { PAPER, syntheticProvider } from "../src/api/syntheticProvider";
import type { LayerTable } from "../src/data/layerTable";
import type { Mode } from "../src/data/statistics";
import { RELATIVE_ENTROPY, grid } from "../src/data/statistics";
import { overviewCsv } from "../src/views/overview/export";

const never = new AbortController().signal;

describe("the CSV of the overview", async () => {
  const tables = await Promise.all(PAPER.runs.map((run) => syntheticProvider().layers(run, never)));
  const [reference, table] = tables as [LayerTable, LayerTable];
  const lines = (mode: Mode) => {
    const layers = ["fc1", "conv1"];
    const rows = grid(table, RELATIVE_ENTROPY, mode, reference);
    const options = { statistic: RELATIVE_ENTROPY, mode, policy: "fixed" as const };
    const compared = mode === "difference" ? reference : null;
    const written = overviewCsv([table], layers, { ...options, reference: compared });
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

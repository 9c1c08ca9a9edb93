import { describe, expect, it } from "vitest";
import { syntheticProvider } from "../src/api/syntheticProvider";
import { sorted, summaries } from "../src/data/layerSummary";

const never = new AbortController().signal;

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

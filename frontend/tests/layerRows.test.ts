import { describe, expect, it } from "vitest";
import { commonPrefix, layerRows, matching, moduleRows, orderOf } from "../src/data/layerRows";

const names = [
  "stem",
  "layer1.0.conv1",
  "layer1.0.conv2",
  "layer1.1.conv1",
  "layer2.0.conv1",
  "fc",
];

describe("names of layers", () => {
  it("lose what all begin with, up to the end of a part", () => {
    const prefix = commonPrefix(["model.features.conv1", "model.features.conv2", "model.fc"]);
    expect(prefix).toBe("model.");
    expect(layerRows(["model.fc"], prefix)[0]?.label).toBe("fc");
    expect(commonPrefix(["conv1", "conv2"])).toBe("");
    expect(commonPrefix(["model.conv1"])).toBe("");
  });

  it("are found by all of the words", () => {
    expect(matching(names, "layer1 CONV1")).toEqual(["layer1.0.conv1", "layer1.1.conv1"]);
    expect(matching(names, " ")).toBe(names);
  });
});

describe("modules", () => {
  it("fold as deep as there is room, and single layers stay layers", () => {
    const rows = moduleRows(names, []);
    expect(rows.map(({ label }) => label)).toEqual([
      ...["stem", "layer1.0", "layer1.1.conv1", "layer2.0.conv1", "fc"],
    ]);
    expect(rows.map(({ module }) => module)).toEqual([null, "folded", null, null, null]);
  });

  it("hold every layer once, in graph order, and show them where they are open", () => {
    const many = Array.from(
      { length: 120 },
      (_, at) => `net.stage${at % 4}.block${at}.conv`,
    ).sort();
    const rows = moduleRows(many, ["net.stage1"]);
    expect(rows.filter(({ module }) => module !== null).map(({ label }) => label)).toEqual([
      ...["stage0", "stage1", "stage2", "stage3"],
    ]);
    const folded = rows.filter(({ module }) => module !== null);
    expect(folded.flatMap(({ layers }) => layers)).toEqual(many);
    expect(rows.filter(({ module }) => module === null)).toHaveLength(30);
  });
});

it("a deep network begins with what changed most", () => {
  expect(orderOf("auto", 32)).toBe("graph");
  expect(orderOf("auto", 33)).toBe("change");
  expect(orderOf("module", 5)).toBe("module");
});

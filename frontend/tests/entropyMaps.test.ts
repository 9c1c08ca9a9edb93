import { describe, expect, it } from "vitest";
import type { LayerMaps, ShownMaps } from "../src/data/entropyMaps";
import {
  entropyAt,
  positionText,
  shownAt,
  shownEnds,
  sides,
  stepNear,
} from "../src/data/entropyMaps";
import type { Mode } from "../src/data/statistics";
import { RED_BLUE } from "../src/scale/colour";
import { pictureScale } from "../src/views/maps/layerPictures";
import { mapTooltip } from "../src/views/maps/mapTooltip";

const WHOLE = { warnings: [], since: "", until: "" };

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

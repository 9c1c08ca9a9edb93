import { interpolateRdBu, interpolateViridis } from "d3-scale-chromatic";
import { describe, expect, it } from "vitest";
import { hexTable } from "../scripts/hex-table.js";
import {
  NOTHING,
  colour,
  css,
  diverging,
  sequential,
  share,
  valueAtShare,
} from "../src/scale/colour";
import { RED_BLUE_HEX, VIRIDIS_HEX } from "../src/scale/colourTables";
import { logTicks, ticks, wholeTicks } from "../src/scale/ticks";

it("the tables are d3's", () => {
  expect(VIRIDIS_HEX).toBe(hexTable(interpolateViridis));
  expect(RED_BLUE_HEX).toBe(hexTable(interpolateRdBu));
});

describe("colour", () => {
  const scale = sequential(0, 1);

  it("runs through the whole table", () => {
    expect(css(colour(scale, 0))).toBe("rgb(68, 1, 84)");
    expect(css(colour(scale, 1))).toBe("rgb(253, 231, 37)");
  });

  it("tells NaN from the smallest value, and keeps the ends for what is out of range", () => {
    expect(colour(scale, NaN)).toBe(NOTHING);
    expect(colour(scale, 0)).not.toBe(NOTHING);
    expect(colour(scale, -5)).toBe(colour(scale, 0));
    expect(colour(scale, Infinity)).toBe(colour(scale, 1));
  });

  it("is symmetric about 0 where it diverges", () => {
    const both = diverging(0.4);
    expect(share(both, 0)).toBe(0.5);
    expect([both.lo, both.hi]).toEqual([-0.4, 0.4]);
    expect(diverging(0).hi).toBe(1);
  });

  it("may be logarithmic, and is not where a value is 0", () => {
    const log = sequential(0.1, 10, true);
    expect(share(log, 1)).toBeCloseTo(0.5, 12);
    expect(colour(log, 0)).toBe(colour(log, 0.1));
    expect(colour(log, -1)).toBe(NOTHING);
    expect(sequential(0, 10, true).logarithmic).toBe(false);
  });

  it("leads from a value to its share and back", () => {
    for (const tried of [scale, sequential(0.1, 10, true), diverging(2)]) {
      for (const at of [0, 0.25, 0.5, 1]) {
        expect(share(tried, valueAtShare(tried, at))).toBeCloseTo(at, 12);
      }
    }
  });

  it("copes with a range of no width", () => {
    expect(colour(sequential(3, 3), 3)).not.toBe(NOTHING);
  });
});

describe("ticks", () => {
  it("are round and within the range", () => {
    expect(ticks(0, 1, 4)).toEqual([0, 0.5, 1]);
    expect(ticks(0.1, 0.35, 5)).toEqual([0.1, 0.15, 0.2, 0.25, 0.3, 0.35]);
    expect(ticks(2, 2, 5)).toEqual([2]);
  });

  it("are whole for epochs", () => {
    expect(wholeTicks(-1, 60, 6)).toEqual([0, 20, 40, 60]);
    expect(wholeTicks(0, 2, 10)).toEqual([0, 1, 2]);
    expect(wholeTicks(3, 3, 10)).toEqual([3]);
  });

  it("are powers of ten on a logarithmic scale", () => {
    expect(logTicks(0.08, 17)).toEqual([0.1, 1, 10]);
    expect(logTicks(1, 10)).toEqual([1, 2, 5, 10]);
  });
});

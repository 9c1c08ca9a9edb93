import { describe, expect, it } from "vitest";
import {
  columnValue,
  columnsOf,
  epochAt,
  held,
  nearest,
  pick,
  shareOf,
  stepBy,
  union,
} from "../src/data/epochs";

const each = Array.from({ length: 61 }, (_, i) => i - 1);

describe("nearest", () => {
  it("finds every step itself", () => {
    each.forEach((step, at) => {
      expect(nearest(each, step)).toBe(at);
    });
  });

  it("takes the earlier of two that are as near, and stays within the list", () => {
    expect(nearest([0, 10], 5)).toBe(0);
    expect(nearest([0, 10], 6)).toBe(1);
    expect(nearest([0, 10], -99)).toBe(0);
    expect(nearest([0, 10], 99)).toBe(1);
    expect(nearest([], 3)).toBe(-1);
  });
});

it("moves by recorded steps, not by epochs", () => {
  expect(stepBy([-1, 4, 9], 4, 1)).toBe(9);
  expect(stepBy([-1, 4, 9], 9, 5)).toBe(9);
  expect(stepBy([-1, 4, 9], 4, -9)).toBe(-1);
});

it("unites the steps of runs", () => {
  expect(
    union([
      [0, 5],
      [-1, 0, 1],
    ]),
  ).toEqual([-1, 0, 1, 5]);
});

describe("columns", () => {
  it("are one an epoch where there is room", () => {
    const columns = columnsOf(each, [-1, 59], 1000);
    expect(columns.count).toBe(61);
    expect([...columns.from]).toEqual(each.map((_, i) => i));
    expect([...columns.to]).toEqual(each.map((_, i) => i + 1));
  });

  it("show every record in exactly one column where there is not", () => {
    const many = Array.from({ length: 1000 }, (_, i) => i);
    const columns = columnsOf(many, [0, 999], 300);
    const shown = [...columns.from].flatMap((from, i) => many.slice(from, columns.to[i]));
    expect(shown).toEqual(many);
  });

  it("let a record stand for half the usual gap, and leave longer gaps empty", () => {
    const sparse = [0, 5, 10, 15, 40];
    const columns = columnsOf(sparse, [0, 40], 1000);
    const values = Float64Array.from(sparse);
    expect(columnValue(columns, 7, values)).toBe(5);
    expect(columnValue(columns, 8, values)).toBe(10);
    expect(columnValue(columns, 17, values)).toBe(15);
    expect(columnValue(columns, 25, values)).toBeNaN();
    expect(columnValue(columns, 38, values)).toBe(40);
  });

  it("average what they show, without what was not measured", () => {
    const columns = columnsOf([0, 1, 2, 3], [0, 3], 2);
    expect(columnValue(columns, 0, Float64Array.of(1, 3, NaN, 5))).toBe(2);
    expect(columnValue(columns, 1, Float64Array.of(1, 3, NaN, 5))).toBe(5);
  });
});

it("an epoch's place in a range leads back to it", () => {
  for (const epoch of each) expect(epochAt([-1, 59], shareOf([-1, 59], epoch))).toBe(epoch);
});

describe("pick", () => {
  it("keeps all where they fit", () => {
    expect(pick([0, 1, 2], 5, [])).toEqual([0, 1, 2]);
  });

  it("has the ends, the cursor and the onset, each once and in order, whatever the width", () => {
    for (let count = 4; count < 40; count++) {
      for (const cursor of each) {
        const picked = pick(each, count, [cursor, 14]);
        expect(picked).toHaveLength(count);
        expect(picked).toEqual([...new Set(picked)].sort((a, b) => a - b));
        expect(picked).toEqual(expect.arrayContaining([-1, 59, cursor, 14]));
      }
    }
  });
});

it("a record stands for half the usual gap", () => {
  expect(held([0, 5, 10], 7)).toBe(1);
  expect(held([0, 5, 10], 14)).toBe(-1);
  expect(held([0, 1, 2], 3)).toBe(-1);
  expect(held([], 3)).toBe(-1);
});

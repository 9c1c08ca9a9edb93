import { expect, it } from "vitest";
import { align } from "../src/data/alignment";

it("lines leave out epochs they have no record of, and break where a value is missing", () => {
  expect(align([0, 1, 2, 3], [0, 2, 3], [5, NaN, 7])).toEqual([5, undefined, null, 7]);
  expect(align([0, 1.5], [null, 1.5], [4, 6])).toEqual([undefined, 6]);
});

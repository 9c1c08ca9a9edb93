import { expect, it } from "vitest";
import { csv } from "../src/data/csv";

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

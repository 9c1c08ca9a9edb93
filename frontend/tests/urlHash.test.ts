import { describe, expect, it } from "vitest";
import { readHash, writeHash } from "../src/data/urlHash";

describe("hash", () => {
  const theirs = "#sparsity&smoothing=0.6&p.other.layer=x&p.sparsity.layer=old";

  it("reads our parameters only", () => {
    expect([...readHash(theirs, "p.sparsity.")]).toEqual([["layer", "old"]]);
  });

  it("replaces ours and keeps everything else", () => {
    const hash = writeHash(theirs, "p.sparsity.", new Map([["epoch", "14"]]));
    expect(hash).toBe("#sparsity&smoothing=0.6&p.other.layer=x&p.sparsity.epoch=14");
  });

  it("gives back whatever text was written", () => {
    for (const text of ["a&b=c", "<script>", "%", "100% ?#", "../..", "é😀", ""]) {
      const values = new Map([["layer", text]]);
      const hash = writeHash("#sparsity", "p.sparsity.", values);
      expect(readHash(hash, "p.sparsity.")).toEqual(values);
    }
  });

  it("survives what somebody typed", () => {
    expect([...readHash("#sparsity&p.sparsity.layer=%E0%A4%A", "p.sparsity.")]).toEqual([
      ["layer", "%E0%A4%A"],
    ]);
  });
});

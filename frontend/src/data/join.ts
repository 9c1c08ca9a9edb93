import type { LayerMaps } from "./maps";
import type { Correlations } from "./runs";
import type { LayerTable } from "./table";

/** Pages of one layer's maps that follow one another; those of another shape are left out. */
export function joinMaps(pages: readonly LayerMaps[]): LayerMaps {
  const newest = last(pages);
  if (pages.length === 1) return newest;
  const fitting = pages.filter((page) => String(page.shape) === String(newest.shape));
  return {
    ...newest,
    steps: joined(
      Int32Array,
      fitting.map((page) => page.steps),
    ),
    lo: joined(
      Float32Array,
      fitting.map((page) => page.lo),
    ),
    hi: joined(
      Float32Array,
      fitting.map((page) => page.hi),
    ),
    codes: joined(
      Uint8Array,
      fitting.map((page) => page.codes),
    ),
    warnings: [...new Set(pages.flatMap((page) => page.warnings))],
  };
}

/** Pages of one table; they have the same layers and columns. */
export function joinTables(pages: readonly LayerTable[]): LayerTable {
  const newest = last(pages);
  if (pages.length === 1) return newest;
  return {
    ...newest,
    steps: joined(
      Int32Array,
      pages.map((page) => page.steps),
    ),
    wallTimes: joined(
      Float64Array,
      pages.map((page) => page.wallTimes),
    ),
    globalSteps: joined(
      Float64Array,
      pages.map((page) => page.globalSteps),
    ),
    values: joined(
      Float32Array,
      pages.map((page) => page.values),
    ),
  };
}

/** Pages of one layer's correlation histograms. */
export function joinCorrelations(pages: readonly Correlations[]): Correlations {
  const newest = last(pages);
  if (pages.length === 1) return newest;
  return {
    ...newest,
    steps: joined(
      Int32Array,
      pages.map((page) => page.steps),
    ),
    counts: joined(
      Int32Array,
      pages.map((page) => page.counts),
    ),
  };
}

function last<T>(pages: readonly T[]): T {
  const newest = pages[pages.length - 1];
  if (newest === undefined) throw new Error("the server sent no page");
  return newest;
}

interface Numbers extends ArrayLike<number> {
  set(part: ArrayLike<number>, at: number): void;
}

function joined<T extends Numbers>(Type: new (length: number) => T, parts: readonly T[]): T {
  const whole = new Type(parts.reduce((size, part) => size + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

import { started } from "./movement";
import type { LayerInfo, LayerTable } from "./layerTable";
import { columnIndex, valueAt } from "./layerTable";

/** A number that a layer has at each epoch: a stored column, or something that follows from it. */
export interface Statistic {
  readonly id: string;
  readonly title: string;
  /** As it stands before a number: "H / ln D 0.643". */
  readonly symbol: string;
  readonly unit: string;
  /** The stored column it is made of. */
  readonly column: string;
  /** The range it cannot leave, or null. */
  readonly range: readonly [number, number] | null;
  /** Spans orders of magnitude: coloured by its logarithm, and its change is counted in doublings. */
  readonly logarithmic: boolean;
  readonly of: (value: number, layer: LayerInfo) => number;
}

const same = (value: number): number => value;

function stored(
  column: string,
  title: string,
  symbol: string,
  unit: string,
  range: readonly [number, number] | null,
): Statistic {
  return { id: column, title, symbol, unit, column, range, logarithmic: false, of: same };
}

/** H / ln D, between 0 (sparse) and 1 (dense); NaN for one channel. */
export function relative(entropy: number, layer: LayerInfo): number {
  return layer.channels > 1 ? entropy / Math.log(layer.channels) : NaN;
}

export const RELATIVE_ENTROPY: Statistic = {
  ...stored("entropy", "Relative entropy", "H / ln D", "of ln D", [0, 1]),
  id: "relative_entropy",
  of: relative,
};

export const STATISTICS: readonly Statistic[] = [
  RELATIVE_ENTROPY,
  stored("entropy", "Entropy", "H", "nats", null),
  {
    ...stored("entropy", "Perplexity", "exp H", "channels", null),
    id: "perplexity",
    of: Math.exp,
  },
  stored("scale_free_entropy", "Scale-free entropy", "scale-free", "of ln D", [0, 1]),
  { ...stored("rms", "RMS of activations", "RMS", "activation", null), logarithmic: true },
  stored("dead_fraction", "Dead channels", "dead", "of channels", [0, 1]),
  stored("zero_fraction", "Zeros after the ReLU", "zero", "of activations", [0, 1]),
  stored("nan_share", "NaN share", "NaN", "of positions", [0, 1]),
  stored(
    "correlation_mean_absolute",
    "Filter correlation, mean absolute",
    "mean |c|",
    "coefficient",
    [0, 1],
  ),
  stored("correlation_mean", "Filter correlation, mean", "mean c", "coefficient", [-1, 1]),
];

/** The statistic of this name; relative entropy if there is none. */
export function statisticOf(id: string): Statistic {
  return STATISTICS.find((statistic) => statistic.id === id) ?? RELATIVE_ENTROPY;
}

/** The statistic of one layer at one step. */
export function statisticAt(
  table: LayerTable,
  step: number,
  layer: number,
  statistic: Statistic,
): number {
  const info = table.layers[layer];
  const value = valueAt(table, step, layer, columnIndex(table, statistic.column));
  return info ? statistic.of(value, info) : NaN;
}

/** The statistic of one layer at each step, [steps]. */
export function series(table: LayerTable, layer: number, statistic: Statistic): Float64Array {
  const column = columnIndex(table, statistic.column);
  const info = table.layers[layer];
  const values = new Float64Array(table.steps.length).fill(NaN);
  if (!info) return values;
  return values.map((_, step) => statistic.of(valueAt(table, step, layer, column), info));
}

/** How a value is shown: as it is, as the change since the layer's first record, or minus another run's. */
export type Mode = "value" | "change" | "difference";

/** `value` minus `reference`, or the number of doublings if the statistic is logarithmic. */
export function change(value: number, reference: number, statistic: Statistic): number {
  return statistic.logarithmic ? Math.log2(value / reference) : value - reference;
}

/** [layers][steps] of a table, in the given mode. `reference` is the other run of a difference. */
export function grid(
  table: LayerTable,
  statistic: Statistic,
  mode: Mode,
  reference: LayerTable | null = null,
): Float64Array[] {
  return table.layers.map((layer, index) => {
    const values = series(table, index, statistic);
    if (mode === "value") return values;
    if (mode === "change") {
      const start = started(values);
      return values.map((value) => change(value, start, statistic));
    }
    return difference(values, table, layer.name, statistic, reference);
  });
}

function difference(
  values: Float64Array,
  table: LayerTable,
  name: string,
  statistic: Statistic,
  reference: LayerTable | null,
): Float64Array {
  if (!reference) return values.fill(NaN);
  const other = reference.layers.findIndex((layer) => layer.name === name);
  const theirs = series(reference, other, statistic);
  const at = new Map(Array.from(reference.steps, (step, index) => [step, index]));
  return values.map((value, index) => {
    const match = at.get(table.steps[index] ?? NaN);
    return change(value, (match === undefined ? NaN : theirs[match]) ?? NaN, statistic);
  });
}

/** Unit of a statistic in a mode. */
export function unitOf(statistic: Statistic, mode: Mode): string {
  return mode !== "value" && statistic.logarithmic ? "doublings" : statistic.unit;
}

/** The smallest and the largest finite value, or null if there are none. */
export function extent(rows: Iterable<ArrayLike<number>>): [number, number] | null {
  let lo = Infinity;
  let hi = -Infinity;
  for (const row of rows) {
    for (let i = 0; i < row.length; i++) {
      const value = row[i] ?? NaN;
      if (!Number.isFinite(value)) continue;
      if (value < lo) lo = value;
      if (value > hi) hi = value;
    }
  }
  return lo <= hi ? [lo, hi] : null;
}

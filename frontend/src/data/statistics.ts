import { started } from "./movement";
import type { LayerInfo, LayerTable } from "./layerTable";
import { columnIndex, valueAt } from "./layerTable";
import { ROWS } from "./statisticsTable";

/** A row of the table that Python has too: see `sparsight.schema.Statistic`. */
export interface StatisticRow {
  readonly id: string;
  readonly title: string;
  /** As it stands before a number: "H / ln D 0.643". */
  readonly symbol: string;
  readonly sentence: string;
  readonly group: string;
  /** Empty where there is none. */
  readonly unit: string;
  /** The range it cannot leave, or null where an end is open or depends on the layer. */
  readonly range: readonly [number, number] | null;
  /** Spans orders of magnitude: coloured by its logarithm, and its change is counted in doublings. */
  readonly logarithmic: boolean;
  /** The stored column it is made of, and how. */
  readonly column: string;
  readonly derived: "as recorded" | "over ln D" | "exponential";
  /** Columns of its 5th and 95th percentile, if they are recorded. */
  readonly spread: readonly [string, string] | null;
}

/** A number that a layer has at each epoch: a stored column, or something that follows from it. */
export interface Statistic extends StatisticRow {
  readonly of: (value: number, layer: LayerInfo) => number;
}

/** H / ln D, between 0 (sparse) and 1 (dense); NaN for one channel. */
export function relative(entropy: number, layer: LayerInfo): number {
  return layer.channels > 1 ? entropy / Math.log(layer.channels) : NaN;
}

const DERIVED: Readonly<Record<StatisticRow["derived"], Statistic["of"]>> = {
  "as recorded": (value) => value,
  "over ln D": relative,
  exponential: Math.exp,
};

export const STATISTICS: readonly Statistic[] = ROWS.map((row) => ({
  ...row,
  of: DERIVED[row.derived],
}));

function named(id: string): Statistic {
  const found = STATISTICS.find((statistic) => statistic.id === id);
  if (!found) throw new Error(`the table has no statistic ${id}`);
  return found;
}

export const RELATIVE_ENTROPY: Statistic = named("relative_entropy");

/** The statistics by what the selector lists them under. */
export function groups(): readonly (readonly [string, readonly Statistic[]])[] {
  const titles = [...new Set(STATISTICS.map(({ group }) => group))];
  return titles.map((title) => [title, STATISTICS.filter(({ group }) => group === title)] as const);
}

/** "Dead channels [share of channels]"; the title alone where there is no unit. */
export function withUnit(title: string, unit: string): string {
  return unit ? `${title} [${unit}]` : title;
}

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

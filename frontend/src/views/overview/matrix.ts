import type { LayerRow } from "../../data/layerRows";
import type { LayerTable } from "../../data/layerTable";
import { layerIndex } from "../../data/layerTable";
import type { Mode, Statistic } from "../../data/statistics";
import { grid } from "../../data/statistics";
import type { Policy, Scales } from "../../render/scales";
import { scalesOf } from "../../render/scales";

/** What the overview shows. */
export interface Matrix {
  readonly statistic: Statistic;
  readonly mode: Mode;
  readonly rows: readonly LayerRow[];
  /** The run that the others are compared with, in a difference. */
  readonly reference: string | null;
  /** By run: [rows][steps]; that of a folded module is the mean of its layers. */
  readonly values: ReadonlyMap<string, readonly Float64Array[]>;
  readonly scales: Scales;
}

export interface MatrixOptions {
  readonly statistic: Statistic;
  readonly mode: Mode;
  readonly policy: Policy;
  /** The run that the others are compared with, in a difference. */
  readonly reference: LayerTable | null;
}

/** The values of the rows in all tables, and the scales that colour them. */
export function matrixOf(
  tables: readonly LayerTable[],
  rows: readonly LayerRow[],
  { statistic, mode, policy, reference }: MatrixOptions,
): Matrix {
  const values = new Map(
    tables.map((table) => [
      table.run,
      rowValues(table, rows, grid(table, statistic, mode, reference)),
    ]),
  );
  const byRow = rows.map((_, at) =>
    [...values.values()].map((found) => found[at] ?? new Float64Array()),
  );
  const scales = scalesOf(byRow, statistic, mode, policy);
  return { statistic, mode, rows, reference: reference?.run ?? null, values, scales };
}

function rowValues(
  table: LayerTable,
  rows: readonly LayerRow[],
  layers: readonly Float64Array[],
): Float64Array[] {
  const none = new Float64Array(table.steps.length).fill(NaN);
  const of = (name: string): Float64Array => layers[layerIndex(table, name)] ?? none;
  return rows.map((row) =>
    row.layers.length > 1 ? meanOf(row.layers.map(of), none.length) : of(row.layers[0] ?? ""),
  );
}

/** The mean of the finite values at each step; NaN if there are none. */
function meanOf(series: readonly Float64Array[], steps: number): Float64Array {
  return Float64Array.from({ length: steps }, (_, step) => {
    const finite = series.map((values) => values[step] ?? NaN).filter(Number.isFinite);
    return finite.reduce((sum, value) => sum + value, 0) / finite.length;
  });
}

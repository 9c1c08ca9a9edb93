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
  readonly layers: readonly string[];
  /** The run that the others are compared with, in a difference. */
  readonly reference: string | null;
  /** By run: [layers][steps], in the order of `layers`. */
  readonly rows: ReadonlyMap<string, readonly Float64Array[]>;
  readonly scales: Scales;
}

interface MatrixOptions {
  readonly statistic: Statistic;
  readonly mode: Mode;
  readonly policy: Policy;
  /** The run that the others are compared with, in a difference. */
  readonly reference: LayerTable | null;
}

/** The values of all layers in all tables, and the scales that colour them. */
export function matrixOf(
  tables: readonly LayerTable[],
  layers: readonly string[],
  { statistic, mode, policy, reference }: MatrixOptions,
): Matrix {
  const rows = new Map(
    tables.map((table) => [
      table.run,
      aligned(table, layers, grid(table, statistic, mode, reference)),
    ]),
  );
  const byLayer = layers.map((_, at) =>
    [...rows.values()].map((values) => values[at] ?? new Float64Array()),
  );
  const scales = scalesOf(byLayer, statistic, mode, policy);
  return { statistic, mode, layers, reference: reference?.run ?? null, rows, scales };
}

function aligned(
  table: LayerTable,
  layers: readonly string[],
  rows: readonly Float64Array[],
): Float64Array[] {
  const none = new Float64Array(table.steps.length).fill(NaN);
  return layers.map((name) => rows[layerIndex(table, name)] ?? none);
}

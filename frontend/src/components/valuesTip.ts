import { nearest } from "../data/epochs";
import { format, shorten } from "../data/formatting";
import type { LayerTable } from "../data/layerTable";
import { layerIndex } from "../data/layerTable";
import { started } from "../data/movement";
import type { Statistic } from "../data/statistics";
import { change, series, statisticAt, statisticOf } from "../data/statistics";
import type { TipTable } from "../render/tip";
import { dashOf } from "../scale/lineStyles";
import type { State } from "../state/state";

// What tells whether a change is due to scale.
const BESIDE = [statisticOf("rms"), statisticOf("scale_free_entropy")];

/** A layer of a run that a tip has a row for. */
export interface TipLayer {
  readonly table: LayerTable;
  readonly layer: string;
  readonly name: string;
  readonly stroke: string;
  readonly near: boolean;
}

/** The layer of each run, in the run's own line. */
export function runsOfLayer(
  state: State,
  tables: readonly LayerTable[],
  layer: string,
  near: string | null = null,
): TipLayer[] {
  return tables
    .filter((table) => layerIndex(table, layer) >= 0)
    .map((table) => ({
      table,
      layer,
      name: shorten(table.run, 32),
      stroke: state.runStroke(table.run),
      near: tables.length > 1 && table.run === near,
    }));
}

/** A statistic at an epoch, its change since the layer's first record, RMS and scale-free entropy. */
export function valuesTable(
  state: State,
  layers: readonly TipLayer[],
  statistic: Statistic,
  epoch: number,
): TipTable {
  const beside = BESIDE.filter(({ id }) => id !== statistic.id);
  const moved = statistic.logarithmic ? "doublings" : "change";
  const head = ["", statistic.symbol, moved, ...beside.map(({ symbol }) => symbol)];
  const rows = layers.map(({ table, layer, name, stroke, near }) => {
    const at = layerIndex(table, layer);
    const step = nearest(table.steps, epoch);
    const values = series(table, at, statistic);
    const value = values[step] ?? NaN;
    const cells = [
      format(value),
      format(change(value, started(values), statistic), true),
      ...beside.map((other) => format(statisticAt(table, step, at, other))),
    ];
    return { name, stroke, dash: dashOf(state.strokeIndex(table.run)), cells, near };
  });
  return { head, rows };
}

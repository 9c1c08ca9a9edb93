import { useMemo } from "preact/hooks";
import type { Mode, Statistic } from "../../data/statistics";
import { RELATIVE_ENTROPY, grid, statisticOf } from "../../data/statistics";
import type { LayerTable } from "../../data/layerTable";
import { layerIndex } from "../../data/layerTable";
import type { Scales } from "../../render/scales";
import { scalesOf } from "../../render/scales";
import { useAppState } from "../../state/state";

/** What the overview shows: worked out once for all panels. */
export interface Matrix {
  readonly statistic: Statistic;
  readonly mode: Mode;
  readonly layers: readonly string[];
  /** The run that others are compared with, in a difference. */
  readonly reference: string | null;
  /** By run: [layers][steps], in the order of `layers`. */
  readonly rows: ReadonlyMap<string, readonly Float64Array[]>;
  readonly scales: Scales;
}

export function useMatrix(): Matrix {
  const state = useAppState();
  const { fields } = state;
  const tables = state.tables.value;
  const layers = state.layers.value;
  const id = fields.statistic.cell.value ?? RELATIVE_ENTROPY.id;
  const mode = fields.mode.cell.value;
  const policy = fields.colours.cell.value;
  const reference = useReference(mode);
  return useMemo(() => {
    const statistic = statisticOf(id);
    const rows = new Map(
      tables.map((table) => [
        table.run,
        aligned(table, layers, grid(table, statistic, mode, reference)),
      ]),
    );
    const byLayer = layers.map((_, at) =>
      [...rows.values()].map((r) => r[at] ?? new Float64Array()),
    );
    const compared = reference?.run ?? null;
    return {
      statistic,
      mode,
      layers,
      reference: compared,
      rows,
      scales: scalesOf(byLayer, statistic, mode, policy),
    };
  }, [tables, layers, id, mode, policy, reference]);
}

/** The run that others are compared with. */
function useReference(mode: Mode): LayerTable | null {
  const state = useAppState();
  if (mode !== "difference") return null;
  const wanted = state.fields.reference.cell.value ?? state.chosen.value[0]?.run;
  return wanted === undefined ? null : state.table(wanted).value.value;
}

function aligned(
  table: LayerTable,
  layers: readonly string[],
  rows: readonly Float64Array[],
): Float64Array[] {
  const none = new Float64Array(table.steps.length).fill(NaN);
  return layers.map((name) => rows[layerIndex(table, name)] ?? none);
}

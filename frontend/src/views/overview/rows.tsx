/** What stands beside and around the rows of a panel. */

import { useMemo } from "preact/hooks";
import { nearest } from "../../data/epochs";
import { atEpoch, format, shorten } from "../../data/formatting";
import type { LayerTable } from "../../data/layerTable";
import { layerIndex } from "../../data/layerTable";
import { farthest, moved } from "../../data/movement";
import type { RunEntry } from "../../data/runs";
import { RELATIVE_ENTROPY, series } from "../../data/statistics";
import type { LayerRow } from "../../data/layerRows";
import { useAppState, useViewState } from "../../state/state";
import { OverviewState } from "./OverviewState";
import type { Matrix } from "./matrix";

/** The layers' names. Those that moved farthest up to the onset stand out. */
export function RowLabels(props: {
  readonly entry: RunEntry;
  readonly table: LayerTable;
  readonly rows: readonly LayerRow[];
}) {
  const { entry, table, rows } = props;
  const state = useAppState();
  const view = useViewState(OverviewState);
  const onset = state.onsetOf(entry.run)?.epoch ?? null;
  const movers = useMemo(() => moversOf(onset, table, rows), [onset, table, rows]);
  return (
    <div class="labels">
      {rows.map(({ name, label, layers, module }, at) => {
        const move = movers.get(at);
        const title = shorten(name, 300) + (move === undefined ? "" : ` (${move})`);
        const selected = layers.includes(state.layer.value ?? "") && module !== "open";
        return (
          <button
            key={name}
            type="button"
            tabIndex={-1}
            class={(selected ? "selected " : "") + (move === undefined ? "" : "mover")}
            title={title}
            aria-expanded={module === null ? undefined : module === "open"}
            onClick={() => {
              if (module === null) state.select(name);
              else view.toggleModule(name);
            }}
          >
            {module !== null && (module === "open" ? "▾ " : "▸ ")}
            <bdi>{shorten(label, 22)}</bdi>
            {module !== null && ` (${layers.length})`}
          </button>
        );
      })}
    </div>
  );
}

/** The rows that moved farthest, each with a sentence. */
function moversOf(
  onset: number | null,
  table: LayerTable,
  rows: readonly LayerRow[],
): Map<number, string> {
  const end = onset === null ? table.steps.length : nearest(table.steps, onset) + 1;
  const until = onset === null ? "so far" : "up to the onset";
  const moves = rows.map(({ layers: [name = "", ...others] }) =>
    others.length ? 0 : moved(series(table, layerIndex(table, name), RELATIVE_ENTROPY), end),
  );
  return new Map(
    farthest(moves).map((row) => [
      row,
      `relative entropy moved by ${format(moves[row] ?? NaN, true)} ${until}`,
    ]),
  );
}

/** The values at the cursor, one for each row. */
export function RowValues({
  table,
  matrix,
}: {
  readonly table: LayerTable;
  readonly matrix: Matrix;
}) {
  const state = useAppState();
  const step = nearest(table.steps, state.cursor.value);
  const rows = matrix.values.get(table.run) ?? [];
  return (
    <div class="values" aria-label={`${matrix.statistic.title} ${atEpoch(table.steps[step] ?? 0)}`}>
      {rows.map((values, row) => (
        <span key={row} class={matrix.rows[row]?.name === state.layer.value ? "selected" : ""}>
          {format(values[step] ?? NaN, matrix.mode !== "value")}
        </span>
      ))}
    </div>
  );
}

/** A frame around the row of the chosen layer. */
export function SelectedRow({ rows }: { readonly rows: readonly LayerRow[] }) {
  const layer = useAppState().layer.value ?? "";
  const at = rows.findIndex(({ layers, module }) => layers.includes(layer) && module !== "open");
  if (at < 0) return null;
  const style = { top: `${(100 * at) / rows.length}%`, height: `${100 / rows.length}%` };
  return <i class="selected-row" style={style} aria-hidden="true" />;
}

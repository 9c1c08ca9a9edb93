/** What stands beside and around the rows of a panel. */

import { useMemo } from "preact/hooks";
import { nearest } from "../../data/epochs";
import { atEpoch, format, shorten } from "../../data/formatting";
import type { LayerTable } from "../../data/layerTable";
import { layerIndex } from "../../data/layerTable";
import { farthest, moved } from "../../data/movement";
import type { RunEntry } from "../../data/runs";
import { RELATIVE_ENTROPY, series } from "../../data/statistics";
import { useAppState } from "../../state/state";
import type { Matrix } from "./matrix";

/** The layers' names. Those that moved farthest up to the onset stand out. */
export function RowLabels(props: {
  readonly entry: RunEntry;
  readonly table: LayerTable;
  readonly layers: readonly string[];
}) {
  const { entry, table, layers } = props;
  const state = useAppState();
  const movers = useMemo(() => moversOf(entry, table, layers), [entry, table, layers]);
  return (
    <div class="labels">
      {layers.map((name, at) => {
        const move = movers.get(at);
        const title = shorten(name, 300) + (move === undefined ? "" : ` (${move})`);
        return (
          <button
            key={name}
            type="button"
            tabIndex={-1}
            class={
              (name === state.layer.value ? "selected " : "") + (move === undefined ? "" : "mover")
            }
            title={title}
            onClick={() => {
              state.select(name);
            }}
          >
            <bdi>{shorten(name, 22)}</bdi>
          </button>
        );
      })}
    </div>
  );
}

/** The rows that moved farthest, each with a sentence. */
function moversOf(
  entry: RunEntry,
  table: LayerTable,
  layers: readonly string[],
): Map<number, string> {
  const end = entry.onset === null ? table.steps.length : nearest(table.steps, entry.onset) + 1;
  const until = entry.onset === null ? "so far" : "up to the onset";
  const moves = layers.map((name) =>
    moved(series(table, layerIndex(table, name), RELATIVE_ENTROPY), end),
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
  const rows = matrix.rows.get(table.run) ?? [];
  return (
    <div class="values" aria-label={`${matrix.statistic.title} ${atEpoch(table.steps[step] ?? 0)}`}>
      {rows.map((values, row) => (
        <span key={row} class={matrix.layers[row] === state.layer.value ? "selected" : ""}>
          {format(values[step] ?? NaN, matrix.mode !== "value")}
        </span>
      ))}
    </div>
  );
}

/** A frame around the row of the chosen layer. */
export function SelectedRow({ layers }: { readonly layers: readonly string[] }) {
  const at = layers.indexOf(useAppState().layer.value ?? "");
  if (at < 0) return null;
  const style = { top: `${(100 * at) / layers.length}%`, height: `${100 / layers.length}%` };
  return <i class="selected-row" style={style} aria-hidden="true" />;
}

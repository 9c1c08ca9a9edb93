import { useCallback, useMemo } from "preact/hooks";
import { Canvas } from "../../components/Canvas";
import { useNear, useWidth } from "../../components/elementObservers";
import { CursorLine, EpochAxis, OnsetLine } from "../../components/EpochAxis";
import { RunStroke } from "../../components/RunStroke";
import { onLeave, showTip } from "../../components/Tooltip";
import { runsOfLayer, valuesTable } from "../../components/valuesTip";
import { columnsOf, epochAt, nearest } from "../../data/epochs";
import { epochPhrase, format, shorten } from "../../data/formatting";
import type { LayerRow } from "../../data/layerRows";
import type { LayerTable } from "../../data/layerTable";
import { layerIndex } from "../../data/layerTable";
import { begins } from "../../data/movement";
import type { RunEntry } from "../../data/runs";
import { unitOf } from "../../data/statistics";
import { canvasClass } from "../../scale/colour";
import { matrixCells, paintCells } from "../../render/heatmap";
import type { Tip } from "../../render/tip";
import { fitted } from "../../render/tip";
import type { State } from "../../state/state";
import { useAppState } from "../../state/state";
import type { Matrix } from "./matrix";
import { RowLabels, RowValues, SelectedRow } from "./rows";

const MOST_COLUMNS = 1024;

/** Layers by epochs of one run. */
export function Panel({ entry, matrix }: { readonly entry: RunEntry; readonly matrix: Matrix }) {
  const [element, near] = useNear<HTMLDivElement>();
  const loaded = useAppState().data.table(entry.run).value;
  return (
    <div
      class="panel"
      ref={element}
      role="group"
      aria-label={`Overview of ${shorten(entry.run, 80)}`}
    >
      <h3>
        <RunStroke run={entry.run} />
        <bdi title={shorten(entry.run, 300)}>{shorten(entry.run, 60)}</bdi>
        {loaded.value && <ValuesAt steps={loaded.value.steps} />}
        {matrix.reference === entry.run && (
          <span class="muted">the others are compared with this run</span>
        )}
      </h3>
      {loaded.value && near ? (
        <Heatmap entry={entry} table={loaded.value} matrix={matrix} />
      ) : (
        <div class="matrix placeholder" style={{ "--rows": String(matrix.rows.length || 5) }}>
          {loaded.status === "failed" ? loaded.message : ""}
        </div>
      )}
    </div>
  );
}

/** The epoch of the values beside the rows: the run's record nearest to the cursor. */
function ValuesAt({ steps }: { readonly steps: Int32Array }) {
  const step = steps[nearest(steps, useAppState().cursor.value)];
  if (step === undefined) return null;
  return <span class="muted values-at">{epochPhrase(step)}</span>;
}

interface HeatmapProps {
  readonly entry: RunEntry;
  readonly table: LayerTable;
  readonly matrix: Matrix;
}

function Heatmap({ entry, table, matrix }: HeatmapProps) {
  const state = useAppState();
  const [plot, width] = useWidth<HTMLDivElement>();
  const range = state.range.value;
  const rows = matrix.values.get(entry.run) ?? [];
  const limit = Math.max(16, Math.min(MOST_COLUMNS, width || MOST_COLUMNS));
  const columns = useMemo(() => columnsOf(table.steps, range, limit), [table, range, limit]);
  const paint = useCallback(
    (canvas: HTMLCanvasElement) => {
      paintCells(canvas, matrixCells(rows, columns, matrix.scales.of));
    },
    [rows, columns, matrix],
  );
  const at = (event: MouseEvent & { currentTarget: HTMLElement }) => {
    const box = event.currentTarget.getBoundingClientRect();
    const row = Math.floor(((event.clientY - box.top) / box.height) * rows.length);
    return {
      row: Math.max(0, Math.min(rows.length - 1, row)),
      epoch: epochAt(range, (event.clientX - box.left) / box.width),
    };
  };
  return (
    <div class="matrix" style={{ "--rows": String(rows.length) }}>
      <RowLabels entry={entry} table={table} rows={matrix.rows} />
      <div
        class="plot hatched"
        ref={plot}
        role="img"
        aria-label={`${matrix.statistic.title} of ${rows.length} layers over ${table.steps.length} epochs`}
        onMouseMove={(event) => {
          const { row, epoch } = at(event);
          showTip(event, tipOf(state, matrix, table, row, epoch));
        }}
        onMouseLeave={onLeave}
        onClick={(event) => {
          const { row, epoch } = at(event);
          const step = table.steps[nearest(table.steps, epoch)];
          state.select(matrix.rows[row]?.layers[0] ?? null, step ?? epoch);
        }}
      >
        <Canvas paint={paint} class={`pixels ${canvasClass(matrix.scales.of(0))}`} />
        <SelectedRow rows={matrix.rows} />
        <OnsetLine range={range} run={entry.run} />
        <CursorLine range={range} />
      </div>
      <RowValues table={table} matrix={matrix} />
      <EpochAxis range={range} width={width} />
    </div>
  );
}

/** The value pointed at, and below it what all runs have there. */
function tipOf(state: State, matrix: Matrix, table: LayerTable, at: number, epoch: number): Tip {
  const row = matrix.rows[at];
  if (!row) return { lines: [] };
  const lines = headLines(matrix, table, row, at, epoch);
  const [layer = "", ...others] = row.layers;
  if (others.length) return { lines: [...lines, `mean over ${row.layers.length} layers`] };
  const info = table.layers[layerIndex(table, layer)];
  if (info) lines.push(`${info.operator}, D = ${info.channels}, ${info.tappedAt}`);
  const runs = runsOfLayer(state, state.tables.value, layer, table.run);
  return fitted(lines, valuesTable(state, runs, matrix.statistic, epoch));
}

const WHAT = { value: "", change: " since the start", difference: " against the other run" };

function headLines(
  matrix: Matrix,
  table: LayerTable,
  row: LayerRow,
  at: number,
  epoch: number,
): string[] {
  const { statistic, mode } = matrix;
  const step = nearest(table.steps, epoch);
  const values = matrix.values.get(table.run)?.[at] ?? new Float64Array();
  const found = `${statistic.symbol} ${format(values[step] ?? NaN, mode !== "value")}`;
  const lines = [
    `${shorten(row.name, 60)}, ${epochPhrase(table.steps[step] ?? epoch)}`,
    withUnit(found, matrix) + WHAT[mode],
  ];
  const first = begins(values);
  if (mode === "change" && first > 0) {
    lines.push(`since ${epochPhrase(table.steps[first] ?? 0)}, its first record`);
  }
  return lines;
}

/** With the unit, unless the symbol has it already: "H / ln D" is "of ln D". */
function withUnit(text: string, { statistic, mode }: Matrix): string {
  const unit = unitOf(statistic, mode);
  return statistic.symbol.endsWith(unit.replace(/^of /, "/ ")) ? text : `${text} ${unit}`;
}

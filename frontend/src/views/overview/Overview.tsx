import { useCallback, useMemo } from "preact/hooks";
import { columnsOf, epochAt, nearest } from "../../data/epochs";
import { begins, farthest, moved } from "../../data/movement";
import type { RunEntry } from "../../data/runs";
import { RELATIVE_ENTROPY, STATISTICS, series, unitOf } from "../../data/statistics";
import type { LayerTable } from "../../data/layerTable";
import { layerIndex } from "../../data/layerTable";
import { atEpoch, epochPhrase, format, shorten } from "../../data/formatting";
import { matrixCells, paintCells } from "../../render/heatmap";
import { useAppState, useViewState } from "../../state/state";
import { Canvas } from "../../components/Canvas";
import {
  COLOUR_RANGES,
  ColourRangeSelect,
  UNBOUNDED_RANGES,
  legendTitle,
} from "../../components/ColourRange";
import { Notice, Select } from "../../components/controls";
import { CursorLine, EpochAxis, OnsetLine } from "../../components/EpochAxis";
import { Legend } from "../../components/Legend";
import type { Matrix } from "./matrix";
import { LayerValues } from "./LayerValues";
import { OverviewState } from "./OverviewState";
import { RunStroke } from "../../components/RunStroke";
import { useNear, useWidth } from "../../components/elementObservers";
import { onLeave, showTip } from "../../components/Tooltip";

const MOST_COLUMNS = 1024;

/** Layers by epochs, one panel for each run, on one colour scale. */
export function Overview() {
  const state = useAppState();
  const { matrix: shown, needed } = useViewState(OverviewState);
  const matrix = shown.value;
  return (
    <>
      <Notice text={needed.value} />
      <div class={`panels rows-${density(matrix.layers.length)}`}>
        {state.chosen.value.map((entry) => (
          <Panel key={entry.run} entry={entry} matrix={matrix} />
        ))}
      </div>
      <LayerValues />
    </>
  );
}

function density(layers: number): string {
  if (layers <= 12) return "wide";
  return layers <= 32 ? "middle" : "narrow";
}

const MODES = [
  ["value", "as it is"],
  ["change", "change from start"],
  ["difference", "difference from another run"],
] as const;

export function Controls() {
  const state = useAppState();
  const { fields, matrix } = useViewState(OverviewState);
  const { statistic, mode, scales } = matrix.value;
  const title = legendTitle(statistic.title, mode, unitOf(statistic, mode));
  const runs = state.entries.value.map(({ run }) => [run, shorten(run, 32)] as const);
  return (
    <>
      <Select
        label="Statistic"
        value={statistic.id}
        options={STATISTICS.map((s) => [s.id, s.title] as const)}
        onChange={(id) => (fields.statistic.cell.value = id)}
      />
      <Select
        label="Show"
        value={mode}
        options={MODES}
        onChange={(chosen) => (fields.mode.cell.value = chosen)}
      />
      {mode === "difference" && (
        <Select
          label="from"
          value={fields.reference.cell.value ?? state.chosen.value[0]?.run ?? ""}
          options={runs}
          onChange={(run) => (fields.reference.cell.value = run)}
        />
      )}
      <ColourRangeSelect
        field={fields.colours}
        offered={statistic.range ? COLOUR_RANGES : UNBOUNDED_RANGES}
      />
      <Legend scale={scales.common} title={title} each="each row from its lowest to its highest" />
    </>
  );
}

function Panel({ entry, matrix }: { readonly entry: RunEntry; readonly matrix: Matrix }) {
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
        <div class="matrix placeholder" style={{ "--rows": String(matrix.layers.length || 5) }}>
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
  const rows = matrix.rows.get(entry.run) ?? [];
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
      <RowLabels entry={entry} table={table} layers={matrix.layers} />
      <div
        class="plot hatched"
        ref={plot}
        role="img"
        aria-label={`${matrix.statistic.title} of ${rows.length} layers over ${table.steps.length} epochs`}
        onMouseMove={(event) => {
          const { row, epoch } = at(event);
          showTip(event, tooltipLines(matrix, table, row, epoch));
        }}
        onMouseLeave={onLeave}
        onClick={(event) => {
          const { row, epoch } = at(event);
          const step = table.steps[nearest(table.steps, epoch)];
          state.select(matrix.layers[row] ?? null, step ?? epoch);
        }}
      >
        <Canvas paint={paint} class="pixels" />
        <SelectedRow layers={matrix.layers} />
        <OnsetLine range={range} epoch={entry.onset} />
        <CursorLine range={range} />
      </div>
      <RowValues table={table} matrix={matrix} />
      <EpochAxis range={range} width={width} />
    </div>
  );
}

function tooltipLines(matrix: Matrix, table: LayerTable, row: number, epoch: number): string[] {
  const step = nearest(table.steps, epoch);
  const name = matrix.layers[row] ?? "";
  const info = table.layers[layerIndex(table, name)];
  const values = matrix.rows.get(table.run)?.[row] ?? new Float64Array();
  const unit = unitOf(matrix.statistic, matrix.mode);
  const lines = [
    `${shorten(name, 60)}, ${epochPhrase(table.steps[step] ?? epoch)}`,
    `${matrix.statistic.symbol} ${format(values[step] ?? NaN, matrix.mode !== "value")} ${unit}`,
  ];
  const first = begins(values);
  if (matrix.mode === "change" && first > 0) {
    lines.push(`since ${epochPhrase(table.steps[first] ?? 0)}, its first record`);
  }
  if (info) lines.push(`${info.operator}, D = ${info.channels}, ${info.tappedAt}`);
  return lines;
}

/** The layers' names. Those that moved farthest up to the onset stand out. */
function RowLabels(props: {
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
function RowValues({ table, matrix }: { readonly table: LayerTable; readonly matrix: Matrix }) {
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

function SelectedRow({ layers }: { readonly layers: readonly string[] }) {
  const at = layers.indexOf(useAppState().layer.value ?? "");
  if (at < 0) return null;
  const style = { top: `${(100 * at) / layers.length}%`, height: `${100 / layers.length}%` };
  return <i class="selected-row" style={style} aria-hidden="true" />;
}

import type { Cell } from "../../data/csv";
import { csv } from "../../data/csv";
import { columnsOf } from "../../data/epochs";
import { byCoefficient, coefficient, shares } from "../../data/correlationHistogram";
import type { Correlations, RunEntry } from "../../data/runs";
import { BINS } from "../../data/runs";
import { unitOf } from "../../data/statistics";
import { SUMMARY_COLUMNS, sorted, summaries } from "../../data/layerSummary";
import type { LayerTable } from "../../data/layerTable";
import { shorten } from "../../data/formatting";
import type { Chart } from "../../render/figures";
import { chartFigure, heatFigure } from "../../render/figures";
import type { Figure } from "../../render/svg";
import type { ColourScale } from "../../scale/colour";
import type { State } from "../../state/state";
import { titleOf } from "../../components/ColourRange";
import type { Matrix } from "./matrix";
import type { PlotData } from "../../components/Plot";

const COLUMNS = 640;

/** The column with the run that was subtracted. */
export const SUBTRACTED = "subtracted_run";

/** The overview as a figure. */
export function overviewFigure(state: State, matrix: Matrix): Figure {
  const unit = unitOf(matrix.statistic, matrix.mode);
  const { mode, reference } = matrix;
  const from = mode === "difference" && reference !== null ? ` from ${shorten(reference, 60)}` : "";
  const title = `${matrix.statistic.title}${mode === "value" ? "" : `, ${mode}${from}`}`;
  const range = state.range.peek();
  const panels = state.chosen.peek().flatMap(({ run, onset }) => {
    const steps = state.table(run).peek().value?.steps;
    const rows = matrix.rows.get(run);
    if (!steps || !rows) return [];
    const columns = columnsOf(steps, range, COLUMNS);
    const labels = matrix.layers.map((name) => shorten(name, 24));
    return [{ title: shorten(run, 60), labels, rows, columns, onset, scaleOf: matrix.scales.of }];
  });
  const scaleTitle = titleOf(matrix.statistic.title, mode, unit);
  return heatFigure(`${title}: layers by epochs`, panels, matrix.scales.common, scaleTitle);
}

/** Every value behind the overview; of a difference with the run that was subtracted. */
export function overviewCsv(tables: readonly LayerTable[], matrix: Matrix): string {
  const { mode, reference } = matrix;
  const less = mode === "difference" ? [reference] : [];
  const rows = tables.flatMap((table) =>
    matrix.layers.flatMap((layer, at) =>
      Array.from(table.steps, (step, index): Cell[] => [
        ...[table.run, ...less, layer, step],
        matrix.rows.get(table.run)?.[at]?.[index] ?? NaN,
      ]),
    ),
  );
  const { id } = matrix.statistic;
  const names = ["run", ...less.map(() => SUBTRACTED), "layer", "epoch"];
  return csv([...names, mode === "value" ? id : `${id}_${mode}`], rows);
}

/** What the plots show, as figures on white ground. */
export function curvesFigure(plots: readonly (readonly [string, PlotData, number])[]): Figure {
  const charts = plots.map(([title, data, height]): Chart => ({
    title,
    height,
    range: data.range,
    logarithmic: data.logarithmic,
    marks: data.marks,
    lines: data.lines
      .filter(({ silent }) => !silent)
      .map(({ label, ...rest }) => ({ ...rest, label: shorten(label, 34), epochs: data.epochs })),
  }));
  return chartFigure("Curves over epochs", charts);
}

/** Every point of the plots. */
export function curvesCsv(plots: readonly (readonly [string, PlotData, number])[]): string {
  const rows = plots.flatMap(([title, data]) =>
    data.lines
      .filter(({ silent }) => !silent)
      .flatMap((line) =>
        line.values.flatMap((value, at): Cell[][] =>
          value === undefined ? [] : [[title, line.label, data.epochs[at] ?? NaN, value]],
        ),
      ),
  );
  return csv(["plot", "line", "epoch", "value"], rows);
}

/** What was loaded for the correlations of a run. */
export interface LoadedRun {
  readonly entry: RunEntry;
  readonly value: Correlations | null;
}

export function correlationsFigure(
  state: State,
  layer: string,
  loaded: readonly LoadedRun[],
  scale: ColourScale,
): Figure {
  const panels = loaded.flatMap(({ entry, value }) => {
    if (!value?.steps.length) return [];
    const rows = byCoefficient(shares(value));
    const labels = rows.map((_, at) => axisLabel(BINS - 1 - at));
    const columns = columnsOf(value.steps, state.range.peek(), COLUMNS);
    const title = shorten(entry.run, 60);
    return [{ title, labels, rows, columns, onset: entry.onset, scaleOf: () => scale }];
  });
  const title = `Filter correlations of ${shorten(layer, 40)}: coefficient by epoch`;
  return heatFigure(title, panels, scale, "Share of the pairs of filters", 1);
}

function axisLabel(bin: number): string {
  return bin % 50 === 0 ? coefficient(bin).toFixed(1) : "";
}

export function correlationsCsv(layer: string, loaded: readonly LoadedRun[]): string {
  const rows = loaded.flatMap(({ entry, value }) =>
    value
      ? Array.from(value.counts, (pairs, at): Cell[] => [
          ...[entry.run, layer, value.steps[Math.floor(at / BINS)] ?? NaN],
          ...[coefficient(at % BINS), pairs],
        ]).filter((row) => row[4] !== 0)
      : [],
  );
  return csv(["run", "layer", "epoch", "coefficient", "pairs"], rows);
}

/** The layer table, in its order. */
export function layersCsv(state: State): string {
  const lines = sorted(state.tables.peek().flatMap(summaries), state.fields.sort.cell.peek());
  const header = SUMMARY_COLUMNS.map(({ id, title }) => (id === "layer" ? "layer" : title));
  return csv(
    header,
    lines.map((one) => SUMMARY_COLUMNS.map((column) => column.of(one))),
  );
}

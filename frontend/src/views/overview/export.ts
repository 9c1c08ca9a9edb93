import { legendTitle } from "../../components/ColourRange";
import type { Cell } from "../../data/csv";
import { SUBTRACTED, csv } from "../../data/csv";
import { columnsOf } from "../../data/epochs";
import { shorten } from "../../data/formatting";
import type { LayerTable } from "../../data/layerTable";
import { layerIndex } from "../../data/layerTable";
import { grid, unitOf } from "../../data/statistics";
import { heatFigure } from "../../render/heatFigure";
import type { Figure } from "../../render/svg";
import type { State } from "../../state/state";
import type { MatrixOptions } from "./matrix";
import { OverviewState } from "./OverviewState";

const COLUMNS = 640;

/** The overview as a figure. */
export function overviewFigure(state: State): Figure {
  const matrix = state.part(OverviewState).matrix.peek();
  const unit = unitOf(matrix.statistic, matrix.mode);
  const { mode, reference } = matrix;
  const from = mode === "difference" && reference !== null ? ` from ${shorten(reference, 60)}` : "";
  const title = `${matrix.statistic.title}${mode === "value" ? "" : `, ${mode}${from}`}`;
  const range = state.range.peek();
  const panels = state.chosen.peek().flatMap(({ run }) => {
    const steps = state.data.table(run).peek().value?.steps;
    const rows = matrix.values.get(run);
    const onset = state.onsets.peek().get(run) ?? null;
    if (!steps || !rows) return [];
    const columns = columnsOf(steps, range, COLUMNS);
    const labels = matrix.rows.map(({ label }) => shorten(label, 24));
    return [{ title: shorten(run, 60), labels, rows, columns, onset, scaleOf: matrix.scales.of }];
  });
  const scaleTitle = legendTitle(matrix.statistic.title, mode, unit);
  return heatFigure(`${title}: layers by epochs`, panels, matrix.scales.common, scaleTitle);
}

/** Every value of all layers, in graph order; for a difference, with the run that was subtracted. */
export function overviewCsv(
  tables: readonly LayerTable[],
  layers: readonly string[],
  { statistic, mode, reference }: MatrixOptions,
): string {
  const subtracted = mode === "difference" ? [reference?.run ?? null] : [];
  const rows = tables.flatMap((table) => {
    const values = grid(table, statistic, mode, reference);
    return layers.flatMap((layer) =>
      Array.from(table.steps, (step, index): Cell[] => [
        ...[table.run, ...subtracted, layer, step],
        values[layerIndex(table, layer)]?.[index] ?? NaN,
      ]),
    );
  });
  const { id } = statistic;
  const names = ["run", ...subtracted.map(() => SUBTRACTED), "layer", "epoch"];
  return csv([...names, mode === "value" ? id : `${id}_${mode}`], rows);
}

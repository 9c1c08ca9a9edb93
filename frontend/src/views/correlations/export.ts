import { byCoefficient, coefficient } from "../../data/correlationHistogram";
import type { Cell } from "../../data/csv";
import { csv } from "../../data/csv";
import { columnsOf } from "../../data/epochs";
import { shorten } from "../../data/formatting";
import { BINS } from "../../data/runs";
import { heatFigure } from "../../render/heatFigure";
import type { Figure } from "../../render/svg";
import type { State } from "../../state/state";
import { CorrelationsState } from "./CorrelationsState";

const COLUMNS = 640;

/** The histograms as a figure: coefficient by epoch. */
export function correlationsFigure(state: State): Figure {
  const view = state.part(CorrelationsState);
  const scale = view.scale.peek();
  const shares = view.shares.peek();
  const panels = view.panels.peek().flatMap(({ entry, value }, at) => {
    if (!value?.steps.length) return [];
    const rows = byCoefficient(shares[at] ?? []);
    const labels = rows.map((_, row) => axisLabel(BINS - 1 - row));
    const columns = columnsOf(value.steps, state.range.peek(), COLUMNS);
    const title = shorten(entry.run, 60);
    return [
      {
        title,
        labels,
        rows,
        columns,
        onset: state.onsets.peek().get(entry.run) ?? null,
        scaleOf: () => scale,
      },
    ];
  });
  const title = `Filter correlations of ${shorten(view.layer.peek(), 40)}: coefficient by epoch`;
  return heatFigure(title, panels, scale, "Share of the filter pairs", 1);
}

function axisLabel(bin: number): string {
  return bin % 50 === 0 ? coefficient(bin).toFixed(1) : "";
}

/** The number of pairs in every bin that is not empty. */
export function correlationsCsv(state: State): string {
  const view = state.part(CorrelationsState);
  const rows = view.panels
    .peek()
    .flatMap(({ entry, value }) =>
      value
        ? Array.from(value.counts, (pairs, at): Cell[] => [
            ...[entry.run, view.layer.peek(), value.steps[Math.floor(at / BINS)] ?? NaN],
            ...[coefficient(at % BINS), pairs],
          ]).filter((row) => row[4] !== 0)
        : [],
    );
  return csv(["run", "layer", "epoch", "coefficient", "pairs"], rows);
}

import type { Cell } from "../../data/csv";
import { csv } from "../../data/csv";
import type { Chart } from "../../render/chartFigure";
import { chartFigure } from "../../render/chartFigure";
import type { Figure } from "../../render/svg";

/** What the plots show, as figures on a white ground. */
export function curvesFigure(charts: readonly Chart[]): Figure {
  return chartFigure("Curves over epochs", charts);
}

/** Every point of the plots: one line for each, with what it belongs to in columns of their own. */
export function curvesCsv(charts: readonly Chart[]): string {
  const rows = charts.flatMap(({ data }) =>
    data.lines.flatMap(({ source, values, silent }) =>
      values.flatMap((value, at): Cell[][] => {
        if (value === undefined || silent) return [];
        const { quantity, run, layer, sigma } = source;
        return [[quantity, run, layer, sigma, data.x[at] ?? NaN, value]];
      }),
    ),
  );
  return csv(["quantity", "run", "layer", "smoothing", "epoch", "value"], rows);
}

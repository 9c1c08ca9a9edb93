import type { Cell } from "../../data/csv";
import { csv } from "../../data/csv";
import { shorten } from "../../data/formatting";
import type { Chart } from "../../render/chartFigure";
import { chartFigure } from "../../render/chartFigure";
import type { PlotData } from "../../render/plotData";
import type { Figure } from "../../render/svg";

/** What the plots show, as figures on a white ground. */
export function curvesFigure(charts: readonly Chart[]): Figure {
  const shortened = charts.map(({ data, ...rest }): Chart => {
    const lines = namedLines(data).map((line) => ({ ...line, label: shorten(line.label, 34) }));
    return { ...rest, data: { ...data, lines } };
  });
  return chartFigure("Curves over epochs", shortened);
}

/** Every point of the plots. */
export function curvesCsv(charts: readonly Chart[]): string {
  const rows = charts.flatMap(({ title, data }) =>
    namedLines(data).flatMap((line) =>
      line.values.flatMap((value, at): Cell[][] =>
        value === undefined ? [] : [[title, line.label, data.x[at] ?? NaN, value]],
      ),
    ),
  );
  return csv(["plot", "line", "epoch", "value"], rows);
}

function namedLines({ lines }: PlotData): PlotData["lines"] {
  return lines.filter(({ silent }) => !silent);
}

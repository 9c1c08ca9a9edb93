import type { EpochColumns } from "../data/epochs";
import { shareOf } from "../data/epochs";
import type { Onset } from "../data/runs";
import { onsetText } from "../data/runs";
import type { ColourScale } from "../scale/colour";
import { epochAxis } from "./axis";
import { HATCH, LABELS, WIDTH, axisShapes, legend, picture } from "./figureParts";
import { matrixCells } from "./heatmap";
import type { Figure, Shape } from "./svg";
import { INK, group, line, shape, text } from "./svg";

/** One heatmap of a figure: rows over epochs. */
export interface HeatPanel {
  readonly title: string;
  readonly labels: readonly string[];
  readonly rows: readonly Float64Array[];
  readonly columns: EpochColumns;
  readonly onset: Onset | null;
  readonly scaleOf: (row: number) => ColourScale;
}

/** Heatmaps below each other. `scale` is null if each row has its own. */
export function heatFigure(
  title: string,
  panels: readonly HeatPanel[],
  scale: ColourScale | null,
  scaleTitle: string,
  rowHeight = 16,
): Figure {
  const body: Shape[] = [];
  let y = 24;
  for (const panel of panels) {
    const height = panel.rows.length * rowHeight;
    body.push(group(LABELS, y, ...heatPanel(panel, height)));
    y += height + 62;
  }
  body.push(group(LABELS, y, legend(scale, scaleTitle)));
  return { title, width: LABELS + WIDTH + 30, height: y + 36, body };
}

function heatPanel(panel: HeatPanel, height: number): Shape[] {
  const { labels, rows, columns, onset } = panel;
  const each = height / Math.max(1, rows.length);
  const found = [
    text(0, -14, panel.title, { weight: 600 }),
    shape("rect", { width: WIDTH, height, fill: HATCH }),
    picture(matrixCells(rows, columns, panel.scaleOf), WIDTH, height),
    ...labels.map((label, row) => text(-8, (row + 0.5) * each + 4, label, { anchor: "end" })),
    group(0, height, axisShapes(epochAxis(columns.range), WIDTH)),
  ];
  if (onset !== null && onset.epoch >= columns.range[0] && onset.epoch <= columns.range[1]) {
    const x = shareOf(columns.range, onset.epoch) * WIDTH;
    found.push(
      line([x, -3, x, height], "#ffffff", 3),
      line([x, -3, x, height], INK, 1.5, [4, 3]),
      text(x, -5, onsetText(onset), { anchor: "middle" }),
    );
  }
  return found;
}

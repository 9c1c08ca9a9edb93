import type { EpochColumns, Range } from "../data/epochs";
import { shareOf } from "../data/epochs";
import { epochText, formatRound } from "../data/formatting";
import type { ColourScale } from "../scale/colour";
import { share } from "../scale/colour";
import { logTicks, ticks, wholeTicks } from "../scale/ticks";
import type { Cells } from "./heatmap";
import { legendCells, matrixCells, paintCells } from "./heatmap";
import type { Figure, Shape } from "./svg";
import { FAINT, INK, RULE, group, line, shape, text } from "./svg";

/** A picture in a figure: a pixel a cell, enlarged without smoothing. */
export function picture(cells: Cells, width: number, height: number): Shape {
  const canvas = document.createElement("canvas");
  paintCells(canvas, cells);
  return shape("image", {
    width,
    height,
    href: canvas.toDataURL("image/png"),
    preserveAspectRatio: "none",
    style: "image-rendering:pixelated",
  });
}

/** Epochs below a plot of this width, whose lower left corner is at 0, 0. */
export function epochAxis(range: Range, width: number): Shape {
  const found = wholeTicks(range[0], range[1], Math.max(2, Math.floor(width / 70)));
  return group(
    0,
    0,
    ...found.flatMap((epoch) => {
      const x = shareOf(range, epoch) * width;
      return [
        line([x, 0, x, 4], FAINT),
        text(x, 15, epochText(epoch), { anchor: "middle", fill: FAINT }),
      ];
    }),
    text(width / 2, 29, "epoch", { anchor: "middle", fill: FAINT }),
  );
}

/** The colour bar with its title and unit, 14 high, about 260 wide. */
export function legend(scale: ColourScale | null, title: string): Shape {
  if (!scale)
    return text(0, 10, `${title}: each row from its lowest to its highest`, { fill: FAINT });
  const width = 180;
  const found = scale.logarithmic ? logTicks(scale.lo, scale.hi) : ticks(scale.lo, scale.hi, 4);
  return group(
    0,
    0,
    text(0, -6, title),
    picture(legendCells(scale), width, 10),
    ...found.map((value) =>
      text(share(scale, value) * width, 22, formatRound(value), { anchor: "middle", fill: FAINT }),
    ),
    shape("rect", { x: width + 24, y: 0, width: 14, height: 10, fill: HATCH, stroke: FAINT }),
    text(width + 44, 9, "not measured", { fill: FAINT }),
  );
}

const HATCH = "#dddddd";

/** One heatmap of a figure: rows over epochs. */
export interface HeatPanel {
  readonly title: string;
  readonly labels: readonly string[];
  readonly rows: readonly Float64Array[];
  readonly columns: EpochColumns;
  readonly onset: number | null;
  readonly scaleOf: (row: number) => ColourScale;
}

const LABELS = 150;
const WIDTH = 640;

/** Heatmaps below each other, on one scale. */
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
    group(0, height, epochAxis(columns.range, WIDTH)),
  ];
  if (onset !== null && onset >= columns.range[0] && onset <= columns.range[1]) {
    const x = shareOf(columns.range, onset) * WIDTH;
    found.push(
      line([x, -3, x, height], "#ffffff", 3),
      line([x, -3, x, height], INK, 1.5, [4, 3]),
      text(x, -5, `onset ${epochText(onset)}`, { anchor: "middle" }),
    );
  }
  return found;
}

/** One line of a chart. */
export interface ChartLine {
  readonly label: string;
  readonly epochs: readonly number[];
  readonly values: readonly (number | null | undefined)[];
  readonly stroke: string;
  readonly width: number;
  readonly dash: readonly number[];
}

export interface Chart {
  readonly title: string;
  readonly lines: readonly ChartLine[];
  readonly marks: readonly { epoch: number; dash: readonly number[]; label: string }[];
  readonly range: Range;
  readonly logarithmic: boolean;
  readonly height: number;
}

const KEY = 230;
const LEFT = 60;

/** Charts below each other, each with its key on the right. */
export function chartFigure(title: string, charts: readonly Chart[]): Figure {
  const body: Shape[] = [];
  let y = 34;
  for (const chart of charts) {
    body.push(group(LEFT, y, ...chartShapes(chart)));
    y += Math.max(chart.height, 16 * chart.lines.length) + 74;
  }
  return { title, width: LEFT + WIDTH + KEY, height: y - 30, body };
}

function chartShapes(chart: Chart): Shape[] {
  const { lines, range, height, logarithmic } = chart;
  const [lo, hi] = limits(lines, range, logarithmic);
  const at = logarithmic ? Math.log : (value: number) => value;
  const y = (value: number): number => height * (1 - (at(value) - at(lo)) / (at(hi) - at(lo)));
  const x = (epoch: number): number => WIDTH * shareOf(range, epoch);
  const found = logarithmic ? logTicks(lo, hi) : ticks(lo, hi, 6);
  return [
    text(0, -20, chart.title, { weight: 600 }),
    ...found.flatMap((value) => [
      line([0, y(value), WIDTH, y(value)], RULE),
      text(-6, y(value) + 4, formatRound(value), { anchor: "end", fill: FAINT }),
    ]),
    ...lines.map((one) => path(one, range, x, y)),
    ...chart.marks.flatMap(({ epoch, dash, label }) => [
      line([x(epoch), 0, x(epoch), height], INK, 1.25, dash),
      text(x(epoch), -5, label, { anchor: "middle" }),
    ]),
    line([0, 0, 0, height], FAINT),
    line([0, height, WIDTH, height], FAINT),
    group(0, height, epochAxis(range, WIDTH)),
    ...lines.flatMap((one, index) => [
      line([WIDTH + 16, 16 * index + 6, WIDTH + 44, 16 * index + 6], one.stroke, 2, one.dash),
      text(WIDTH + 50, 16 * index + 10, one.label),
    ]),
  ];
}

function limits(
  lines: readonly ChartLine[],
  range: Range,
  logarithmic: boolean,
): readonly [number, number] {
  let [lo, hi] = [Infinity, -Infinity];
  for (const { epochs, values } of lines) {
    values.forEach((value, index) => {
      const epoch = epochs[index] ?? NaN;
      if (value === null || value === undefined || epoch < range[0] || epoch > range[1]) return;
      lo = Math.min(lo, value);
      hi = Math.max(hi, value);
    });
  }
  if (!(lo <= hi)) return [0, 1];
  const pad = (hi - lo) * 0.05 || Math.abs(hi) * 0.05 || 1;
  return logarithmic ? [lo / 1.1, hi * 1.1] : [lo - pad, hi + pad];
}

function path(
  one: ChartLine,
  range: Range,
  x: (epoch: number) => number,
  y: (value: number) => number,
): Shape {
  let pen = "M";
  const parts: string[] = [];
  one.values.forEach((value, index) => {
    const epoch = one.epochs[index] ?? NaN;
    if (value === undefined || !(epoch >= range[0] && epoch <= range[1])) return;
    if (value === null) {
      pen = "M";
      return;
    }
    parts.push(`${pen}${x(epoch).toFixed(1)},${y(value).toFixed(1)}`);
    pen = "L";
  });
  const attributes = {
    d: parts.join(""),
    fill: "none",
    stroke: one.stroke,
    "stroke-width": one.width,
  };
  return shape(
    "path",
    one.dash.length ? { ...attributes, "stroke-dasharray": one.dash.join(" ") } : attributes,
  );
}

/** Tiles of a figure of maps: a row a layer and run. */
export interface TileRow {
  readonly label: string;
  readonly tiles: readonly (Cells | null)[];
  readonly height: number;
}

/** What a figure of maps says beside its tiles. */
export interface TileNotes {
  readonly title: string;
  readonly scaleTitle: string;
  readonly onsets: readonly number[];
  /** The probe's picture as a data address, or null. */
  readonly input: string | null;
}

/** Layers by epochs, a picture a map; the probe beside the legend. */
export function tileFigure(
  notes: TileNotes,
  epochs: readonly number[],
  rows: readonly TileRow[],
  side: number,
  scale: ColourScale | null,
): Figure {
  const pitch = side + 3;
  const onsets = epochs.filter((epoch) => notes.onsets.includes(epoch));
  const body: Shape[] = epochs.map((epoch, at) =>
    text(LABELS + at * pitch + side / 2, 10, epochText(epoch), {
      anchor: "middle",
      ...(onsets.includes(epoch) ? { weight: 700 } : { fill: FAINT }),
    }),
  );
  const heading = onsets.length ? "epoch (bold: onset)" : "epoch";
  body.push(text(LABELS - 8, 10, heading, { anchor: "end", fill: FAINT }));
  let y = 18;
  for (const { label, tiles, height } of rows) {
    body.push(text(LABELS - 8, y + height / 2 + 4, label, { anchor: "end" }));
    tiles.forEach((cells, at) => {
      const whole = cells
        ? picture(cells, side, height)
        : shape("rect", { width: side, height, fill: HATCH });
      body.push(group(LABELS + at * pitch, y, whole));
    });
    y += height + 4;
  }
  body.push(group(LABELS, y + 26, legend(scale, notes.scaleTitle)));
  if (notes.input !== null) {
    const style = "image-rendering:pixelated";
    body.push(
      text(LABELS - 18 - side, y + 36, "input", { anchor: "end", fill: FAINT }),
      shape("image", {
        ...{ x: LABELS - 8 - side, y: y + 10, width: side, height: side },
        ...{ href: notes.input, style },
      }),
    );
  }
  const width = Math.max(480, LABELS + epochs.length * pitch + 20);
  return { title: notes.title, width, height: y + 64, body };
}

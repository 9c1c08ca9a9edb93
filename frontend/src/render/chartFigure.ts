import { formatRound } from "../data/formatting";
import { logTicks, ticks } from "../scale/ticks";
import type { Axis } from "./axis";
import { axisShare } from "./axis";
import { WIDTH, axisShapes } from "./figureParts";
import type { Line, PlotData } from "./plotData";
import type { Figure, Shape } from "./svg";
import { FAINT, INK, RULE, group, line, shape, text } from "./svg";

/** A plot in a figure. */
export interface Chart {
  readonly title: string;
  readonly data: PlotData;
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
    y += Math.max(chart.height, 16 * chart.data.lines.length) + 74;
  }
  return { title, width: LEFT + WIDTH + KEY, height: y - 30, body };
}

function chartShapes({ title, data, height }: Chart): Shape[] {
  const { axis, lines, logarithmic } = data;
  const [lo, hi] = limits(data);
  const at = logarithmic ? Math.log : (value: number) => value;
  const y = (value: number): number => height * (1 - (at(value) - at(lo)) / (at(hi) - at(lo)));
  const x = (value: number): number => WIDTH * axisShare(axis, value);
  const found = logarithmic ? logTicks(lo, hi) : ticks(lo, hi, 6);
  return [
    text(0, -20, title, { weight: 600 }),
    ...found.flatMap((value) => [
      line([0, y(value), WIDTH, y(value)], RULE),
      text(-6, y(value) + 4, formatRound(value), { anchor: "end", fill: FAINT }),
    ]),
    ...lines.map((one) => path(data, one, x, y)),
    ...data.marks.flatMap(({ x: value, dash, label }) => [
      line([x(value), 0, x(value), height], INK, 1.25, dash),
      text(x(value), -5, label, { anchor: "middle" }),
    ]),
    line([0, 0, 0, height], FAINT),
    line([0, height, WIDTH, height], FAINT),
    group(0, height, axisShapes(axis, WIDTH)),
    ...lines.flatMap((one, index) => [
      line([WIDTH + 16, 16 * index + 6, WIDTH + 44, 16 * index + 6], one.stroke, 2, one.dash),
      text(WIDTH + 50, 16 * index + 10, one.label),
    ]),
  ];
}

/** The ends of the values in view. */
function limits({ axis, x, lines, logarithmic }: PlotData): readonly [number, number] {
  let [lo, hi] = [Infinity, -Infinity];
  for (const { values } of lines) {
    values.forEach((value, index) => {
      if (value === null || value === undefined || !inView(axis, x[index])) return;
      lo = Math.min(lo, value);
      hi = Math.max(hi, value);
    });
  }
  if (!(lo <= hi)) return [0, 1];
  const pad = (hi - lo) * 0.05 || Math.abs(hi) * 0.05 || 1;
  return logarithmic ? [lo / 1.1, hi * 1.1] : [lo - pad, hi + pad];
}

function inView({ range }: Axis, x = NaN): boolean {
  return x >= range[0] && x <= range[1];
}

function path(
  data: PlotData,
  one: Line,
  x: (value: number) => number,
  y: (value: number) => number,
): Shape {
  let pen = "M";
  const parts: string[] = [];
  one.values.forEach((value, index) => {
    const at = data.x[index] ?? NaN;
    if (value === undefined || !inView(data.axis, at)) return;
    if (value === null) {
      pen = "M";
      return;
    }
    parts.push(`${pen}${x(at).toFixed(1)},${y(value).toFixed(1)}`);
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

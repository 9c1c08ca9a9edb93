import { formatRound, shorten } from "../data/formatting";
import { logTicks, ticks } from "../scale/ticks";
import { axisShare } from "./axis";
import { WIDTH, axisShapes } from "./figureParts";
import type { Line, PlotData } from "./plotData";
import { valueEnds } from "./plotData";
import type { Figure, Shape } from "./svg";
import { FAINT, INK, RULE, group, line, shape, text } from "./svg";

/** A plot in a figure. */
export interface Chart {
  readonly title: string;
  readonly data: PlotData;
  readonly height: number;
  /** Whether two of its kind stand beside each other. */
  readonly small?: boolean;
}

const LEFT = 60;
const GAP = 70; // between two small plots
const BELOW = 74; // room for an axis and the next title
const LETTER = 6.4; // width of a letter, at most on average
const KEY_LINE = 16;
const NAME = 48; // letters of a name in the key

/** Charts below each other, small ones in pairs, and one key for all of them on the right. */
export function chartFigure(title: string, charts: readonly Chart[]): Figure {
  const body: Shape[] = [];
  let y = 34;
  for (const row of rowsOf(charts)) {
    row.forEach((chart, at) => {
      const width = chart.small ? (WIDTH - GAP) / 2 : WIDTH;
      body.push(group(LEFT + at * (width + GAP), y, ...chartShapes(chart, width)));
    });
    y += Math.max(...row.map(({ height }) => height)) + BELOW;
  }
  const key = keyOf(charts);
  body.push(group(LEFT + WIDTH + 16, 34, ...key.map(({ shapes }) => shapes).flat()));
  const letters = Math.max(0, ...key.map(({ name }) => [...name].length));
  const width = LEFT + WIDTH + 16 + 34 + letters * LETTER + 16;
  return { title, width, height: Math.max(y - 30, 34 + KEY_LINE * key.length), body };
}

function rowsOf(charts: readonly Chart[]): Chart[][] {
  const rows: Chart[][] = [];
  for (const chart of charts) {
    const last = rows[rows.length - 1];
    if (chart.small && last?.length === 1 && last[0]?.small) last.push(chart);
    else rows.push([chart]);
  }
  return rows;
}

/** What each colour and dash stands for, once; a smoothed line stands for its raw one, too. */
function keyOf(charts: readonly Chart[]): { name: string; shapes: Shape[] }[] {
  const lines = charts.flatMap(({ data }) => data.lines.filter(({ silent }) => !silent));
  const known = new Map<string, Line>();
  for (const one of lines) {
    const before = known.get(one.key);
    if (!before || one.width > before.width) known.set(one.key, one);
  }
  return [...known.values()].map(({ key, stroke, dash }, at) => {
    const name = shorten(key, NAME);
    const y = KEY_LINE * at;
    return { name, shapes: [line([0, y + 6, 28, y + 6], stroke, 2, dash), text(34, y + 10, name)] };
  });
}

function chartShapes({ title, data, height, small }: Chart, width: number): Shape[] {
  const { axis, lines, bands, logarithmic } = data;
  const [lo, hi] = valueEnds(data);
  const at = logarithmic ? Math.log : (value: number) => value;
  const y = (value: number): number => height * (1 - (at(value) - at(lo)) / (at(hi) - at(lo)));
  const x = (value: number): number => width * axisShare(axis, value);
  const found = logarithmic ? logTicks(lo, hi) : ticks(lo, hi, small ? 4 : 6);
  return [
    text(0, -20, shorten(title, small ? 44 : 90), { weight: 600 }),
    ...found.flatMap((value) => [
      line([0, y(value), width, y(value)], RULE),
      text(-6, y(value) + 4, formatRound(value), { anchor: "end", fill: FAINT }),
    ]),
    upright(-42, height / 2, data.valueTitle),
    ...bands.map(({ of: [upper, lower], fill }) =>
      area(data, [lines[upper], lines[lower]], fill, x, y),
    ),
    ...lines.filter(({ silent }) => !silent).map((one) => path(data, one, x, y)),
    ...data.marks
      .filter((mark) => inView(data, mark.x))
      .flatMap(({ x: value, dash, label }) => [
        line([x(value), 0, x(value), height], INK, 1.25, dash),
        text(x(value), -5, small ? "" : label, { anchor: "middle" }),
      ]),
    line([0, 0, 0, height], FAINT),
    line([0, height, width, height], FAINT),
    group(0, height, axisShapes(axis, width)),
  ];
}

/** Text that is read from below, centred at x, y. */
function upright(x: number, y: number, content: string): Shape {
  const turned = `translate(${x},${y}) rotate(-90)`;
  const attributes = { transform: turned, fill: FAINT, "font-size": 11, "text-anchor": "middle" };
  return shape("text", attributes, content);
}

function inView({ axis: { range } }: PlotData, x = NaN): boolean {
  return x >= range[0] && x <= range[1];
}

type Place = (value: number) => number;

/** The points of a line that are in view, in stretches without a gap. */
function stretches(data: PlotData, one: Line | undefined, x: Place, y: Place): string[][] {
  const found: string[][] = [[]];
  one?.values.forEach((value, index) => {
    const at = data.x[index] ?? NaN;
    if (value === undefined || !inView(data, at)) return;
    if (value === null) found.push([]);
    else found[found.length - 1]?.push(`${x(at).toFixed(1)},${y(value).toFixed(1)}`);
  });
  return found.filter((points) => points.length);
}

function path(data: PlotData, one: Line, x: Place, y: Place): Shape {
  const attributes = {
    d: stretches(data, one, x, y)
      .map((points) => `M${points.join("L")}`)
      .join(""),
    fill: "none",
    stroke: one.stroke,
    "stroke-width": one.width,
  };
  return shape(
    "path",
    one.dash.length ? { ...attributes, "stroke-dasharray": one.dash.join(" ") } : attributes,
  );
}

function area(
  data: PlotData,
  [upper, lower]: readonly (Line | undefined)[],
  fill: string,
  x: Place,
  y: Place,
): Shape {
  const above = stretches(data, upper, x, y).flat();
  const below = stretches(data, lower, x, y).flat().reverse();
  return shape("path", { d: `M${[...above, ...below].join("L")}Z`, fill, stroke: "none" });
}

import type uPlot from "uplot";
import { formatRound } from "../data/formatting";
import type { Axis } from "../render/axis";
import { axisEnds } from "../render/axis";
import type { Line, Mark, PlotData } from "../render/plotData";
import { valueEnds } from "../render/plotData";

/** What a plot does when it is ready and when the pointer moves. */
export type PlotHooks = Pick<uPlot.Hooks.Arrays, "setCursor" | "setSelect" | "ready">;

/** A plot as uPlot wants it described. */
export function plotOptions(
  data: PlotData,
  [width, height]: readonly [number, number],
  hooks: PlotHooks,
): uPlot.Options {
  const ink = data.dark ? "#b8bcc2" : "#5f6368";
  const rule = data.dark ? "#33363b" : "#e8eaed";
  const axis: uPlot.Axis = {
    stroke: ink,
    font: "11px Roboto, system-ui, sans-serif",
    grid: { stroke: rule, width: 1 },
    ticks: { stroke: rule, width: 1, size: 4 },
  };
  return {
    width,
    height,
    padding: [20, 12, null, null],
    legend: { show: false },
    scales: {
      x: { time: false, range: axisEnds(data.axis), ...spacing(data.axis.logarithmic) },
      y: yScale(data),
    },
    axes: [
      {
        ...axis,
        size: 26,
        ...titled(data.axis.title),
        values: (_, found) => found.map((x) => tickText(x, data.axis.tickText)),
        ...ownTicks(data.axis, width),
      },
      {
        ...axis,
        size: 52,
        ...titled(data.valueTitle),
        values: (_, found) => found.map((y) => tickText(y, formatRound)),
      },
    ],
    cursor: { drag: { x: true, y: false, setScale: false }, points: { size: 6 }, y: false },
    series: [{}, ...data.lines.map(seriesOf)],
    bands: data.bands.map(({ of: [upper, lower], fill }) => ({
      series: [upper + 1, lower + 1] as [number, number],
      fill,
    })),
    hooks: {
      ...hooks,
      draw: [
        (chart) => {
          drawMarks(chart, width < 400 ? withoutNames(data.marks) : data.marks);
        },
      ],
    },
  };
}

function titled(label: string): uPlot.Axis {
  return { label, labelSize: 16, labelGap: 0, labelFont: "11px Roboto, system-ui, sans-serif" };
}

// uPlot names its scales in a const enum, which a module cannot import.
// eslint-disable-next-line @typescript-eslint/no-unsafe-enum-assignment -- for that reason
const LOGARITHMIC: uPlot.Scale.Distr = 3;

function spacing(logarithmic: boolean): uPlot.Scale {
  return logarithmic ? { distr: LOGARITHMIC } : {};
}

function yScale(data: PlotData): uPlot.Scale {
  const [lo, hi] = valueEnds(data);
  return { range: [lo, hi], ...spacing(data.logarithmic) };
}

// On a logarithmic axis, uPlot by itself gives texts to powers of ten only.
function ownTicks(axis: Axis, width: number): Pick<uPlot.Axis, "splits" | "filter"> {
  if (!axis.logarithmic) return {};
  return { splits: () => axis.ticks(Math.floor(width / 70)), filter: (_, found) => found };
}

// On a logarithmic axis, uPlot hands over null for ticks that are to have no text.
function tickText(value: number | null, textOf: (value: number) => string): string {
  return value === null ? "" : textOf(value);
}

function seriesOf(line: Line): uPlot.Series {
  return {
    label: line.label,
    stroke: line.stroke,
    width: line.width,
    dash: [...line.dash],
    spanGaps: false,
    points: { show: line.values.filter((value) => value !== undefined).length < 3, size: 4 },
  };
}

function drawMarks(chart: uPlot, marks: readonly Mark[]): void {
  const { ctx, bbox } = chart;
  const ratio = window.devicePixelRatio;
  const end = bbox.left + bbox.width;
  let taken = -Infinity; // where the last label above the plot ends
  ctx.save();
  ctx.font = `${11 * ratio}px Roboto, system-ui, sans-serif`;
  for (const { x: value, stroke, dash, label } of sorted(marks)) {
    const x = chart.valToPos(value, "x", true);
    if (x < bbox.left || x > end) continue;
    ctx.strokeStyle = ctx.fillStyle = stroke;
    ctx.lineWidth = 1.5 * ratio;
    ctx.setLineDash(dash.map((length) => length * ratio));
    ctx.beginPath();
    ctx.moveTo(x, bbox.top - 2 * ratio);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
    const wide = ctx.measureText(label).width;
    const left = Math.min(x - 4 * ratio, end - wide);
    if (left < taken) continue; // the line's dash still tells whose it is
    ctx.fillText(label, left, bbox.top - 6 * ratio);
    taken = left + wide + 8 * ratio;
  }
  ctx.restore();
}

/** In a small plot, "onset 14" has to do; the dash tells whose. */
function withoutNames(marks: readonly Mark[]): Mark[] {
  return marks.map((mark) => ({ ...mark, label: mark.label.replace(/,.*/, "") }));
}

function sorted(marks: readonly Mark[]): Mark[] {
  return [...marks].sort((a, b) => a.x - b.x);
}

import { effect } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import type { Range } from "../data/epochs";
import { epochText, format, formatRound } from "../data/formatting";
import { useAppState } from "../state/state";
import { useWidth } from "./elementObservers";
import { hideTip, showTip } from "./Tooltip";

/** One line of a plot. `undefined` is no record at that epoch, `null` a record without a value. */
export interface Line {
  readonly label: string;
  readonly values: readonly (number | null | undefined)[];
  readonly stroke: string;
  readonly width: number;
  readonly dash: readonly number[];
  /** Pointing at it tells nothing: the edge of a band. */
  readonly silent?: boolean;
  readonly onClick?: () => void;
}

/** A vertical line across a plot. */
export interface Mark {
  readonly epoch: number;
  readonly stroke: string;
  readonly dash: readonly number[];
  readonly label: string;
}

export interface PlotData {
  readonly epochs: readonly number[];
  readonly lines: readonly Line[];
  /** Pairs of lines, upper and lower, with a fill between them. */
  readonly bands: readonly { readonly of: readonly [number, number]; readonly fill: string }[];
  readonly marks: readonly Mark[];
  readonly range: Range;
  readonly logarithmic: boolean;
  /** The range of the values, or null to fit them. */
  readonly values: Range | null;
  readonly dark: boolean;
}

/** Lines over epochs, with the page's cursor; drag to zoom, double click for all. */
export function Plot(props: {
  readonly data: PlotData;
  readonly label: string;
  readonly height: number;
}) {
  const state = useAppState();
  const [frame, width] = useWidth<HTMLDivElement>();
  const chart = useRef<uPlot | null>(null);
  const { data, height } = props;
  useEffect(() => {
    if (!frame.current || width < 50) return;
    const made = new uPlot(
      options(data, [width, height], {
        onZoom: (range) => (state.fields.zoom.cell.value = range),
        onPick: (epoch, line) => {
          state.moveTo(epoch);
          if (line !== null) data.lines[line]?.onClick?.();
        },
      }),
      [data.epochs as number[], ...data.lines.map((line) => line.values as number[])],
      frame.current,
    );
    chart.current = made;
    const line = document.createElement("i");
    line.className = "cursor-line";
    made.over.append(line);
    // uPlot lays itself out after this turn of the event loop: positions are known from then on.
    let stop = (): void => undefined;
    queueMicrotask(() => {
      stop = effect(() => {
        const left = made.valToPos(state.cursor.value, "x");
        line.style.left = `${left}px`;
        line.hidden = left < 0 || left > made.over.clientWidth;
      });
    });
    return () => {
      stop();
      made.destroy();
      hideTip(made);
    };
  }, [data, width, height, frame, state]);
  return (
    <div
      class="plot-frame"
      ref={frame}
      style={{ minHeight: `${height}px` }}
      role="img"
      aria-label={props.label}
    />
  );
}

interface Reactions {
  readonly onZoom: (range: Range | null) => void;
  readonly onPick: (epoch: number, line: number | null) => void;
}

function options(
  data: PlotData,
  [width, height]: readonly [number, number],
  react: Reactions,
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
      x: { time: false, range: [data.range[0] - 0.5, data.range[1] + 0.5] },
      y: yScale(data),
    },
    axes: [
      { ...axis, size: 26, values: (_, found) => found.map((v) => (v % 1 ? "" : epochText(v))) },
      { ...axis, size: 52, values: (_, found) => found.map(tick) },
    ],
    cursor: { drag: { x: true, y: false, setScale: false }, points: { size: 6 }, y: false },
    series: [{}, ...data.lines.map(seriesOf)],
    bands: data.bands.map(({ of: [upper, lower], fill }) => ({
      series: [upper + 1, lower + 1] as [number, number],
      fill,
    })),
    hooks: {
      draw: [
        (chart) => {
          drawMarks(chart, data.marks);
        },
      ],
      setCursor: [
        (chart) => {
          showNearest(chart, data);
        },
      ],
      setSelect: [
        (chart) => {
          zoom(chart, react.onZoom);
        },
      ],
      ready: [
        (chart) => {
          listen(chart, data, react);
        },
      ],
    },
  };
}

// uPlot names its scales in a const enum, which a module cannot import.
// eslint-disable-next-line @typescript-eslint/no-unsafe-enum-assignment -- for that reason
const LOGARITHMIC: uPlot.Scale.Distr = 3;

function yScale(data: PlotData): uPlot.Scale {
  if (data.logarithmic) return { distr: LOGARITHMIC };
  if (!data.values) return {};
  return { range: [data.values[0], data.values[1]] };
}

// On a logarithmic axis uPlot leaves values out by handing over null.
function tick(value: number | null): string {
  if (value === null) return "";
  return formatRound(value);
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
  for (const { epoch, stroke, dash, label } of sorted(marks)) {
    const x = chart.valToPos(epoch, "x", true);
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

function sorted(marks: readonly Mark[]): Mark[] {
  return [...marks].sort((a, b) => a.epoch - b.epoch);
}

/** The line nearest to the pointer, or null. */
function nearestLine(chart: uPlot, data: PlotData): number | null {
  const { idx, top } = chart.cursor;
  if (idx === null || idx === undefined || top === undefined || top < 0) return null;
  let best: number | null = null;
  let distance = 24;
  for (let line = 1; line < chart.data.length; line++) {
    const value = chart.data[line]?.[idx];
    if (value === null || value === undefined || data.lines[line - 1]?.silent) continue;
    const off = Math.abs(chart.valToPos(value, "y") - top);
    if (off < distance) [best, distance] = [line - 1, off];
  }
  return best;
}

function showNearest(chart: uPlot, data: PlotData): void {
  const { idx, left = -1, top = -1 } = chart.cursor;
  const line = nearestLine(chart, data);
  const known = line === null ? undefined : data.lines[line];
  if (left < 0 || idx === null || idx === undefined || !known) {
    hideTip(chart);
    return;
  }
  const box = chart.over.getBoundingClientRect();
  const at = { clientX: box.left + left, clientY: box.top + top };
  const lines = [
    `epoch ${epochText(data.epochs[idx] ?? 0)}: ${format(known.values[idx] ?? NaN)}`,
    known.label,
  ];
  showTip(at, lines, chart);
}

function zoom(chart: uPlot, onZoom: Reactions["onZoom"]): void {
  const { left, width } = chart.select;
  if (width < 4) return;
  const lo = Math.round(chart.posToVal(left, "x"));
  const hi = Math.round(chart.posToVal(left + width, "x"));
  chart.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
  if (hi > lo) onZoom([lo, hi]);
}

function listen(chart: uPlot, data: PlotData, react: Reactions): void {
  let moved = 0;
  chart.over.addEventListener("mousedown", (event) => (moved = event.clientX));
  chart.over.addEventListener("click", (event) => {
    const { idx } = chart.cursor;
    if (Math.abs(event.clientX - moved) > 3 || idx === null || idx === undefined) return;
    react.onPick(data.epochs[idx] ?? 0, nearestLine(chart, data));
  });
  chart.over.addEventListener("dblclick", () => {
    react.onZoom(null);
  });
  chart.over.addEventListener("mouseleave", () => {
    hideTip(chart);
  });
}

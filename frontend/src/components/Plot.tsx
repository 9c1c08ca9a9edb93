import type { ReadonlySignal } from "@preact/signals";
import { effect } from "@preact/signals";
import { useEffect } from "preact/hooks";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import type { Range } from "../data/epochs";
import type { PlotData } from "../render/plotData";
import { linesTip } from "../render/plotData";
import { useWidth } from "./elementObservers";
import "./plot.css";
import { plotOptions } from "./plotOptions";
import { hideTip, showTip } from "./Tooltip";

/** What a plot is tied to. */
export interface PlotLinks {
  /** The x of a line across the plot. */
  readonly cursor?: ReadonlySignal<number>;
  /** Called with the part of the axis that was dragged over, or with null for all of it. */
  readonly onZoom?: (range: Range | null) => void;
  /** Called with the x that was clicked. */
  readonly onPick?: (x: number) => void;
}

/** Lines over any axis. Its `links` must stay the same object. */
export function Plot(props: {
  readonly data: PlotData;
  readonly label: string;
  readonly height: number;
  readonly links: PlotLinks;
}) {
  const [frame, width] = useWidth<HTMLDivElement>();
  const { data, height, links } = props;
  useEffect(() => {
    if (!frame.current || width < 50) return;
    const chart = new uPlot(
      plotOptions(data, [width, height], hooksOf(data, links)),
      [data.x as number[], ...data.lines.map((line) => line.values as number[])],
      frame.current,
    );
    const stop = links.cursor ? drawCursor(chart, links.cursor) : (): void => undefined;
    return () => {
      stop();
      chart.destroy();
      hideTip(chart);
    };
  }, [data, width, height, frame, links]);
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

/** A line across the plot that follows the cursor until it is stopped. */
function drawCursor(chart: uPlot, cursor: ReadonlySignal<number>): () => void {
  const line = document.createElement("i");
  line.className = "cursor-line";
  chart.over.append(line);
  // uPlot lays itself out after this turn of the event loop. Positions are known from then on.
  let stop = (): void => undefined;
  queueMicrotask(() => {
    stop = effect(() => {
      const left = chart.valToPos(cursor.value, "x");
      line.style.left = `${left}px`;
      line.hidden = left < 0 || left > chart.over.clientWidth;
    });
  });
  return () => {
    stop();
  };
}

function hooksOf(data: PlotData, links: PlotLinks) {
  return {
    setCursor: [
      (chart: uPlot) => {
        showAt(chart, data);
      },
    ],
    setSelect: [
      (chart: uPlot) => {
        zoom(chart, links);
      },
    ],
    ready: [
      (chart: uPlot) => {
        listen(chart, data, links);
      },
    ],
  };
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

/** Answers anywhere in the plot: with the epoch's own tip, or with the value of each line. */
function showAt(chart: uPlot, data: PlotData): void {
  const { idx, left = -1, top = -1 } = chart.cursor;
  if (left < 0 || top < 0 || idx === null || idx === undefined) {
    hideTip(chart);
    return;
  }
  const box = chart.over.getBoundingClientRect();
  const at = { clientX: box.left + left, clientY: box.top + top };
  const near = nearestLine(chart, data);
  showTip(at, data.tip?.(data.x[idx] ?? NaN, near) ?? linesTip(data, idx, near), chart);
}

function zoom(chart: uPlot, { onZoom }: PlotLinks): void {
  const { left, width } = chart.select;
  if (width < 4) return;
  const range = [chart.posToVal(left, "x"), chart.posToVal(left + width, "x")] as const;
  chart.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
  onZoom?.(range);
}

function listen(chart: uPlot, data: PlotData, { onZoom, onPick }: PlotLinks): void {
  let moved = 0;
  chart.over.addEventListener("mousedown", (event) => (moved = event.clientX));
  chart.over.addEventListener("click", (event) => {
    const { idx } = chart.cursor;
    if (Math.abs(event.clientX - moved) > 3 || idx === null || idx === undefined) return;
    onPick?.(data.x[idx] ?? NaN);
    const line = nearestLine(chart, data);
    if (line !== null) data.lines[line]?.onClick?.();
  });
  chart.over.addEventListener("dblclick", () => {
    onZoom?.(null);
  });
  chart.over.addEventListener("mouseleave", () => {
    hideTip(chart);
  });
}

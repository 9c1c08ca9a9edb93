import { useCallback } from "preact/hooks";
import { formatRound } from "../data/formatting";
import { legendCells, paintCells } from "../render/heatmap";
import type { ColourScale } from "../scale/colour";
import { canvasClass, share } from "../scale/colour";
import { logTicks, ticks } from "../scale/ticks";
import { Canvas } from "./Canvas";
import "./legend.css";

/** The colour bar, drawn from the scale that colours the picture. */
export function Legend(props: {
  readonly scale: ColourScale | null;
  readonly title: string;
  readonly low?: string;
  readonly high?: string;
  readonly each?: string;
}) {
  const { scale, title } = props;
  return (
    <figure class="legend" aria-label={`Colour scale: ${title}`}>
      <figcaption>{title}</figcaption>
      {scale ? <Bar scale={scale} /> : <span class="muted">{props.each}</span>}
      {props.low !== undefined && (
        <span class="muted ends">
          {props.low} – {props.high}
        </span>
      )}
      <span class="none">
        <i class="hatched" aria-hidden="true" /> not measured
      </span>
    </figure>
  );
}

function Bar({ scale }: { readonly scale: ColourScale }) {
  const paint = useCallback(
    (canvas: HTMLCanvasElement) => {
      paintCells(canvas, legendCells(scale));
    },
    [scale],
  );
  const found = scale.logarithmic ? logTicks(scale.lo, scale.hi) : ticks(scale.lo, scale.hi, 4);
  return (
    <span class="bar">
      <Canvas paint={paint} class={canvasClass(scale)} />
      {found.map((tick) => (
        <span key={tick} style={{ left: `${(100 * share(scale, tick)).toFixed(2)}%` }}>
          {formatRound(tick)}
        </span>
      ))}
    </span>
  );
}

import { formatRound } from "../data/formatting";
import type { ColourScale } from "../scale/colour";
import { share } from "../scale/colour";
import { logTicks, ticks } from "../scale/ticks";
import type { Axis } from "./axis";
import { axisShare } from "./axis";
import type { Cells } from "./heatmap";
import { legendCells, paintCells } from "./heatmap";
import type { Shape } from "./svg";
import { FAINT, group, line, shape, text } from "./svg";

/** Width of the labels to the left of a figure, and of a plot in it. */
export const LABELS = 150;
export const WIDTH = 640;

/** The ground of what was not measured. */
export const HATCH = "#dddddd";

/** A picture in a figure: one pixel for each cell, enlarged without smoothing. */
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

/** The axis below a plot of this width, whose lower left corner is at 0, 0. */
export function axisShapes(axis: Axis, width: number): Shape {
  const found = axis.ticks(Math.max(2, Math.floor(width / 70)));
  return group(
    0,
    0,
    ...found.flatMap((value) => {
      const x = axisShare(axis, value) * width;
      return [
        line([x, 0, x, 4], FAINT),
        text(x, 15, axis.tickText(value), { anchor: "middle", fill: FAINT }),
      ];
    }),
    text(width / 2, 29, axis.title, { anchor: "middle", fill: FAINT }),
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

import { epochText } from "../data/formatting";
import type { ColourScale } from "../scale/colour";
import { HATCH, LABELS, legend, picture } from "./figureParts";
import type { Cells } from "./heatmap";
import type { Figure, Shape } from "./svg";
import { FAINT, group, shape, text } from "./svg";

/** Tiles of a figure of maps: one row for each layer and run. */
export interface TileRow {
  readonly label: string;
  readonly tiles: readonly (Cells | null)[];
  readonly height: number;
}

/** What stands beside the tiles of a figure of maps. */
export interface TileNotes {
  readonly title: string;
  readonly scaleTitle: string;
  readonly onsets: readonly number[];
  /** The probe's image as a data URL, or null. */
  readonly input: string | null;
}

/** Layers by epochs, one picture for each map, and the probe beside the legend. */
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

import type { ShownMaps } from "../data/entropyMaps";
import { shownAt, sides } from "../data/entropyMaps";
import type { ColourScale } from "../scale/colour";
import { colour, NOTHING } from "../scale/colour";
import type { Cells } from "./heatmap";
import { imageOf } from "./heatmap";

// One canvas holds all tiles of a layer: 4,000 tiles as canvases of their own take 1.7 s to draw,
// as atlases 0.14 s.

/** The maps of some steps side by side, one pixel for each position; -1 is a step without a map. */
export function atlasCells(shown: ShownMaps, steps: readonly number[], scale: ColourScale): Cells {
  const [rows, columns] = sides(shown.maps.shape);
  const width = columns * steps.length;
  const pixels = new Uint32Array(width * rows).fill(NOTHING);
  steps.forEach((step, tile) => {
    if (step < 0) return;
    const values = shownAt(shown, step);
    for (let row = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++) {
        const value = values[row * columns + column] ?? NaN;
        pixels[row * width + tile * columns + column] = colour(scale, value);
      }
    }
  });
  return { width, height: rows, pixels };
}

/** The layout of the tiles, in CSS pixels. */
export interface Tiling {
  readonly tiles: number;
  readonly pitch: number;
  readonly width: number;
  readonly height: number;
}

/** What a canvas of tiles shows, so that only what changes is drawn again. */
export interface Painted {
  readonly shown: ShownMaps;
  readonly scale: ColourScale;
  readonly tiling: Tiling;
  readonly ratio: number;
  readonly steps: readonly number[];
}

/** Draws maps as separate tiles, enlarged without smoothing; `before` is on the canvas already. */
export function paintTiles(canvas: HTMLCanvasElement, now: Painted, before: Painted | null): void {
  const { shown, scale, tiling, ratio, steps } = now;
  const kept = before && sameBut(before, now) ? before.steps : [];
  const changed = steps.flatMap((step, tile) => (kept[tile] === step ? [] : [tile]));
  if (!changed.length) return;
  const context = canvas.getContext("2d");
  if (!context) return;
  if (!kept.length) {
    canvas.width = Math.max(1, Math.round(tiling.pitch * tiling.tiles * ratio));
    canvas.height = Math.max(1, Math.round(tiling.height * ratio));
  }
  const anew = changed.map((tile) => steps[tile] ?? -1);
  const cells = atlasCells(shown, anew, scale);
  const source = onCanvas(cells);
  if (!source) return;
  context.imageSmoothingEnabled = false;
  const side = cells.width / changed.length;
  const [wide, high] = [Math.round(tiling.width * ratio), canvas.height];
  changed.forEach((tile, at) => {
    const x = Math.round(tile * tiling.pitch * ratio);
    context.clearRect(x, 0, wide, high);
    context.drawImage(source, at * side, 0, side, cells.height, x, 0, wide, high);
  });
}

function sameBut(a: Painted, b: Painted): boolean {
  const keys = ["tiles", "pitch", "width", "height"] as const;
  return (
    a.shown.maps === b.shown.maps &&
    a.shown.mode === b.shown.mode &&
    a.shown.reference === b.shown.reference &&
    a.scale.lo === b.scale.lo &&
    a.scale.hi === b.scale.hi &&
    a.ratio === b.ratio &&
    keys.every((key) => a.tiling[key] === b.tiling[key])
  );
}

let workbench: HTMLCanvasElement | null = null; // one for all rows, since allocating it is slow

function onCanvas(cells: Cells): HTMLCanvasElement | null {
  if (!cells.pixels.length) return null;
  const canvas = (workbench ??= document.createElement("canvas"));
  if (canvas.width < cells.width) canvas.width = cells.width;
  if (canvas.height < cells.height) canvas.height = cells.height;
  const context = canvas.getContext("2d");
  context?.putImageData(imageOf(cells), 0, 0);
  return context ? canvas : null;
}

/** Size of a tile that shows a map of this shape within a box of `side` CSS pixels. */
export function tileSize(shape: readonly number[], side: number): [width: number, height: number] {
  const [rows, columns] = sides(shape);
  if (rows * columns === 1) return [side, Math.min(side, 18)];
  if (rows === 1) return [side, Math.min(side, 14)];
  const scale = side / Math.max(rows, columns);
  // A solid's slices are drawn below each other, as wide as possible, up to four boxes high.
  if (rows > columns) {
    const wide = Math.min(side, (4 * side * columns) / rows);
    return [wide, (wide * rows) / columns];
  }
  return [side, Math.max(4, rows * scale)];
}

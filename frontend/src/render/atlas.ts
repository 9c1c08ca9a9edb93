import type { LayerMaps } from "../data/maps";
import { sides } from "../data/maps";
import type { ColourScale } from "../scale/colour";
import { colour, NOTHING } from "../scale/colour";
import type { Cells } from "./heatmap";
import { imageOf } from "./heatmap";

/** Turns H in nats into what the scale colours. */
export type Transform = (entropy: number) => number;

/** The maps of some steps side by side, a pixel a position; -1 stands for a step without a map. */
export function atlasCells(
  maps: LayerMaps,
  steps: readonly number[],
  scale: ColourScale,
  transform: Transform,
): Cells {
  const [rows, columns] = sides(maps.shape);
  const size = rows * columns;
  const width = columns * steps.length;
  const pixels = new Uint32Array(width * rows).fill(NOTHING);
  steps.forEach((step, tile) => {
    if (step < 0) return;
    const table = codeColours(maps, step, scale, transform);
    for (let i = 0; i < size; i++) {
      const row = Math.floor(i / columns);
      const code = maps.codes[step * size + i] ?? 255;
      pixels[row * width + tile * columns + (i - row * columns)] = table[code] ?? NOTHING;
    }
  });
  return { width, height: rows, pixels };
}

function codeColours(
  maps: LayerMaps,
  step: number,
  scale: ColourScale,
  transform: Transform,
): Uint32Array {
  const lo = maps.lo[step] ?? NaN;
  const width = (maps.hi[step] ?? NaN) - lo;
  const table = new Uint32Array(256);
  for (let code = 0; code < 255; code++) {
    table[code] = colour(scale, transform(lo + (width * code) / 254));
  }
  table[255] = NOTHING;
  return table;
}

/** Where tiles stand: in CSS pixels. */
export interface Tiling {
  readonly tiles: number;
  readonly pitch: number;
  readonly width: number;
  readonly height: number;
}

/** Draws an atlas as separate tiles, enlarged without smoothing. */
export function paintTiles(
  canvas: HTMLCanvasElement,
  cells: Cells,
  tiling: Tiling,
  ratio: number,
): void {
  const width = Math.max(1, Math.round(tiling.pitch * tiling.tiles * ratio));
  const height = Math.max(1, Math.round(tiling.height * ratio));
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
  const context = canvas.getContext("2d");
  const source = offscreen(cells);
  if (!context || !source) return;
  context.clearRect(0, 0, width, height);
  context.imageSmoothingEnabled = false;
  const side = cells.width / tiling.tiles;
  for (let tile = 0; tile < tiling.tiles; tile++) {
    const x = Math.round(tile * tiling.pitch * ratio);
    const wide = Math.round(tiling.width * ratio);
    context.drawImage(source, tile * side, 0, side, cells.height, x, 0, wide, height);
  }
}

function offscreen(cells: Cells): HTMLCanvasElement | null {
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, cells.width);
  canvas.height = Math.max(1, cells.height);
  const context = canvas.getContext("2d");
  if (!context || !cells.pixels.length) return null;
  context.putImageData(imageOf(cells), 0, 0);
  return canvas;
}

/** Size of a tile that shows a map of this shape within a box of `side` CSS pixels. */
export function tileSize(shape: readonly number[], side: number): [width: number, height: number] {
  const [rows, columns] = sides(shape);
  if (rows * columns === 1) return [side, Math.min(side, 18)];
  if (rows === 1) return [side, Math.min(side, 14)];
  const scale = side / Math.max(rows, columns);
  // A solid's slices stand below each other: as wide as they can be, up to four boxes high.
  if (rows > columns) {
    const wide = Math.min(side, (4 * side * columns) / rows);
    return [wide, (wide * rows) / columns];
  }
  return [side, Math.max(4, rows * scale)];
}

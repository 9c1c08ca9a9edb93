import type { EpochColumns } from "../data/epochs";
import { columnValue } from "../data/epochs";
import type { ColourScale } from "../scale/colour";
import { colour } from "../scale/colour";

/** A picture with one canvas pixel for each cell. CSS enlarges it. */
export interface Cells {
  readonly width: number;
  readonly height: number;
  readonly pixels: Uint32Array;
}

/** Coloured rows of values; `scaleOf` gives the scale of a row. */
export function matrixCells(
  rows: readonly Float64Array[],
  columns: EpochColumns,
  scaleOf: (row: number) => ColourScale,
): Cells {
  const { count } = columns;
  const pixels = new Uint32Array(rows.length * count);
  rows.forEach((values, row) => {
    const scale = scaleOf(row);
    for (let column = 0; column < count; column++) {
      pixels[row * count + column] = colour(scale, columnValue(columns, column, values));
    }
  });
  return { width: count, height: rows.length, pixels };
}

/** Puts cells on a canvas of their own size. */
export function paintCells(canvas: HTMLCanvasElement, cells: Cells): void {
  const width = Math.max(1, cells.width);
  const height = Math.max(1, cells.height);
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
  const context = canvas.getContext("2d");
  if (!context) return;
  context.clearRect(0, 0, width, height);
  if (cells.pixels.length) context.putImageData(imageOf(cells), 0, 0);
}

export function imageOf(cells: Cells): ImageData {
  const bytes = new Uint8ClampedArray(cells.pixels.length * 4);
  new Uint32Array(bytes.buffer).set(cells.pixels);
  return new ImageData(bytes, cells.width, cells.height);
}

/** The scale's own colours, from lo to hi. */
export function legendCells(scale: ColourScale): Cells {
  return { width: 256, height: 1, pixels: scale.table };
}

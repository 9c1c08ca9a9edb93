import { RED_BLUE_HEX, VIRIDIS_HEX } from "./colourTables";

/** 256 colours, each as the 32 bits that a canvas keeps a pixel in. */
export type ColourTable = Uint32Array;

/** No value: transparent, so that the hatching below shows through. */
export const NOTHING = 0;

/** What colours a number, and what its legend is drawn from. */
export interface ColourScale {
  readonly lo: number;
  readonly hi: number;
  readonly logarithmic: boolean;
  readonly table: ColourTable;
}

// Every machine that runs a browser today is little-endian, so red is the lowest byte.
function tableOf(hex: string): ColourTable {
  return Uint32Array.from({ length: 256 }, (_, i) => {
    const bits = Number.parseInt(hex.slice(6 * i, 6 * i + 6), 16);
    return ((255 << 24) | ((bits & 255) << 16) | (bits & 0xff00) | (bits >> 16)) >>> 0;
  });
}

/** Sequential: readable with any colour vision, and in grey. */
export const VIRIDIS = tableOf(VIRIDIS_HEX);
/** Diverging, red below and blue above: can be told apart with any common colour vision. */
export const RED_BLUE = tableOf(RED_BLUE_HEX);

/** From `lo` to `hi`. A range without width is widened a little. */
export function sequential(lo: number, hi: number, logarithmic = false): ColourScale {
  const log = logarithmic && lo > 0;
  const top = hi > lo ? hi : lo + (Math.abs(lo) || 1) * 0.01;
  return { lo, hi: top, logarithmic: log, table: VIRIDIS };
}

/** From -size to size. */
export function diverging(size: number): ColourScale {
  const reach = size > 0 ? size : 1;
  return { lo: -reach, hi: reach, logarithmic: false, table: RED_BLUE };
}

/** The class of a canvas in the scale's colours: by night, the middle of a diverging one is dark. */
export function canvasClass(scale: ColourScale): string {
  return scale.table === RED_BLUE ? "diverging" : "";
}

/** Where a value lies between lo (0) and hi (1), or beyond them if it is out of range. */
export function share(scale: ColourScale, value: number): number {
  if (!scale.logarithmic) return (value - scale.lo) / (scale.hi - scale.lo);
  return Math.log(value / scale.lo) / Math.log(scale.hi / scale.lo);
}

/** The value at a share of the scale. */
export function valueAtShare(scale: ColourScale, at: number): number {
  if (!scale.logarithmic) return scale.lo + (scale.hi - scale.lo) * at;
  return scale.lo * (scale.hi / scale.lo) ** at;
}

/** The pixel of a value; NOTHING for NaN. Values out of range take the colour of the nearer end. */
export function colour(scale: ColourScale, value: number): number {
  if (Number.isNaN(value)) return NOTHING;
  const at = Math.max(0, Math.min(1, share(scale, value)));
  return Number.isNaN(at) ? NOTHING : (scale.table[Math.round(at * 255)] ?? NOTHING);
}

/** A pixel in CSS notation. */
export function css(bits: number): string {
  return `rgb(${bits & 255}, ${(bits >> 8) & 255}, ${(bits >> 16) & 255})`;
}

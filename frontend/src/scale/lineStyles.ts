/** Dash patterns that tell runs apart, in CSS pixels. */
export const DASHES: readonly (readonly number[])[] = [
  [],
  [6, 4],
  [2, 3],
  [9, 3, 2, 3],
  [12, 4],
  [6, 3, 2, 3, 2, 3],
];

/** Colours that tell layers or runs apart with any common colour vision, after Okabe and Ito. */
const LIGHT = [
  "#0072b2",
  "#d55e00",
  "#009e73",
  "#b0508c",
  "#946c00",
  "#3ba1d9",
  "#5b4bb5",
  "#4d4d4d",
];
const DARK = [
  "#56a8e8",
  "#f0803c",
  "#2fc79b",
  "#e08cc0",
  "#d8b23a",
  "#8fd3ff",
  "#a99cf5",
  "#c8c8c8",
];

export function dashOf(index: number): readonly number[] {
  return DASHES[index % DASHES.length] ?? [];
}

export function strokeOf(index: number, dark: boolean): string {
  const colours = dark ? DARK : LIGHT;
  return colours[index % colours.length] ?? "#808080";
}

/** The number of lines that can be told apart by colour. */
export const COLOURS = LIGHT.length;

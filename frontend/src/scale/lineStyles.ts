/** Dash patterns that tell runs apart, in CSS pixels. */
export const DASHES: readonly (readonly number[])[] = [
  [],
  [6, 4],
  [2, 3],
  [9, 3, 2, 3],
  [12, 4],
  [6, 3, 2, 3, 2, 3],
];

interface Palette {
  readonly light: readonly string[];
  readonly dark: readonly string[];
}

/**
 * Colours of runs, and others of layers. Any two of a palette differ by at least 13 (CIEDE2000), also
 * under protanopia and deuteranopia; each stands out from its ground by at least 3 : 1.
 */
export const RUN_COLOURS: Palette = {
  light: hexes("5a8eff ff4200 03644c a9658a 751000 3e19fd 51a372 542959"),
  dark: hexes("099b9f fca4ff bb4205 2a6ad6 a2f91b b2a76b cc3271 0dfdd0"),
};

export const LAYER_COLOURS: Palette = {
  light: hexes("4865fc c62e5f 049500 6f3a99 e46aa9 605a08 ff5d61 67232c"),
  dark: hexes("938af6 b37643 6fd7d1 fd4e95 98f0a0 037a67 d6ab15 c00fa7"),
};

function hexes(text: string): string[] {
  return text.split(" ").map((hex) => `#${hex}`);
}

export function dashOf(index: number): readonly number[] {
  return DASHES[index % DASHES.length] ?? [];
}

export function runStroke(index: number, dark: boolean): string {
  return strokeOf(RUN_COLOURS, index, dark);
}

export function layerStroke(index: number, dark: boolean): string {
  return strokeOf(LAYER_COLOURS, index, dark);
}

function strokeOf(palette: Palette, index: number, dark: boolean): string {
  const colours = dark ? palette.dark : palette.light;
  return colours[Math.max(0, index) % colours.length] ?? "#808080";
}

/** The number of lines that can be told apart by colour. */
export const COLOURS = RUN_COLOURS.light.length;

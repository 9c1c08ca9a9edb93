import { describe, expect, it } from "vitest";
import { LAYER_COLOURS, RUN_COLOURS, layerStroke, runStroke } from "../src/scale/lineStyles";

type Triple = readonly [number, number, number];
type Matrix = readonly [Triple, Triple, Triple];

// Machado, Oliveira and Fernandes 2009, severity 1, for linear RGB.
const VISION: Readonly<Record<string, Matrix>> = {
  normal: [
    [1, 0, 0],
    [0, 1, 0],
    [0, 0, 1],
  ],
  protanopia: [
    [0.152286, 1.052583, -0.204868],
    [0.114503, 0.786281, 0.099216],
    [-0.003882, -0.048116, 1.051998],
  ],
  deuteranopia: [
    [0.367322, 0.860646, -0.227968],
    [0.280085, 0.672501, 0.047413],
    [-0.01182, 0.04294, 0.968881],
  ],
};
const XYZ: Matrix = [
  [0.4124564, 0.3575761, 0.1804375],
  [0.2126729, 0.7151522, 0.072175],
  [0.0193339, 0.119192, 0.9503041],
];

function times(matrix: Matrix, [r, g, b]: Triple): Triple {
  const [x, y, z] = matrix.map((row) => row[0] * r + row[1] * g + row[2] * b);
  return [x ?? 0, y ?? 0, z ?? 0];
}

function linear(hex: string): Triple {
  const part = (at: number): number => {
    const c = Number.parseInt(hex.slice(at, at + 2), 16) / 255;
    return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  };
  return [part(1), part(3), part(5)];
}

function lab(hex: string, vision: string): Triple {
  const seen = times(VISION[vision] ?? XYZ, linear(hex)).map((c) => Math.min(1, Math.max(0, c)));
  const [x, y, z] = times(XYZ, seen as unknown as Triple);
  const f = (t: number): number => (t > 216 / 24389 ? Math.cbrt(t) : (841 / 108) * t + 4 / 29);
  const [fx, fy, fz] = [f(x / 0.95047), f(y), f(z / 1.08883)];
  return [116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)];
}

const radians = (degrees: number): number => (degrees * Math.PI) / 180;

/** CIEDE2000 (Sharma, Wu and Dalal 2005). */
function difference([l1, a1, b1]: Triple, [l2, a2, b2]: Triple): number {
  const mean7 = ((Math.hypot(a1, b1) + Math.hypot(a2, b2)) / 2) ** 7;
  const g = 1.5 - 0.5 * Math.sqrt(mean7 / (mean7 + 25 ** 7));
  const [c1, c2] = [Math.hypot(g * a1, b1), Math.hypot(g * a2, b2)];
  const hue = (a: number, b: number): number =>
    ((Math.atan2(b, g * a) * 180) / Math.PI + 360) % 360;
  const [h1, h2] = [hue(a1, b1), hue(a2, b2)];
  const turn = ((h2 - h1 + 540) % 360) - 180;
  const dh = 2 * Math.sqrt(c1 * c2) * Math.sin(radians(turn / 2));
  const [l, c, h] = [(l1 + l2) / 2, (c1 + c2) / 2, (h1 + turn / 2 + 360) % 360];
  const cosine = (factor: number, shift: number): number => Math.cos(radians(factor * h + shift));
  const t =
    1 - 0.17 * cosine(1, -30) + 0.24 * cosine(2, 0) + 0.32 * cosine(3, 6) - 0.2 * cosine(4, -63);
  const sl = 1 + (0.015 * (l - 50) ** 2) / Math.sqrt(20 + (l - 50) ** 2);
  const [sc, sh] = [1 + 0.045 * c, 1 + 0.015 * c * t];
  const rc = 2 * Math.sqrt(c ** 7 / (c ** 7 + 25 ** 7));
  const rt = -rc * Math.sin(radians(60 * Math.exp(-(((h - 275) / 25) ** 2))));
  const [dl, dc, dhue] = [(l2 - l1) / sl, (c2 - c1) / sc, dh / sh];
  return Math.sqrt(dl ** 2 + dc ** 2 + dhue ** 2 + rt * dc * dhue);
}

it("the difference is that of the standard's test data", () => {
  expect(difference([50, 2.6772, -79.7751], [50, 0, -82.7485])).toBeCloseTo(2.0425, 4);
  expect(difference([2.0776, 0.0795, -1.135], [0.9033, -0.0636, -0.5514])).toBeCloseTo(0.9082, 4);
});

const PALETTES = [
  ["runs, light", RUN_COLOURS.light, "#ffffff"],
  ["runs, dark", RUN_COLOURS.dark, "#1f2023"],
  ["layers, light", LAYER_COLOURS.light, "#ffffff"],
  ["layers, dark", LAYER_COLOURS.dark, "#1f2023"],
] as const;

describe.each(PALETTES)("the colours of %s", (_, colours, ground) => {
  // The smallest difference within Okabe and Ito's palette is 11.6.
  it.each(Object.keys(VISION))("differ under %s", (vision) => {
    const seen = colours.map((hex) => lab(hex, vision));
    const found = seen.flatMap((one, at) => seen.slice(at + 1).map((two) => difference(one, two)));
    expect(Math.min(...found)).toBeGreaterThan(13);
  });

  it("stand out from their ground", () => {
    const light = (hex: string): number => times(XYZ, linear(hex))[1] + 0.05;
    for (const hex of colours) {
      const ratio = light(hex) / light(ground);
      expect(Math.max(ratio, 1 / ratio)).toBeGreaterThan(3);
    }
  });
});

it("no layer has the colour of a run", () => {
  for (const dark of [false, true]) {
    const runs = new Set(RUN_COLOURS.light.map((_, at) => runStroke(at, dark)));
    expect(RUN_COLOURS.light.some((_, at) => runs.has(layerStroke(at, dark)))).toBe(false);
  }
});

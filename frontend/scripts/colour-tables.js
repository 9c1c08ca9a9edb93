// Writes src/scale/colourTables.ts: d3-scale-chromatic's viridis and RdBu, sampled at 256 places, so that
// the bundle carries 3 kB of colours instead of 40 kB of interpolators. `npm run colours`.
import { writeFileSync } from "node:fs";
import { interpolateRdBu, interpolateViridis } from "d3-scale-chromatic";
import { hexTable } from "./hex-table.js";

const tables = { VIRIDIS_HEX: interpolateViridis, RED_BLUE_HEX: interpolateRdBu };
const text = Object.entries(tables)
  .map(([name, interpolate]) => `export const ${name} =\n  "${hexTable(interpolate)}";\n`)
  .join("\n");
const head = "// Made by scripts/colour-tables.js from d3-scale-chromatic; do not edit.\n\n";
writeFileSync(new URL("../src/scale/colourTables.ts", import.meta.url), head + text);

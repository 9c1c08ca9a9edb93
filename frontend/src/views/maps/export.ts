import type { Cell } from "../../data/csv";
import { csv } from "../../data/csv";
import { held, pick } from "../../data/epochs";
import type { ShownMaps } from "../../data/entropyMaps";
import { entropyAt, relativeAt, sameShape, shownAt, sides, stepNear } from "../../data/entropyMaps";
import type { Mode } from "../../data/statistics";
import { RELATIVE_ENTROPY } from "../../data/statistics";
import { layerIndex } from "../../data/layerTable";
import { isPicture } from "../../data/runs";
import { shorten } from "../../data/formatting";
import { atlasCells, tileSize } from "../../render/atlas";
import { tileFigure } from "../../render/figures";
import type { Figure } from "../../render/svg";
import type { ColourScale } from "../../scale/colour";
import type { State } from "../../state/state";
import { titleOf } from "../../components/ColourRange";
import { SUBTRACTED } from "../overview/export";
import { ownScale, rangeOfMaps } from "./layerPictures";

const TILES = 16;
const SIDE = 44;

/** The entropy maps as a figure: all layers, up to 16 epochs. */
export async function mapsFigure(state: State, common: ColourScale | null): Promise<Figure> {
  const runs = state.mapRuns.peek();
  const pictures = state.mapPictures.peek();
  const onsets = state.chosen
    .peek()
    .flatMap(({ run, onset }) => (runs.includes(run) && onset !== null ? [onset] : []));
  const epochs = pick(state.mapSteps.peek(), TILES, [state.cursor.peek(), ...onsets]);
  const mode = state.mapMode.peek();
  const layers = new Map<string, readonly ShownMaps[]>();
  for (const name of state.layers.peek()) layers.set(name, await allShown(state, name));
  // The page's own scale may still lack what arrived only now.
  const whole = rangeOfMaps(state) ? ownScale([...layers.values()].flat(), mode) : common;
  const rows = [];
  for (const [name, found] of layers) {
    const scale = whole ?? ownScale(found, mode);
    for (const shown of found) {
      const run = pictures.length > 1 ? `, ${shorten(shown.maps.run, 12)}` : "";
      rows.push({
        label: run ? `${shorten(name, 14)}${run}` : shorten(name, 24),
        tiles: epochs.map((epoch) => {
          const step = held(shown.maps.steps, epoch);
          return step < 0 ? null : atlasCells(shown, [step], scale);
        }),
        height: tileSize(shown.maps.shape, SIDE)[1],
      });
    }
  }
  const probe = state.probe.peek();
  const which = probe === "mean" ? "mean over the probe set" : `probe ${probe}`;
  const [first, second] = runs.map((run) => shorten(run, 30));
  const of: Readonly<Record<Mode, string>> = {
    value: "Entropy maps",
    change: "Entropy maps, change since the start",
    difference: `Entropy maps of ${first ?? ""} less ${second ?? ""}`,
  };
  const scaleTitle = titleOf("Relative entropy H / ln D", mode, RELATIVE_ENTROPY.unit);
  const title = `${of[mode]}, ${which}: layers by epochs`;
  const notes = { title, scaleTitle, onsets, input: await inputOf(state) };
  return tileFigure(notes, epochs, rows, SIDE, whole);
}

/** The probe's picture, where it is one. */
async function inputOf(state: State): Promise<string | null> {
  const [run] = state.mapRuns.peek();
  if (run === undefined) return null;
  const { indices, items } = await state.arrived(state.probes(run));
  const item = items[indices.indexOf(Number(state.probe.peek()))];
  return isPicture(item) ? item : null;
}

/** What the pictures of a layer show, once it has arrived. */
async function allShown(state: State, layer: string): Promise<ShownMaps[]> {
  const found: ShownMaps[] = [];
  const probe = state.probe.peek();
  const mode = state.mapMode.peek();
  for (const { run, less } of state.mapPictures.peek()) {
    if (![run, less ?? run].every((name) => hasLayer(state, name, layer))) continue;
    const maps = await state.arrived(state.maps(run, layer, probe));
    const reference = less === null ? null : await state.arrived(state.maps(less, layer, probe));
    if (!reference || sameShape(maps, reference)) found.push({ maps, mode, reference });
  }
  return found;
}

function hasLayer(state: State, run: string, layer: string): boolean {
  const table = state.table(run).peek().value;
  return table !== null && layerIndex(table, layer) >= 0;
}

/** The maps of the chosen layer at the cursor, value by value; with the run that is subtracted. */
export async function mapsCsv(state: State): Promise<string> {
  const mode = state.mapMode.peek();
  const layer = state.layer.peek() ?? "";
  const rows: Cell[][] = [];
  for (const shown of await allShown(state, layer)) {
    const { maps, reference } = shown;
    const [, width] = sides(maps.shape);
    const step = stepNear(shown, state.cursor.peek());
    if (step < 0) continue; // no epoch in common
    const compared = shownAt(shown, step);
    relativeAt(maps, step).forEach((share, at) => {
      const place = [maps.steps[step] ?? NaN, Math.floor(at / width), at % width];
      const values = [entropyAt(maps, step, at), share, compared[at] ?? NaN];
      const known = mode === "value" ? values.slice(0, 2) : values;
      const less = mode === "difference" ? [reference?.run ?? null] : [];
      rows.push([maps.run, ...less, layer, String(maps.probe), ...place, ...known]);
    });
  }
  const runs = mode === "difference" ? ["run", SUBTRACTED] : ["run"];
  const names = ["layer", "probe", "epoch", "row", "column", "entropy", "relative_entropy"];
  const compared = mode === "value" ? [] : [`relative_entropy_${mode}`];
  return csv([...runs, ...names, ...compared], rows);
}

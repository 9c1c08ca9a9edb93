import type { Cell } from "../../data/csv";
import { SUBTRACTED, csv } from "../../data/csv";
import { held, pick } from "../../data/epochs";
import type { ShownMaps } from "../../data/entropyMaps";
import { entropyAt, relativeAt, sameShape, shownAt, sides, stepNear } from "../../data/entropyMaps";
import type { Mode } from "../../data/statistics";
import { RELATIVE_ENTROPY } from "../../data/statistics";
import { layerIndex } from "../../data/layerTable";
import { isImage } from "../../data/runs";
import { shorten } from "../../data/formatting";
import { atlasCells, tileSize } from "../../render/atlas";
import { tileFigure } from "../../render/tileFigure";
import type { Figure } from "../../render/svg";
import type { State } from "../../state/state";
import { legendTitle } from "../../components/ColourRange";
import { pictureScale } from "./layerPictures";
import { MapsState } from "./MapsState";

const TILES = 16;
const SIDE = 44;

/** The entropy maps as a figure: all layers, up to 16 epochs. */
export async function mapsFigure(state: State): Promise<Figure> {
  const view = state.part(MapsState);
  const runs = view.runs.peek();
  const pictures = view.pictures.peek();
  const turned = state.onsets.peek();
  const onsets = runs.flatMap((run) => turned.get(run)?.epoch ?? []);
  const epochs = pick(view.steps.peek(), TILES, [state.cursor.peek(), ...onsets]);
  const mode = view.mode.peek();
  const layers = new Map<string, readonly ShownMaps[]>();
  for (const name of state.layers.peek()) layers.set(name, await allShown(state, name));
  // The page's own scale may still lack the maps that have only just arrived.
  const found = [...layers.values()].flat();
  const common = view.rangeIsInMaps.peek() ? pictureScale(found, mode) : view.scale.peek();
  const rows = [];
  for (const [name, maps] of layers) {
    const scale = common ?? pictureScale(maps, mode);
    for (const shown of maps) {
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
  const probe = view.probe.peek();
  const which = probe === "mean" ? "mean over the probe set" : `probe ${probe}`;
  const [first, second] = runs.map((run) => shorten(run, 30));
  const of: Readonly<Record<Mode, string>> = {
    value: "Entropy maps",
    change: "Entropy maps, change from start",
    difference: `Entropy maps of ${first ?? ""} minus ${second ?? ""}`,
  };
  const scaleTitle = legendTitle("Relative entropy H / ln D", mode, RELATIVE_ENTROPY.unit);
  const title = `${of[mode]}, ${which}: layers by epochs`;
  const notes = { title, scaleTitle, onsets, input: await inputOf(state) };
  return tileFigure(notes, epochs, rows, SIDE, common);
}

/** The probe's image, if it is one. */
async function inputOf(state: State): Promise<string | null> {
  const view = state.part(MapsState);
  const [run] = view.runs.peek();
  if (run === undefined) return null;
  const { indices, items } = await state.data.arrived(state.data.probes(run));
  const item = items[indices.indexOf(Number(view.probe.peek()))];
  return isImage(item) ? item : null;
}

/** What the pictures of a layer show, once it has arrived. */
async function allShown(state: State, layer: string): Promise<ShownMaps[]> {
  const { data } = state;
  const view = state.part(MapsState);
  const found: ShownMaps[] = [];
  const probe = view.probe.peek();
  const mode = view.mode.peek();
  for (const { run, minus } of view.pictures.peek()) {
    if (![run, minus ?? run].every((name) => hasLayer(state, name, layer))) continue;
    const maps = await data.arrived(data.maps(run, layer, probe));
    const reference = minus === null ? null : await data.arrived(data.maps(minus, layer, probe));
    if (!reference || sameShape(maps, reference)) found.push({ maps, mode, reference });
  }
  return found;
}

function hasLayer(state: State, run: string, layer: string): boolean {
  const table = state.data.table(run).peek().value;
  return table !== null && layerIndex(table, layer) >= 0;
}

/** The maps of the chosen layer at the cursor, value by value, with the run that is subtracted. */
export async function mapsCsv(state: State): Promise<string> {
  const mode = state.part(MapsState).mode.peek();
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
      const subtracted = mode === "difference" ? [reference?.run ?? null] : [];
      rows.push([maps.run, ...subtracted, layer, String(maps.probe), ...place, ...known]);
    });
  }
  const runs = mode === "difference" ? ["run", SUBTRACTED] : ["run"];
  const names = ["layer", "probe", "epoch", "row", "column", "entropy", "relative_entropy"];
  const compared = mode === "value" ? [] : [`relative_entropy_${mode}`];
  return csv([...runs, ...names, ...compared], rows);
}

import type { Cell } from "../data/csv";
import { csv } from "../data/csv";
import { columnsOf, held, pick } from "../data/epochs";
import { byCoefficient, coefficient, shareExtent, shares } from "../data/histogram";
import type { ShownMaps } from "../data/maps";
import { entropyAt, relativeAt, sameShape, shownAt, sides, stepNear } from "../data/maps";
import type { Correlations, RunEntry } from "../data/runs";
import { BINS } from "../data/runs";
import type { Mode } from "../data/statistics";
import { RELATIVE_ENTROPY, unitOf } from "../data/statistics";
import { SUMMARY_COLUMNS, sorted, summaries } from "../data/summary";
import { layerIndex } from "../data/table";
import { shorten } from "../data/text";
import { atlasCells, tileSize } from "../render/atlas";
import type { Chart } from "../render/figures";
import { chartFigure, heatFigure, tileFigure } from "../render/figures";
import type { Figure } from "../render/svg";
import type { ColourScale } from "../scale/colour";
import { sequential } from "../scale/colour";
import type { State } from "../state";
import { titleOf } from "./colours";
import type { Matrix } from "./matrix";
import { ownScale } from "./pictures";
import type { PlotData } from "./Plot";

const COLUMNS = 640;
const TILES = 16;
const SIDE = 44;

/** The overview as a figure. */
export function overviewFigure(state: State, matrix: Matrix): Figure {
  const unit = unitOf(matrix.statistic, matrix.mode);
  const title = `${matrix.statistic.title}${matrix.mode === "value" ? "" : `, ${matrix.mode}`}`;
  const range = state.range.peek();
  const panels = state.chosen.peek().flatMap(({ run, onset }) => {
    const steps = state.table(run).peek().value?.steps;
    const rows = matrix.rows.get(run);
    if (!steps || !rows) return [];
    const columns = columnsOf(steps, range, COLUMNS);
    const labels = matrix.layers.map((name) => shorten(name, 24));
    return [{ title: shorten(run, 60), labels, rows, columns, onset, scaleOf: matrix.scales.of }];
  });
  const scaleTitle = `${title} [${unit}]`;
  return heatFigure(`${title}: layers by epochs`, panels, matrix.scales.common, scaleTitle);
}

/** Every value behind the overview. */
export function overviewCsv(state: State, matrix: Matrix): string {
  const rows = state.tables
    .peek()
    .flatMap((table) =>
      matrix.layers.flatMap((layer, at) =>
        Array.from(table.steps, (step, index): Cell[] => [
          ...[table.run, layer, step, matrix.rows.get(table.run)?.[at]?.[index] ?? NaN],
        ]),
      ),
    );
  const { id } = matrix.statistic;
  return csv(
    ["run", "layer", "epoch", matrix.mode === "value" ? id : `${id}_${matrix.mode}`],
    rows,
  );
}

/** The entropy maps as a figure: all layers, up to 16 epochs. */
export async function mapsFigure(state: State, common: ColourScale | null): Promise<Figure> {
  const runs = state.mapRuns.peek();
  const pictures = state.mapPictures.peek();
  const onsets = state.chosen
    .peek()
    .flatMap(({ run, onset }) => (runs.includes(run) && onset !== null ? [onset] : []));
  const epochs = pick(state.mapSteps.peek(), TILES, [state.cursor.peek(), ...onsets]);
  const rows = [];
  for (const name of state.layers.peek()) {
    const found = await allShown(state, name);
    const scale = common ?? ownScale(found);
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
  const mode = state.mapMode.peek();
  const scaleTitle = titleOf("Relative entropy H / ln D", mode, RELATIVE_ENTROPY.unit);
  const title = `${of[mode]}, ${which}: layers by epochs`;
  return tileFigure(title, epochs, rows, SIDE, common, scaleTitle);
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

/** The maps of the chosen layer at the cursor, value by value. */
export async function mapsCsv(state: State): Promise<string> {
  const mode = state.mapMode.peek();
  const layer = state.layer.peek() ?? "";
  const rows: Cell[][] = [];
  for (const shown of await allShown(state, layer)) {
    const { maps } = shown;
    const [, width] = sides(maps.shape);
    const step = stepNear(shown, state.cursor.peek());
    const compared = shownAt(shown, step);
    relativeAt(maps, step).forEach((share, at) => {
      const place = [maps.steps[step] ?? NaN, Math.floor(at / width), at % width];
      const values = [entropyAt(maps, step, at), share, compared[at] ?? NaN];
      const known = mode === "value" ? values.slice(0, 2) : values;
      rows.push([maps.run, layer, String(maps.probe), ...place, ...known]);
    });
  }
  const names = ["run", "layer", "probe", "epoch", "row", "column", "entropy", "relative_entropy"];
  return csv(mode === "value" ? names : [...names, `relative_entropy_${mode}`], rows);
}

/** What the plots show, as figures on white ground. */
export function curvesFigure(plots: readonly (readonly [string, PlotData, number])[]): Figure {
  const charts = plots.map(([title, data, height]): Chart => ({
    title,
    height,
    range: data.range,
    logarithmic: data.logarithmic,
    marks: data.marks,
    lines: data.lines
      .filter(({ silent }) => !silent)
      .map(({ label, ...rest }) => ({ ...rest, label: shorten(label, 34), epochs: data.epochs })),
  }));
  return chartFigure("Curves over epochs", charts);
}

/** Every point of the plots. */
export function curvesCsv(plots: readonly (readonly [string, PlotData, number])[]): string {
  const rows = plots.flatMap(([title, data]) =>
    data.lines
      .filter(({ silent }) => !silent)
      .flatMap((line) =>
        line.values.flatMap((value, at): Cell[][] =>
          value === undefined ? [] : [[title, line.label, data.epochs[at] ?? NaN, value]],
        ),
      ),
  );
  return csv(["plot", "line", "epoch", "value"], rows);
}

/** What was loaded for the correlations of a run. */
export interface LoadedRun {
  readonly entry: RunEntry;
  readonly value: Correlations | null;
}

export function correlationsFigure(
  state: State,
  layer: string,
  loaded: readonly LoadedRun[],
  scale: ColourScale,
): Figure {
  const panels = loaded.flatMap(({ entry, value }) => {
    if (!value?.steps.length) return [];
    const rows = byCoefficient(shares(value));
    const labels = rows.map((_, at) => axisLabel(BINS - 1 - at));
    const columns = columnsOf(value.steps, state.range.peek(), COLUMNS);
    const title = shorten(entry.run, 60);
    return [{ title, labels, rows, columns, onset: entry.onset, scaleOf: () => scale }];
  });
  const title = `Filter correlations of ${shorten(layer, 40)}: coefficient by epoch`;
  return heatFigure(title, panels, scale, "Share of the pairs of filters", 1);
}

function axisLabel(bin: number): string {
  return bin % 50 === 0 ? coefficient(bin).toFixed(1) : "";
}

export function correlationsCsv(layer: string, loaded: readonly LoadedRun[]): string {
  const rows = loaded.flatMap(({ entry, value }) =>
    value
      ? Array.from(value.counts, (pairs, at): Cell[] => [
          ...[entry.run, layer, value.steps[Math.floor(at / BINS)] ?? NaN],
          ...[coefficient(at % BINS), pairs],
        ]).filter((row) => row[4] !== 0)
      : [],
  );
  return csv(["run", "layer", "epoch", "coefficient", "pairs"], rows);
}

/** The colour scale of correlation histograms, over all runs shown. */
export function shareScale(
  rows: readonly Float64Array[],
  frequency: "log" | "linear",
): ColourScale {
  const [lo, hi] = shareExtent(rows) ?? [0.001, 1];
  return frequency === "log" ? sequential(lo, hi, true) : sequential(0, hi);
}

/** The layer table, in its order. */
export function layersCsv(state: State): string {
  const lines = sorted(state.tables.peek().flatMap(summaries), state.fields.sort.cell.peek());
  const header = SUMMARY_COLUMNS.map(({ id, title }) => (id === "layer" ? "layer" : title));
  return csv(
    header,
    lines.map((one) => SUMMARY_COLUMNS.map((column) => column.of(one))),
  );
}

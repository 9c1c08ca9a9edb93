import { onsetMarks } from "../../components/onsetMarks";
import type { TipLayer } from "../../components/valuesTip";
import { runsOfLayer, valuesTable } from "../../components/valuesTip";
import { align } from "../../data/alignment";
import { nearest, union } from "../../data/epochs";
import { epochPhrase, shorten } from "../../data/formatting";
import type { LayerTable } from "../../data/layerTable";
import { layerIndex } from "../../data/layerTable";
import type { Statistic } from "../../data/statistics";
import { series } from "../../data/statistics";
import { epochAxis } from "../../render/axis";
import type { Line, PlotData } from "../../render/plotData";
import type { Tip } from "../../render/tip";
import { fitted } from "../../render/tip";
import { dashOf, layerStroke } from "../../scale/lineStyles";
import type { State } from "../../state/state";

interface PlotOptions {
  readonly statistic: Statistic;
  readonly layers: readonly string[];
  readonly chosen: string | null;
  /** Whether the spread of the chosen layer is drawn. */
  readonly banded: boolean;
}

/** One statistic of one run over epochs: a colour for each layer. */
export function layersPlot(state: State, table: LayerTable, options: PlotOptions): PlotData {
  const { statistic, layers, chosen, banded } = options;
  const dark = state.dark.value;
  const strokeOf = (name: string): string => layerStroke(layers.indexOf(name), dark);
  const lines = layers.map((name): Line => ({
    ...lineOf(table, name, statistic, [...table.steps]),
    label: shorten(name, 40),
    key: name,
    stroke: strokeOf(name),
    width: name === chosen ? 2.5 : 1.25,
    dash: dashOf(state.strokeIndex(table.run)),
    onClick: () => {
      state.select(name);
    },
  }));
  const rows = layers
    .filter((layer) => layerIndex(table, layer) >= 0)
    .map((layer): TipLayer => ({
      ...{ table, layer, name: shorten(layer, 32), stroke: strokeOf(layer), near: false },
    }));
  const tip = (epoch: number, near: number | null): Tip => {
    const at = near === null ? null : layers[near];
    const marked = rows.map((row) => ({ ...row, near: row.layer === at }));
    const title = epochPhrase(table.steps[nearest(table.steps, epoch)] ?? epoch);
    return fitted([title], valuesTable(state, marked, statistic, epoch));
  };
  const bands = banded && chosen !== null ? [{ table, fill: strokeOf(chosen) }] : [];
  return plotOf(state, statistic, [...table.steps], lines, { bands, chosen, tip });
}

/** One statistic of one layer over epochs: a colour and a dash for each run. */
export function runsPlot(
  state: State,
  tables: readonly LayerTable[],
  layer: string,
  { statistic, chosen, banded }: Omit<PlotOptions, "layers">,
): PlotData {
  const found = tables.filter((table) => layerIndex(table, layer) >= 0);
  const epochs = union(found.map(({ steps }) => steps));
  const lines = found.map((table): Line => ({
    ...lineOf(table, layer, statistic, epochs),
    label: shorten(table.run, 40),
    key: table.run,
    stroke: state.runStroke(table.run),
    width: layer === chosen ? 2 : 1.5,
    dash: dashOf(state.strokeIndex(table.run)),
  }));
  const tip = (epoch: number, near: number | null): Tip => {
    const run = near === null ? null : (found[near]?.run ?? null);
    const rows = runsOfLayer(state, found, layer, run);
    const title = `${shorten(layer, 60)}, ${epochPhrase(epoch)}`;
    return fitted([title], valuesTable(state, rows, statistic, epoch));
  };
  const bands =
    banded && layer === chosen
      ? found.map((table) => ({ table, fill: state.runStroke(table.run) }))
      : [];
  return plotOf(state, statistic, epochs, lines, { bands, chosen, tip });
}

interface Extras {
  /** The tables whose spread of the chosen layer is drawn, and in which colour. */
  readonly bands: readonly { readonly table: LayerTable; readonly fill: string }[];
  readonly chosen: string | null;
  readonly tip: (epoch: number, near: number | null) => Tip;
}

function plotOf(
  state: State,
  statistic: Statistic,
  epochs: readonly number[],
  lines: readonly Line[],
  { bands, chosen, tip }: Extras,
): PlotData {
  const edges = bands.flatMap(({ table }) => bandOf(table, chosen ?? "", statistic, epochs));
  return {
    axis: epochAxis(state.range.value),
    valueTitle: statistic.symbol,
    x: epochs,
    lines: [...lines, ...edges],
    bands: bands.map(({ fill }, at) => {
      const first = lines.length + 2 * at;
      return { of: [first, first + 1] as const, fill: `${fill}2b` };
    }),
    marks: onsetMarks(state, state.dark.value),
    logarithmic: statistic.logarithmic && lines.every(({ values }) => values.every(positive)),
    values: statistic.range && padded(statistic.range),
    dark: state.dark.value,
    tip,
  };
}

function lineOf(
  table: LayerTable,
  layer: string,
  statistic: Statistic,
  epochs: readonly number[],
): Pick<Line, "values" | "source"> {
  const values = series(table, layerIndex(table, layer), statistic);
  return {
    values: align(epochs, table.steps, values),
    source: { quantity: statistic.id, run: table.run, layer, sigma: 0 },
  };
}

/** Upper and lower edge of a layer's spread. */
function bandOf(
  table: LayerTable,
  name: string,
  statistic: Statistic,
  epochs: readonly number[],
): Line[] {
  return [...(statistic.spread ?? [])].reverse().map((column) => ({
    ...lineOf(table, name, { ...statistic, column }, epochs),
    ...{ label: "", key: "", stroke: "transparent", width: 0, dash: [], silent: true },
  }));
}

function padded([lo, hi]: readonly [number, number]): [number, number] {
  const pad = (hi - lo) * 0.02;
  return [lo - pad, hi + pad];
}

function positive(value: number | null | undefined): boolean {
  return value === null || value === undefined || value > 0;
}

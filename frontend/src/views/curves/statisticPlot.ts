import { align } from "../../data/alignment";
import { union } from "../../data/epochs";
import { shorten } from "../../data/formatting";
import type { LayerTable } from "../../data/layerTable";
import { layerIndex } from "../../data/layerTable";
import type { Statistic } from "../../data/statistics";
import { series } from "../../data/statistics";
import { onsetMarks } from "../../components/onsetMarks";
import { epochAxis } from "../../render/axis";
import type { Line, PlotData } from "../../render/plotData";
import { dashOf, strokeOf } from "../../scale/lineStyles";
import type { State } from "../../state/state";

interface PlotOptions {
  readonly statistic: Statistic;
  readonly layers: readonly string[];
  readonly chosen: string | null;
  /** Whether the spread of the chosen layer is drawn. */
  readonly banded: boolean;
}

/** One statistic over epochs: a colour for each layer, a dash for each run. */
export function statisticPlot(
  state: State,
  tables: readonly LayerTable[],
  { statistic, layers, chosen, banded }: PlotOptions,
): PlotData {
  const dark = state.dark.value;
  const epochs = union(tables.map((table) => table.steps));
  const lines = tables.flatMap((table) =>
    layers.map((name, at) => lineOf(state, table, name, { at, statistic, epochs, dark, chosen })),
  );
  const bands: PlotData["bands"][number][] = [];
  if (banded && chosen !== null) {
    const fill = `${strokeOf(Math.max(0, layers.indexOf(chosen)), dark)}2b`;
    for (const table of tables) {
      bands.push({ of: [lines.length, lines.length + 1], fill });
      lines.push(...bandOf(table, chosen, statistic, epochs));
    }
  }
  return {
    axis: epochAxis(state.range.value),
    x: epochs,
    lines,
    bands,
    marks: onsetMarks(state, dark),
    logarithmic: statistic.logarithmic && lines.every(({ values }) => values.every(positive)),
    values: statistic.range && padded(statistic.range),
    dark,
  };
}

interface LineOptions {
  readonly at: number;
  readonly statistic: Statistic;
  readonly epochs: readonly number[];
  readonly dark: boolean;
  readonly chosen: string | null;
}

function lineOf(state: State, table: LayerTable, name: string, options: LineOptions): Line {
  const values = series(table, layerIndex(table, name), options.statistic);
  return {
    label: `${shorten(name, 40)}, ${shorten(table.run, 40)}`,
    values: align(options.epochs, table.steps, values),
    stroke: strokeOf(options.at, options.dark),
    width: name === options.chosen ? 2.5 : 1.25,
    dash: dashOf(state.strokeIndex(table.run)),
    onClick: () => {
      state.select(name);
    },
  };
}

/** Upper and lower edge of a layer's spread. */
function bandOf(
  table: LayerTable,
  name: string,
  statistic: Statistic,
  epochs: readonly number[],
): Line[] {
  return [...(statistic.spread ?? [])].reverse().map((column) => {
    const edge = series(table, layerIndex(table, name), { ...statistic, column });
    const values = align(epochs, table.steps, edge);
    return { label: "", values, stroke: "transparent", width: 0, dash: [], silent: true };
  });
}

function padded([lo, hi]: readonly [number, number]): [number, number] {
  const pad = (hi - lo) * 0.02;
  return [lo - pad, hi + pad];
}

function positive(value: number | null | undefined): boolean {
  return value === null || value === undefined || value > 0;
}

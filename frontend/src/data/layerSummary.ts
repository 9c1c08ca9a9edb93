import { moved, settled, started } from "./movement";
import { RELATIVE_ENTROPY, extent, series, statisticOf } from "./statistics";
import type { LayerInfo, LayerTable } from "./layerTable";

/** A layer of a run in figures: one line of the layer table. */
export interface LayerSummary {
  readonly run: string;
  readonly position: number;
  readonly layer: LayerInfo;
  /** Relative entropy: its first record, the median of its last ones, their difference, its extremes. */
  readonly first: number;
  readonly last: number;
  readonly change: number;
  readonly lowest: number;
  readonly highest: number;
  readonly scaleFree: number;
  readonly rms: number;
  readonly growth: number;
  readonly dead: number;
  readonly notFinite: number;
  readonly correlation: number;
}

/** One line for each layer, in graph order. */
export function summaries(table: LayerTable): LayerSummary[] {
  return table.layers.map((layer, position) => {
    const of = (id: string): Float64Array => series(table, position, statisticOf(id));
    const entropy = of(RELATIVE_ENTROPY.id);
    const [lowest, highest] = extent([entropy]) ?? [NaN, NaN];
    const rms = of("rms");
    return {
      run: table.run,
      position,
      layer,
      first: started(entropy),
      last: settled(entropy),
      change: moved(entropy),
      lowest,
      highest,
      scaleFree: settled(of("scale_free_entropy")),
      rms: settled(rms),
      growth: settled(rms) / started(rms),
      dead: settled(of("dead_fraction")),
      notFinite: settled(of("nan_share")),
      correlation: settled(of("correlation_mean_absolute")),
    };
  });
}

/** A column of the layer table. */
export interface SummaryColumn {
  readonly id: string;
  readonly title: string;
  readonly hint: string;
  readonly of: (line: LayerSummary) => string | number;
  readonly signed?: boolean;
}

const LATE = "median of the last 10 records, or of the last sixth if there are fewer than 60";

export const SUMMARY_COLUMNS: readonly SummaryColumn[] = [
  { id: "run", title: "Run", hint: "", of: ({ run }) => run },
  { id: "layer", title: "Layer", hint: "sorts in graph order", of: ({ layer }) => layer.name },
  { id: "operator", title: "Operator", hint: "", of: ({ layer }) => layer.operator },
  {
    id: "channels",
    title: "D",
    hint: "channels: the length of an RFAV",
    of: ({ layer }) => layer.channels,
  },
  {
    id: "map",
    title: "Map",
    hint: "shape of its entropy map",
    of: ({ layer }) => layer.mapShape.join(" × "),
  },
  { id: "tapped", title: "Measured at", hint: "", of: ({ layer }) => layer.tappedAt },
  {
    id: "folded",
    title: "BN folded",
    hint: "batch normalisation folded into its weights",
    of: ({ layer }) => folded(layer.batchNormFolded),
  },
  {
    id: "first",
    title: "H / ln D first",
    hint: "relative entropy at the layer's first record",
    of: ({ first }) => first,
  },
  { id: "last", title: "last", hint: `relative entropy, ${LATE}`, of: ({ last }) => last },
  {
    id: "change",
    title: "change",
    hint: "last minus first",
    of: ({ change }) => change,
    signed: true,
  },
  { id: "lowest", title: "lowest", hint: "over all epochs", of: ({ lowest }) => lowest },
  { id: "highest", title: "highest", hint: "over all epochs", of: ({ highest }) => highest },
  {
    id: "scaleFree",
    title: "scale-free",
    hint: `scale-free entropy, ${LATE}`,
    of: ({ scaleFree }) => scaleFree,
  },
  { id: "rms", title: "RMS", hint: `RMS of the activations, ${LATE}`, of: ({ rms }) => rms },
  { id: "growth", title: "RMS growth", hint: "last divided by first", of: ({ growth }) => growth },
  { id: "dead", title: "dead", hint: `share of dead channels, ${LATE}`, of: ({ dead }) => dead },
  {
    id: "notFinite",
    title: "NaN",
    hint: `share of positions, ${LATE}`,
    of: ({ notFinite }) => notFinite,
  },
  {
    id: "correlation",
    title: "mean |c|",
    hint: `of the filters, ${LATE}`,
    of: ({ correlation }) => correlation,
  },
];

function folded(known: boolean | null): string {
  return known === null ? "–" : known ? "yes" : "no";
}

/** Sorted by a column, or "-column" for descending: layers in graph order, unknown values last. */
export function sorted(lines: readonly LayerSummary[], order: string | null): LayerSummary[] {
  const descending = order?.startsWith("-") ?? false;
  const column = SUMMARY_COLUMNS.find(({ id }) => id === order?.replace("-", ""));
  if (!column) return [...lines];
  const key = column.id === "layer" ? (line: LayerSummary) => line.position : column.of;
  return [...lines].sort((a, b) => compare(key(a), key(b), descending));
}

function compare(a: string | number, b: string | number, descending: boolean): number {
  if (Number.isNaN(a) || Number.isNaN(b)) return Number(Number.isNaN(a)) - Number(Number.isNaN(b));
  const order = a < b ? -1 : a > b ? 1 : 0;
  return descending ? -order : order;
}

import type { LayerInfo, LayerTable } from "./layerTable";
import { columnIndex, valueAt } from "./layerTable";
import { moved, settled, started } from "./movement";
import { RELATIVE_ENTROPY, series, statisticOf } from "./statistics";
import { format, percent } from "./formatting";

/** A note of caution that belongs wherever a layer's entropy is shown. */
export interface Caveat {
  readonly layer: string;
  readonly text: string;
}

const FELL = 0.1; // of ln D: less may be the swing between epochs
const GREW = 4; // times: enough to move relative entropy by more than 0.1
const MANY = 0.2;

/** The caveats of a run, in graph order. */
export function caveats(table: LayerTable): Caveat[] {
  return table.layers.flatMap((layer, index) =>
    sentences(table, layer, index).map((text) => ({ layer: layer.name, text })),
  );
}

function sentences(table: LayerTable, layer: LayerInfo, index: number): string[] {
  const found = [scale(table, index), dead(table, index), notFinite(table, index)];
  if (layer.batchNormFolded) {
    found.push("Batch normalisation is folded into this layer, which changes what is measured.");
  }
  if (layer.channels === 1) {
    found.push(
      "This layer has one channel, so its entropy is 0 and its relative entropy is undefined.",
    );
  }
  return found.filter((text) => text !== null);
}

/** Entropy also falls when activations merely grow. */
function scale(table: LayerTable, layer: number): string | null {
  const rms = series(table, layer, statisticOf("rms"));
  const growth = settled(rms) / started(rms);
  const fall = -moved(series(table, layer, RELATIVE_ENTROPY));
  if (!(fall >= FELL)) return null;
  const scaleFree = moved(series(table, layer, statisticOf("scale_free_entropy")));
  const grew = growth >= GREW ? `RMS grew ${factor(growth)}` : "";
  if (scaleFree > -fall / 4) {
    const how = `scale-free entropy did not (${format(scaleFree, true)})`;
    const why = grew
      ? `; ${grew}: the activations grew, but their pattern did not become sparser`
      : "";
    return `Entropy fell by ${format(fall)} but ${how}${why}.`;
  }
  return grew
    ? `Entropy fell by ${format(fall)} while ${grew}: part of the fall is due to scale.`
    : null;
}

function factor(growth: number): string {
  return growth >= 10 ? `${growth.toFixed(0)}-fold` : `${growth.toFixed(1)}-fold`;
}

function dead(table: LayerTable, layer: number): string | null {
  const share = latest(table, layer, "dead_fraction");
  if (!(share >= MANY)) return null;
  return `${percent(share)} of its channels are dead: a layer of dead units can look dense.`;
}

function notFinite(table: LayerTable, layer: number): string | null {
  const share = latest(table, layer, "nan_share");
  if (!(share > 0)) return null;
  return `${percent(share)} of its positions hold NaN or infinity, and are left out of every mean.`;
}

/** The last finite value of a column. */
function latest(table: LayerTable, layer: number, column: string): number {
  const at = columnIndex(table, column);
  for (let step = table.steps.length - 1; step >= 0; step--) {
    const value = valueAt(table, step, layer, at);
    if (Number.isFinite(value)) return value;
  }
  return NaN;
}

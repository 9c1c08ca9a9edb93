import { onsetMarks } from "../../components/onsetMarks";
import { align } from "../../data/alignment";
import { shorten } from "../../data/formatting";
import type { Losses } from "../../data/runs";
import { epochAxis } from "../../render/axis";
import type { Line, PlotData } from "../../render/plotData";
import { dashOf, strokeOf } from "../../scale/lineStyles";
import type { State } from "../../state/state";

/** Losses over epochs: as logged and smoothed, a colour and a dash for each run. */
export function lossPlot(state: State, losses: readonly Losses[]): PlotData {
  const dark = state.dark.value;
  const known = losses.flatMap(({ epochs }) => epochs.filter((epoch) => epoch !== null));
  const epochs = [...new Set(known)].sort((a, b) => a - b);
  return {
    axis: epochAxis(state.range.value),
    x: epochs,
    lines: losses.flatMap((curve) => linesOf(state, curve, epochs, dark)),
    bands: [],
    marks: onsetMarks(state, dark),
    logarithmic: false,
    values: null,
    dark,
  };
}

function linesOf(state: State, curve: Losses, epochs: readonly number[], dark: boolean): Line[] {
  const index = state.strokeIndex(curve.run);
  const stroke = strokeOf(index, dark);
  const label = `${shorten(curve.tag, 40)}, ${shorten(curve.run, 40)}`;
  const raw: Line = {
    label,
    values: align(epochs, curve.epochs, curve.values),
    stroke: curve.sigma > 0 ? `${stroke}80` : stroke,
    width: 1,
    dash: curve.sigma > 0 ? [] : dashOf(index),
  };
  if (!(curve.sigma > 0)) return [raw];
  const smooth = align(epochs, curve.epochs, curve.smoothed);
  return [
    raw,
    { ...raw, label: `${label}, smoothed`, values: smooth, stroke, width: 2, dash: dashOf(index) },
  ];
}

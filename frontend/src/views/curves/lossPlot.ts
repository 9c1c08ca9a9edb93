import { onsetMarks } from "../../components/onsetMarks";
import { align } from "../../data/alignment";
import { shorten } from "../../data/formatting";
import type { Losses } from "../../data/runs";
import { epochAxis } from "../../render/axis";
import type { Line, PlotData } from "../../render/plotData";
import { dashOf } from "../../scale/lineStyles";
import type { State } from "../../state/state";

/** The user's scalars over epochs: as logged and smoothed, a colour and a dash for each run. */
export function lossPlot(state: State, losses: readonly Losses[], valueTitle: string): PlotData {
  const known = losses.flatMap(({ epochs }) => epochs.filter((epoch) => epoch !== null));
  const epochs = [...new Set(known)].sort((a, b) => a - b);
  return {
    axis: epochAxis(state.range.value),
    valueTitle: shorten(valueTitle, 28),
    x: epochs,
    lines: losses.flatMap((curve) => linesOf(state, curve, epochs)),
    bands: [],
    marks: onsetMarks(state, state.dark.value),
    logarithmic: false,
    values: null,
    dark: state.dark.value,
  };
}

function linesOf(state: State, curve: Losses, epochs: readonly number[]): Line[] {
  const stroke = state.runStroke(curve.run);
  const dash = dashOf(state.strokeIndex(curve.run));
  const label = `${shorten(curve.tag, 40)}, ${shorten(curve.run, 40)}`;
  const source = { quantity: curve.tag, run: curve.run, layer: null };
  const raw: Line = {
    label,
    key: curve.run,
    source: { ...source, sigma: 0 },
    values: align(epochs, curve.epochs, curve.values),
    stroke: curve.sigma > 0 ? `${stroke}80` : stroke,
    width: 1,
    dash: curve.sigma > 0 ? [] : dash,
  };
  if (!(curve.sigma > 0)) return [raw];
  const smooth: Line = {
    ...raw,
    label: `${label}, smoothed`,
    source: { ...source, sigma: curve.sigma },
    values: align(epochs, curve.epochs, curve.smoothed),
    stroke,
    width: 2,
    dash,
  };
  return [raw, smooth];
}

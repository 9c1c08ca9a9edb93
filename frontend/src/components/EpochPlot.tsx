import { useMemo } from "preact/hooks";
import type { PlotData } from "../render/plotData";
import type { State } from "../state/state";
import { useAppState } from "../state/state";
import type { PlotLinks } from "./Plot";
import { Plot } from "./Plot";

/** Lines over epochs, with the page's cursor. Drag to zoom all views, double-click for all epochs. */
export function EpochPlot(props: {
  readonly data: PlotData;
  readonly label: string;
  readonly height: number;
  /** The layer whose plot it is: chosen by a click. */
  readonly layer?: string | null;
}) {
  const state = useAppState();
  const { data, label, height, layer = null } = props;
  const links = useMemo(() => linksOf(state, layer), [state, layer]);
  return <Plot {...{ data, label, height, links }} />;
}

function linksOf(state: State, layer: string | null): PlotLinks {
  return {
    cursor: state.cursor,
    onZoom: (range) => {
      const { cell } = state.fields.zoom;
      if (!range) {
        cell.value = null;
        return;
      }
      const [lo, hi] = [Math.round(range[0]), Math.round(range[1])];
      if (hi > lo) cell.value = [lo, hi];
    },
    onPick: (epoch) => {
      state.select(layer, epoch);
    },
  };
}

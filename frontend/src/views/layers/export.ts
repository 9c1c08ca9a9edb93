import { csv } from "../../data/csv";
import { SUMMARY_COLUMNS } from "../../data/layerSummary";
import type { State } from "../../state/state";
import { LayersState } from "./LayersState";

/** The table of layers, in the order that is shown. */
export function layersCsv(state: State): string {
  const header = SUMMARY_COLUMNS.map(({ id, title }) => (id === "layer" ? "layer" : title));
  return csv(
    header,
    state
      .part(LayersState)
      .lines.peek()
      .map((one) => SUMMARY_COLUMNS.map((column) => column.of(one))),
  );
}

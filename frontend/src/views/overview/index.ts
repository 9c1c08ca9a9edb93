import "../../components/panels.css";
import type { View } from "../view";
import { overviewCsv, overviewFigure } from "./export";
import { Controls, Overview } from "./Overview";
import { OverviewState } from "./OverviewState";
import "./overview.css";

export const overview: View = {
  id: "overview",
  title: "Overview",
  hint: "Layers by epochs. Click to choose a layer and an epoch.",
  state: OverviewState,
  Controls,
  Body: Overview,
  figure: overviewFigure,
  csv: (state) =>
    overviewCsv(state.tables.peek(), state.layers.peek(), state.part(OverviewState).options.peek()),
};

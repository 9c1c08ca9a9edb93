import type { View } from "../view";
import { Controls, Curves } from "./Curves";
import "./curves.css";
import { CurvesState } from "./CurvesState";
import { curvesCsv, curvesFigure } from "./export";

export const curves: View = {
  id: "curves",
  title: "Curves",
  hint: "Drag to zoom all views, double-click to show all epochs, click to move the cursor.",
  state: CurvesState,
  Controls,
  Body: Curves,
  figure: (state) => curvesFigure(state.part(CurvesState).charts.peek()),
  csv: (state) => curvesCsv(state.part(CurvesState).charts.peek()),
};

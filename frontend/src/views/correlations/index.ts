import "../../components/panels.css";
import type { View } from "../view";
import { Controls, Correlations } from "./Correlations";
import "./correlations.css";
import { CorrelationsState } from "./CorrelationsState";
import { correlationsCsv, correlationsFigure } from "./export";

export const correlations: View = {
  id: "correlations",
  title: "Filter correlations",
  hint: "How similar the filters of the chosen layer are: Pearson coefficients of all pairs, by epoch.",
  state: CorrelationsState,
  Controls,
  Body: Correlations,
  figure: correlationsFigure,
  csv: correlationsCsv,
};

import type { View } from "../view";
import { layersCsv } from "./export";
import { LayerTable } from "./LayerTable";
import "./layers.css";
import { LayersState } from "./LayersState";

export const layers: View = {
  id: "layers",
  title: "Layers",
  hint: "What each layer is and where it ended. Click a heading to sort.",
  state: LayersState,
  Body: LayerTable,
  csv: layersCsv,
};

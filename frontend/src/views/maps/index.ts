import type { View } from "../view";
import { mapsCsv, mapsFigure } from "./export";
import { Controls, Maps } from "./Maps";
import { MapsState } from "./MapsState";
import "./maps.css";

export const maps: View = {
  id: "maps",
  title: "Entropy maps",
  hint: "Where in the input the entropy is high or low: layers by epochs, for one probe. The onset is underlined.",
  state: MapsState,
  Controls,
  Body: Maps,
  figure: mapsFigure,
  csv: mapsCsv,
};

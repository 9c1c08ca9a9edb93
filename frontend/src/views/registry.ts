import type { Fields } from "../state/fields";
import type { State } from "../state/state";
import { correlations } from "./correlations";
import { curves } from "./curves";
import { layers } from "./layers";
import { maps } from "./maps";
import { overview } from "./overview";
import type { View } from "./view";

/** The views of the page, from top to bottom. A new view is a folder beside this file and a row here. */
export const VIEWS: readonly View[] = [overview, maps, curves, correlations, layers];

/** Everything that stands in the address, by its name there. */
export function addressFields(state: State): Fields {
  const parts = VIEWS.map((view) => state.part(view.state).fields);
  return Object.assign({}, state.fields, ...parts) as Fields;
}

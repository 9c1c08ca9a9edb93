import { computed } from "@preact/signals";
import { sorted, summaries } from "../../data/layerSummary";
import { text } from "../../state/fields";
import type { State } from "../../state/state";

/** The layers of the chosen runs, and their order. */
export class LayersState {
  readonly fields = { sort: text() };

  constructor(private readonly state: State) {}

  private readonly summaries = computed(() => this.state.tables.value.flatMap(summaries));

  readonly lines = computed(() => sorted(this.summaries.value, this.fields.sort.cell.value));
}

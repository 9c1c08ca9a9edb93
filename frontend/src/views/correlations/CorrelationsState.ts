import type { ReadonlySignal } from "@preact/signals";
import { computed, signal } from "@preact/signals";
import type { Loaded } from "../../api/resources";
import { shares } from "../../data/correlationHistogram";
import { layerIndex } from "../../data/layerTable";
import type { Correlations, RunEntry } from "../../data/runs";
import { shareScale } from "../../render/scales";
import { choice } from "../../state/fields";
import { computedList } from "../../state/stableList";
import type { State } from "../../state/state";

/** The number of runs whose correlations are shown. */
export const MOST_RUNS = 12;

/** The correlations of one run, or why there are none to show. */
export interface Panel {
  readonly entry: RunEntry;
  readonly value: Correlations | null;
  readonly message: string;
}

/** The filter correlations of the chosen layer, and how they are coloured. */
export class CorrelationsState {
  readonly fields = {
    frequency: choice(["log", "linear"]),
    shares: choice(["shared", "fixed"]),
  };

  /** Whether the view is near the visible part of the page, and so worth its data. */
  readonly near = signal(false);

  constructor(private readonly state: State) {}

  readonly layer = computed(() => this.state.layer.value ?? "");

  readonly panels: ReadonlySignal<readonly Panel[]> = computed(() => {
    const { chosen, data } = this.state;
    const layer = this.layer.value;
    return chosen.value.slice(0, MOST_RUNS).map((entry) => {
      const table = data.table(entry.run).value.value;
      const known = table !== null && layerIndex(table, layer) >= 0;
      const wanted = this.near.value && known;
      const found = wanted ? data.correlation(entry.run, layer).value : null;
      const message = table && !known ? "This run has no such layer." : messageOf(found);
      return { entry, value: found?.value ?? null, message };
    });
  });

  private readonly known = computedList(() => this.panels.value.map(({ value }) => value));

  /** By panel: the share of the pairs, [steps][bins]. */
  readonly shares = computed(() => this.known.value.map((value) => (value ? shares(value) : [])));

  readonly scale = computed(() => {
    const { frequency, shares: policy } = this.fields;
    return shareScale(this.shares.value.flat(), frequency.cell.value, policy.cell.value);
  });
}

function messageOf(loaded: Loaded<Correlations> | null): string {
  if (loaded?.status === "failed") return loaded.message;
  if (!loaded?.value) return "loading …";
  return "No filter correlations were recorded for this layer.";
}

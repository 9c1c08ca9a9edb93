import type { ReadonlySignal } from "@preact/signals";
import { computed } from "@preact/signals";
import { shorten } from "../../data/formatting";
import { secondRunHint } from "../../data/runs";
import { RELATIVE_ENTROPY, statisticOf } from "../../data/statistics";
import { choice, text } from "../../state/fields";
import type { State } from "../../state/state";
import type { Matrix } from "./matrix";
import { matrixOf } from "./matrix";

/** Which statistic the overview shows, and how. */
export class OverviewState {
  readonly fields = {
    statistic: text(),
    mode: choice(["value", "change", "difference"]),
    reference: text(),
    colours: choice(["fixed", "shared", "layer"]),
  };

  constructor(private readonly state: State) {}

  /** Worked out once for the panels of all runs. */
  readonly matrix: ReadonlySignal<Matrix> = computed(() =>
    matrixOf(this.state.tables.value, this.state.layers.value, {
      statistic: statisticOf(this.fields.statistic.cell.value ?? RELATIVE_ENTROPY.id),
      mode: this.fields.mode.cell.value,
      policy: this.fields.colours.cell.value,
      reference: this.reference.value,
    }),
  );

  /** The table of the run that the others are compared with. */
  private readonly reference = computed(() => {
    if (this.fields.mode.cell.value !== "difference") return null;
    const wanted = this.fields.reference.cell.value ?? this.state.chosen.value[0]?.run;
    return wanted === undefined ? null : this.state.data.table(wanted).value.value;
  });

  /** Why there is no difference from another run to show, and what to do; or null. */
  readonly needed: ReadonlySignal<string | null> = computed(() => {
    const { chosen, entries } = this.state;
    const [first, second] = chosen.value;
    if (this.fields.mode.cell.value !== "difference" || !first) return null;
    const reference = this.fields.reference.cell.value ?? first.run;
    if (!entries.value.some(({ run }) => run === reference)) {
      return `There is no run “${shorten(reference, 60)}” to compare with: choose one under “from”.`;
    }
    if (second || reference !== first.run) return null;
    const hint = secondRunHint(entries.value.length);
    return `A difference needs a second run: ${hint}. Until then, the run is compared with itself.`;
  });
}

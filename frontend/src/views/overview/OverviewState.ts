import type { ReadonlySignal } from "@preact/signals";
import { computed } from "@preact/signals";
import { shorten } from "../../data/formatting";
import { secondRunHint } from "../../data/runs";
import { RELATIVE_ENTROPY, statisticOf } from "../../data/statistics";
import type { LayerRow } from "../../data/layerRows";
import {
  MANY_LAYERS,
  commonPrefix,
  layerRows,
  matching,
  moduleRows,
  orderOf,
} from "../../data/layerRows";
import { choice, flag, names, text } from "../../state/fields";
import type { State } from "../../state/state";
import type { Matrix, MatrixOptions } from "./matrix";
import { matrixOf } from "./matrix";

const FIRST_ROWS = 20; // of a deep network, beside the values and notes below them
const FEWER_ROWS = 10; // if the panels of several runs stand below each other

/** Which statistic the overview shows, and how. */
export class OverviewState {
  readonly fields = {
    statistic: text(),
    mode: choice(["change", "value", "difference"]),
    reference: text(),
    colours: choice(["fixed", "shared", "layer"]),
    /** Whether all layers of a deep network are shown, and which modules are open. */
    allRows: flag(false),
    open: names(),
  };

  constructor(private readonly state: State) {}

  /** Worked out once for the panels of all runs. */
  readonly matrix: ReadonlySignal<Matrix> = computed(() =>
    matrixOf(this.state.tables.value, this.rows.value, this.options.value),
  );

  readonly options: ReadonlySignal<MatrixOptions> = computed(() => ({
    statistic: statisticOf(this.fields.statistic.cell.value ?? RELATIVE_ENTROPY.id),
    mode: this.fields.mode.cell.value,
    policy: this.fields.colours.cell.value,
    reference: this.reference.value,
  }));

  /** How many rows there would be if all were shown. */
  readonly rowCount = computed(() => this.everyRow.value.length);

  private readonly everyRow: ReadonlySignal<readonly LayerRow[]> = computed(() => {
    const { layers, orderedLayers, fields } = this.state;
    const all = layers.value;
    if (orderOf(fields.order.cell.value, all.length) === "module") {
      return moduleRows(matching(all, fields.find.cell.value), this.fields.open.cell.value ?? []);
    }
    return layerRows(orderedLayers.value, commonPrefix(all));
  });

  /** The rows that are shown: of a deep network, those that changed most, and the chosen layer. */
  readonly rows: ReadonlySignal<readonly LayerRow[]> = computed(() => {
    const { layers, layer, chosen, fields } = this.state;
    const every = this.everyRow.value;
    const order = orderOf(fields.order.cell.value, layers.value.length);
    if (order !== "change" || this.fields.allRows.cell.value) return every;
    if (every.length <= MANY_LAYERS) return every;
    const most = chosen.value.length > 2 ? FEWER_ROWS : FIRST_ROWS;
    return every.filter(({ name }, at) => at < most || name === layer.value);
  });

  /** Opens a module, or folds it. */
  toggleModule(name: string): void {
    const { open } = this.fields;
    const known = open.cell.value ?? [];
    const others = known.filter((other) => other !== name);
    const next = known.includes(name) ? others : [...others, name];
    open.cell.value = next.length ? next : null;
  }

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

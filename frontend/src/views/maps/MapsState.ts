import type { ReadonlySignal } from "@preact/signals";
import { computed } from "@preact/signals";
import { defaultMapRuns } from "../../data/defaults";
import type { Probe } from "../../data/entropyMaps";
import { union } from "../../data/epochs";
import type { Probes } from "../../data/runs";
import { secondRunHint } from "../../data/runs";
import type { Mode } from "../../data/statistics";
import { RELATIVE_ENTROPY, grid } from "../../data/statistics";
import { scalesOf } from "../../render/scales";
import type { ColourScale } from "../../scale/colour";
import { choice, flag, names, real, text } from "../../state/fields";
import { computedList } from "../../state/stableList";
import type { State } from "../../state/state";
import type { MapPicture } from "./layerPictures";
import { layerPictures, pictureScale } from "./layerPictures";

const COMPARED = 16; // runs among which the two to show by default are looked for

// Percentiles over all positions: known before any map has arrived.
const PERCENTILES = ["entropy_p5", "entropy_p95"].map((column) => ({
  ...RELATIVE_ENTROPY,
  column,
}));

/** Which maps are shown, and how. */
export class MapsState {
  readonly fields = {
    probe: text(),
    maps: names(),
    mapMode: choice(["value", "change", "difference"]),
    mapColours: choice(["fixed", "shared", "layer"]),
    opacity: real(1, 0, 1),
    large: flag(false),
  };

  private defaultRuns: readonly string[] = []; // kept, so that nothing jumps while a run goes on

  constructor(private readonly state: State) {}

  /** The one or two runs whose maps are shown. */
  readonly runs: ReadonlySignal<readonly string[]> = computed(() => {
    const { state } = this;
    const chosen = state.chosen.value.map(({ run }) => run);
    const wanted = (this.fields.maps.cell.value ?? []).filter((run) => chosen.includes(run));
    if (wanted.length) return wanted.slice(0, 2);
    const before = this.defaultRuns;
    const stays = before.length === Math.min(2, chosen.length);
    if (stays && before.every((run) => chosen.includes(run))) return before;
    const compared = chosen.slice(0, COMPARED);
    if (compared.some((run) => state.data.isLoading(run))) return [];
    const tables = compared.flatMap((run) => state.data.table(run).value.value ?? []);
    const found = defaultMapRuns(tables, state.chosen.value);
    if (state.defaultsAreFinal.value) this.defaultRuns = found;
    return found;
  });

  readonly probe: ReadonlySignal<Probe> = computed(() => {
    const wanted = this.fields.probe.cell.value;
    if (wanted === "mean") return "mean";
    if (wanted !== null && /^\d{1,9}$/.test(wanted)) return Number(wanted);
    return this.probes.value?.indices[0] ?? "mean";
  });

  /** The probes to choose from: those of the first run that shows any. */
  readonly probes: ReadonlySignal<Probes | null> = computed(() => {
    const known = this.runs.value.map((run) => this.state.data.probes(run).value.value);
    return known.find((probes) => probes?.indices.length) ?? known[0] ?? null;
  });

  /** How maps are shown. A difference needs two runs. */
  readonly mode: ReadonlySignal<Mode> = computed(() => {
    const wanted = this.fields.mapMode.cell.value;
    return wanted === "difference" && this.runs.value.length < 2 ? "value" : wanted;
  });

  /** Why the maps are not shown as the difference that was asked for, and what to do; or null. */
  readonly needed: ReadonlySignal<string | null> = computed(() => {
    const [run, other] = this.runs.value;
    const wanted = this.fields.mapMode.cell.value === "difference";
    if (!wanted || run === undefined || other !== undefined) return null;
    const { chosen, entries } = this.state;
    const hint =
      chosen.value.length > 1 ? "choose one under “beside”" : secondRunHint(entries.value.length);
    return `A difference of maps needs a second run: ${hint}. Until then, the maps are shown as they are.`;
  });

  /** The pictures of each layer, from top to bottom: one for each run, or one run minus the other. */
  readonly pictures: ReadonlySignal<readonly MapPicture[]> = computed(() => {
    const [first, second] = this.runs.value;
    if (this.mode.value === "difference" && first !== undefined && second !== undefined) {
      return [{ run: first, minus: second }];
    }
    return this.runs.value.map((run) => ({ run, minus: null }));
  });

  /** The epochs in view of the runs whose maps are shown; if they are compared, those of both. */
  readonly steps: ReadonlySignal<readonly number[]> = computed(() => {
    const runs = this.runs.value;
    const lists = this.state.tables.value
      .filter(({ run }) => runs.includes(run))
      .map(({ steps }) => steps);
    const [from, to] = this.state.range.value;
    const compared = this.mode.value === "difference";
    return union(lists).filter(
      (step) =>
        step >= from && step <= to && (!compared || lists.every((list) => list.includes(step))),
    );
  });

  /**
   * Whether the range of the colours has to be found in the maps themselves. For maps as they are,
   * percentiles are recorded; but no percentile of the differences follows from two percentiles.
   */
  readonly rangeIsInMaps = computed(
    () => this.fields.mapColours.cell.value === "shared" && this.mode.value !== "value",
  );

  /** The one scale of all layers, or null if each layer has its own. */
  readonly scale: ReadonlySignal<ColourScale | null> = computed(() =>
    this.rangeIsInMaps.value ? this.scaleOfMaps.value : this.scaleOfTables.value,
  );

  private readonly scaleOfTables = computed(() => {
    const policy = this.fields.mapColours.cell.value;
    const runs = this.runs.value;
    const shown = this.state.tables.value.filter(
      ({ run }) => policy === "shared" && runs.includes(run),
    );
    const rows = shown.flatMap((table) =>
      PERCENTILES.flatMap((percentile) => grid(table, percentile, "value")),
    );
    return scalesOf([rows], RELATIVE_ENTROPY, this.mode.value, policy).common;
  });

  private readonly scaleOfMaps = computed(() => pictureScale(this.shown.value, this.mode.value));

  /** What is shown of all layers, as far as it has arrived. */
  private readonly shown = computedList(
    () =>
      this.state.layers.value
        .flatMap((layer) => layerPictures(this.state, this, layer, true))
        .flatMap(({ shown }) => shown ?? []),
    ({ maps, mode, reference }) => [maps, mode, reference],
  );
}

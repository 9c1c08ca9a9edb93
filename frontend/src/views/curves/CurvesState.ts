import type { ReadonlySignal } from "@preact/signals";
import { computed } from "@preact/signals";
import { farthest } from "../../data/movement";
import type { Losses, LossTags, RunEntry } from "../../data/runs";
import { accuracyTag } from "../../data/scores";
import type { Statistic } from "../../data/statistics";
import { RELATIVE_ENTROPY, statisticOf, withUnit } from "../../data/statistics";
import type { Chart } from "../../render/chartFigure";
import type { PlotData } from "../../render/plotData";
import { COLOURS } from "../../scale/lineStyles";
import { flag, names, text } from "../../state/fields";
import { computedList } from "../../state/stableList";
import type { State } from "../../state/state";
import { lossPlot } from "./lossPlot";
import { layersPlot, runsPlot } from "./statisticPlot";

const LINES = 160; // more cannot be told apart, and take long to draw

/** The number of runs whose losses are loaded. */
export const LOSS_RUNS = 32;

/** Heights of the plots in CSS pixels: of one run, of one layer among several, of the losses. */
export const PLOT_HEIGHT = 300;
export const SMALL_HEIGHT = 170;
export const LOSS_HEIGHT = 200;

/** One plot of the statistic: of all layers, or of one layer if several runs are shown. */
export interface CurvePlot {
  readonly layer: string | null;
  readonly data: PlotData;
}

/** A scalar of the user's that stands for a run's validation loss or accuracy. */
interface Chosen {
  readonly tag: string;
  /** The run that it is borrowed from. */
  readonly lender: string | null;
}

/** Which statistic and which loss are drawn, of which layers. */
export class CurvesState {
  readonly fields = {
    curve: text(),
    curveLayers: names(),
    band: flag(false),
  };

  private defaultLayers: readonly string[] = []; // kept, so that nothing jumps while a run goes on

  constructor(private readonly state: State) {}

  readonly statistic: ReadonlySignal<Statistic> = computed(() =>
    statisticOf(this.fields.curve.cell.value ?? RELATIVE_ENTROPY.id),
  );

  /** Whether the spread of the chosen layer is drawn. */
  readonly banded = computed(
    () => this.fields.band.cell.value && this.statistic.value.spread !== null,
  );

  /** The layers that are drawn: chosen ones, all if there are few, or those that had moved farthest. */
  readonly layers: ReadonlySignal<readonly string[]> = computed(() => {
    const { layer, layers, defaultsAreFinal } = this.state;
    const all = layers.value;
    const wanted = this.fields.curveLayers.cell.value;
    if (wanted) return all.filter((name) => wanted.includes(name));
    if (all.length <= COLOURS) return all;
    let found = this.defaultLayers.filter((name) => all.includes(name));
    if (!found.length) found = this.farthestLayers(all);
    if (defaultsAreFinal.value) this.defaultLayers = found;
    return all.filter((name) => found.includes(name) || name === layer.value);
  });

  private farthestLayers(layers: readonly string[]): string[] {
    const moves = layers.map((name) => this.state.largestMove(name));
    return farthest(moves, COLOURS - 2, 0).map((at) => layers[at] ?? "");
  }

  /** The number of runs whose curves are drawn. */
  readonly mostRuns = computed(() =>
    Math.max(2, Math.floor(LINES / Math.max(1, this.layers.value.length))),
  );

  private readonly tables = computedList(() =>
    this.state.tables.value.slice(0, this.mostRuns.value),
  );

  /** Of one run, a plot of all layers; of several, one for each layer. */
  readonly plots: ReadonlySignal<readonly CurvePlot[]> = computed(() => {
    const tables = this.tables.value;
    const layers = this.layers.value;
    const [table] = tables;
    const options = {
      statistic: this.statistic.value,
      layers,
      chosen: this.state.layer.value,
      banded: this.banded.value,
    };
    if (!table) return [];
    if (tables.length < 2) return [{ layer: null, data: layersPlot(this.state, table, options) }];
    return layers.map((layer) => ({ layer, data: runsPlot(this.state, tables, layer, options) }));
  });

  /** The runs whose losses are loaded. */
  readonly lossRuns: ReadonlySignal<readonly RunEntry[]> = computed(() =>
    this.state.chosen.value.slice(0, LOSS_RUNS),
  );

  /** The losses, as far as they have arrived. */
  readonly losses: ReadonlySignal<readonly Losses[]> = computedList(() =>
    this.curvesOf((known) => this.tagAmong(known)),
  );

  /** The accuracies on held-out data, where they were logged. */
  readonly accuracies: ReadonlySignal<readonly Losses[]> = computedList(() =>
    this.curvesOf(({ tags }) => accuracyTag(tags)),
  );

  private curvesOf(tagOf: (known: LossTags) => string | null): Losses[] {
    const { data, fields } = this.state;
    const sigma = fields.sigma.cell.value;
    return this.lossRuns.value.flatMap(({ run }) => {
      const chosen = this.chosenOf(run, tagOf);
      return chosen === null ? [] : (data.losses(run, { ...chosen, sigma }).value.value ?? []);
    });
  }

  /** A run's own scalar, or else the lender's. */
  private chosenOf(run: string, tagOf: (known: LossTags) => string | null): Chosen | null {
    const { data, fields } = this.state;
    const known = data.lossTags(run, null).value.value;
    if (!known) return null;
    const own = tagOf(known);
    if (own !== null) return { tag: own, lender: null };
    const lender = fields.lender.cell.value;
    const lent = lender === null ? null : data.lossTags(run, lender).value.value;
    const tag = lent ? tagOf(lent) : null;
    return tag === null ? null : { tag, lender };
  }

  private tagAmong({ tags, guess }: LossTags): string | null {
    const wanted = this.state.fields.loss.cell.value;
    return wanted !== null && tags.includes(wanted) ? wanted : guess;
  }

  /** The run that lends this one its loss, or null. */
  lenderOf(run: string): string | null {
    return this.chosenOf(run, (known) => this.tagAmong(known))?.lender ?? null;
  }

  /** The runs that have no loss, not even a borrowed one. */
  readonly withoutLoss = computedList(() =>
    this.lossRuns.value
      .map(({ run }) => run)
      .filter(
        (run) =>
          this.state.data.lossTags(run, null).value.status === "ready" &&
          this.chosenOf(run, (known) => this.tagAmong(known)) === null,
      ),
  );

  readonly lossTitle = computed(() => titleOf(this.losses.value));
  readonly accuracyTitle = computed(() => titleOf(this.accuracies.value));

  readonly lossPlot: ReadonlySignal<PlotData> = computed(() =>
    lossPlot(this.state, this.losses.value, this.lossTitle.value),
  );

  readonly accuracyPlot: ReadonlySignal<PlotData> = computed(() =>
    lossPlot(this.state, this.accuracies.value, this.accuracyTitle.value),
  );

  /** The plots that have lines, as they are exported. */
  readonly charts: ReadonlySignal<readonly Chart[]> = computed(() => {
    const { title, unit } = this.statistic.value;
    const name = withUnit(title, unit);
    const plots = this.plots.value.map(({ layer, data }): Chart => ({
      title: layer ?? name,
      data,
      height: layer === null ? PLOT_HEIGHT : SMALL_HEIGHT,
      small: layer !== null,
    }));
    const losses = [
      { title: this.lossTitle.value, data: this.lossPlot.value, height: LOSS_HEIGHT },
      { title: this.accuracyTitle.value, data: this.accuracyPlot.value, height: LOSS_HEIGHT },
    ];
    return [...plots, ...losses].filter(({ data }) => data.lines.length);
  });
}

function titleOf(curves: readonly Losses[]): string {
  return [...new Set(curves.map(({ tag }) => tag))].join(", ");
}

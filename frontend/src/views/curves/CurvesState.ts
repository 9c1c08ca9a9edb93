import type { ReadonlySignal } from "@preact/signals";
import { computed } from "@preact/signals";
import { farthest } from "../../data/movement";
import type { Losses, RunEntry } from "../../data/runs";
import type { Statistic } from "../../data/statistics";
import { RELATIVE_ENTROPY, statisticOf, withUnit } from "../../data/statistics";
import type { Chart } from "../../render/chartFigure";
import type { PlotData } from "../../render/plotData";
import { COLOURS } from "../../scale/lineStyles";
import { flag, names, real, text } from "../../state/fields";
import { computedList } from "../../state/stableList";
import type { State } from "../../state/state";
import { lossPlot } from "./lossPlot";
import { statisticPlot } from "./statisticPlot";

const LINES = 160; // more cannot be told apart, and take long to draw

/** The number of runs whose losses are loaded. */
export const LOSS_RUNS = 32;

/** Heights of the plots in CSS pixels. */
export const PLOT_HEIGHT = 300;
export const LOSS_HEIGHT = 190;

/** Which statistic and which loss are drawn, of which layers. */
export class CurvesState {
  readonly fields = {
    curve: text(),
    curveLayers: names(),
    band: flag(false),
    loss: text(),
    sigma: real(2, 0, 100),
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

  readonly plot: ReadonlySignal<PlotData> = computed(() =>
    statisticPlot(this.state, this.tables.value, {
      statistic: this.statistic.value,
      layers: this.layers.value,
      chosen: this.state.layer.value,
      banded: this.banded.value,
    }),
  );

  /** The runs whose losses are loaded. */
  readonly lossRuns: ReadonlySignal<readonly RunEntry[]> = computed(() =>
    this.state.chosen.value.slice(0, LOSS_RUNS),
  );

  /** The losses, as far as they have arrived. */
  readonly losses: ReadonlySignal<readonly Losses[]> = computedList(() => {
    const { data } = this.state;
    const sigma = this.fields.sigma.cell.value;
    return this.lossRuns.value.flatMap(({ run }) => {
      const tag = this.lossTag(run);
      return tag === null ? [] : (data.losses(run, tag, sigma).value.value ?? []);
    });
  });

  /** The tag whose curve stands for a run's validation loss: chosen, or else guessed. */
  lossTag(run: string): string | null {
    const wanted = this.fields.loss.cell.value;
    const known = this.state.data.lossTags(run).value.value;
    if (!known) return null;
    return wanted !== null && known.tags.includes(wanted) ? wanted : known.guess;
  }

  readonly lossPlot: ReadonlySignal<PlotData> = computed(() =>
    lossPlot(this.state, this.losses.value),
  );

  readonly lossTitle = computed(() =>
    [...new Set(this.losses.value.map(({ tag }) => tag))].join(", "),
  );

  /** The plots that have lines, as they are exported. */
  readonly charts: ReadonlySignal<readonly Chart[]> = computed(() => {
    const { title, unit } = this.statistic.value;
    const charts = [
      { title: withUnit(title, unit), data: this.plot.value, height: PLOT_HEIGHT },
      { title: this.lossTitle.value, data: this.lossPlot.value, height: LOSS_HEIGHT },
    ];
    return charts.filter(({ data }) => data.lines.length);
  });
}

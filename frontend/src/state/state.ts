import type { ReadonlySignal } from "@preact/signals";
import { batch, computed, signal } from "@preact/signals";
import { createContext } from "preact";
import { useContext } from "preact/hooks";
import type { Provider } from "../api/provider";
import { defaultRuns } from "../data/defaults";
import type { Range } from "../data/epochs";
import { nearest, stepBy, union } from "../data/epochs";
import type { LayerTable } from "../data/layerTable";
import { layerIndex, layerNames } from "../data/layerTable";
import { ORDERS, commonPrefix, matching, moduleRows, orderOf } from "../data/layerRows";
import { farthest, moved } from "../data/movement";
import type { LossChoice, Onset, Onsets, RunEntry } from "../data/runs";
import { SIGMA, guessedOnsets } from "../data/runs";
import { RELATIVE_ENTROPY, series } from "../data/statistics";
import { COLOURS, runStroke } from "../scale/lineStyles";
import type { Fields } from "./fields";
import { choice, names, range, real, text, whole } from "./fields";
import { RunData } from "./runData";
import { computedList } from "./stableList";

const NO_ONSETS: Onsets = new Map();
const DEFAULT_RUNS = 4; // more than these are chosen by hand

/** What a view adds to the state: its part of the address, and what follows from it. */
export interface ViewState {
  readonly fields: Fields;
}

export type ViewStateClass<S extends ViewState = ViewState> = new (state: State) => S;

/** The state of the page: what all views share, what has been loaded, and what follows from both. */
export class State {
  /** What all views share of the address. */
  readonly fields = {
    runs: names(),
    layer: text(),
    epoch: whole(),
    zoom: range(),
    /** Which curve stands for the validation loss, its smoothing, and who lends one. */
    loss: text(),
    sigma: real(SIGMA, 0, 100),
    lender: text(),
    /** In which order layers are listed, and which are looked for. */
    order: choice(ORDERS),
    find: text(),
    /** The folded views. */
    closed: names(),
  };
  readonly data: RunData;
  readonly dark = signal(false);
  readonly playing = signal(false);

  private readonly parts = new Map<ViewStateClass, ViewState>();

  // What the page chose by itself. It is kept, so that nothing jumps while a run goes on.
  private defaultRuns: readonly string[] = [];
  private defaultLayer: string | null = null;

  constructor(provider: Provider) {
    this.data = new RunData(provider);
  }

  /** A view's own part of the state. */
  part<S extends ViewState>(kind: ViewStateClass<S>): S {
    const part = this.parts.get(kind) ?? new kind(this);
    this.parts.set(kind, part);
    return part as S;
  }

  /** All runs that have Sparsight data. */
  readonly entries: ReadonlySignal<readonly RunEntry[]> = computed(
    () => this.data.index.value.value?.runs ?? [],
  );

  /** The chosen runs, in the order of the index. By default, runs that were shown stay. */
  readonly chosen: ReadonlySignal<readonly RunEntry[]> = computed(() => {
    const wanted = this.fields.runs.cell.value;
    const entries = this.entries.value;
    if (wanted) return entries.filter(({ run }) => wanted.includes(run));
    const found = defaultRuns(entries, DEFAULT_RUNS, this.defaultRuns);
    if (this.indexIsComplete.value) this.defaultRuns = found.map(({ run }) => run);
    return found;
  });

  private readonly indexIsComplete = computed(() => this.data.index.value.value?.loading === false);

  /**
   * Whether what the page chose by movement may be kept: the tables of all chosen runs have
   * arrived, and at least one has a second record, since nothing has moved before that.
   */
  readonly defaultsAreFinal = computed(
    () =>
      this.indexIsComplete.value &&
      !this.chosen.value.some(({ run }) => this.data.isLoading(run)) &&
      this.tables.value.some(({ steps }) => steps.length > 1),
  );

  /** The tables of the chosen runs, as far as they have arrived. */
  readonly tables: ReadonlySignal<readonly LayerTable[]> = computed(() =>
    this.chosen.value
      .map(({ run }) => this.data.table(run).value.value)
      .filter((table) => table !== null),
  );

  readonly steps = computed(() => union(this.tables.value.map((table) => table.steps)));

  /** All epochs of the chosen runs. */
  readonly fullRange: ReadonlySignal<Range> = computed(() => {
    const steps = this.steps.value;
    return [steps[0] ?? 0, steps[steps.length - 1] ?? 0];
  });

  /** The epochs in view. */
  readonly range: ReadonlySignal<Range> = computed(() => {
    const [first, last] = this.fullRange.value;
    const zoom = this.fields.zoom.cell.value;
    if (!zoom || zoom[0] >= last || zoom[1] <= first) return [first, last];
    return [Math.max(first, Math.round(zoom[0])), Math.min(last, Math.round(zoom[1]))];
  });

  /** The epoch that all views show: the newest one until it is moved. */
  readonly cursor = computed(() => {
    const steps = this.steps.value;
    const wanted = this.fields.epoch.cell.value;
    const last = steps[steps.length - 1] ?? 0;
    return wanted === null ? last : (steps[nearest(steps, wanted)] ?? wanted);
  });

  /** Names of the layers of all chosen runs, in graph order. */
  readonly layers = computed(() => layerNames(this.tables.value));

  /** The chosen layer; by default, the one that had moved farthest when it was first shown. */
  readonly layer: ReadonlySignal<string | null> = computed(() => {
    const layers = this.layers.value;
    for (const known of [this.fields.layer.cell.value, this.defaultLayer]) {
      if (known !== null && layers.includes(known)) return known;
    }
    const movements = layers.map((name) => this.largestMove(name));
    const found = layers[farthest(movements, 1, 0)[0] ?? 0] ?? null;
    if (this.defaultsAreFinal.value) this.defaultLayer = found;
    return found;
  });

  /** Which curve stands for each run's validation loss. */
  readonly lossChoice: ReadonlySignal<LossChoice> = computed(() => ({
    tag: this.fields.loss.cell.value,
    sigma: this.fields.sigma.cell.value,
    lender: this.fields.lender.cell.value,
  }));

  /** Where the validation loss of each run turned, for the loss and the smoothing that are chosen. */
  readonly onsets: ReadonlySignal<Onsets> = computed(() => {
    const choice = this.lossChoice.value;
    const guessed = choice.tag === null && choice.lender === null && choice.sigma === SIGMA;
    if (guessed) return guessedOnsets(this.entries.value);
    return this.data.onsets(choice).value.value ?? NO_ONSETS;
  });

  /** Where the validation loss of a run turned, or null. */
  onsetOf(run: string): Onset | null {
    return this.onsets.value.get(run) ?? null;
  }

  /** The layers that are looked for, in the order that is chosen: as all views list them. */
  readonly orderedLayers = computedList(() => {
    const { order, find } = this.fields;
    const found = matching(this.layers.value, find.cell.value);
    const kind = orderOf(order.cell.value, this.layers.value.length);
    if (kind === "graph") return found;
    if (kind === "module") return moduleRows(found, []).flatMap(({ layers }) => layers);
    const rank = this.ranks.value;
    return [...found].sort((a, b) => (rank.get(a) ?? 0) - (rank.get(b) ?? 0));
  });

  // Kept while the runs and the layers stay, so that rows do not change places while a run goes on.
  private knownRanks: { of: string; ranks: ReadonlyMap<string, number> } | null = null;

  /** The place of each layer among those whose relative entropy moved most. */
  private readonly ranks = computed(() => {
    const layers = this.layers.value;
    const of = JSON.stringify([layers, this.tables.value.map(({ run }) => run)]);
    if (this.knownRanks?.of === of) return this.knownRanks.ranks;
    const moves = layers.map((name) => this.largestMove(name));
    const order = farthest(moves, layers.length, 0);
    const ranks = new Map(order.map((at, rank) => [layers[at] ?? "", rank]));
    if (this.defaultsAreFinal.value) this.knownRanks = { of, ranks };
    return ranks;
  });

  private readonly prefix = computed(() => commonPrefix(this.layers.value));

  /** A layer's name without what all layers' names begin with. */
  layerLabel(name: string): string {
    const prefix = this.prefix.value;
    return name.startsWith(prefix) ? name.slice(prefix.length) : name;
  }

  /** How far a layer's relative entropy moved in the chosen run where it moved most. */
  largestMove(layer: string): number {
    const moves = this.tables.value.map((table) =>
      Math.abs(moved(series(table, layerIndex(table, layer), RELATIVE_ENTROPY))),
    );
    return Math.max(0, ...moves.filter(Number.isFinite));
  }

  /** A run's dash and colour: its own while there are few runs, else its place among the chosen. */
  strokeIndex(run: string): number {
    const all = this.entries.value;
    const among = all.length <= COLOURS ? all : this.chosen.value;
    const at = among.findIndex((entry) => entry.run === run);
    return Math.max(0, at);
  }

  /** The colour of a run's lines. */
  runStroke(run: string): string {
    return runStroke(this.strokeIndex(run), this.dark.value);
  }

  select(layer: string | null, epoch: number | null = null): void {
    batch(() => {
      if (layer !== null) this.fields.layer.cell.value = layer;
      if (epoch !== null) this.moveTo(epoch);
    });
  }

  /** Moves the cursor to an epoch. On the newest one it follows a live run. */
  moveTo(epoch: number): void {
    const steps = this.steps.peek();
    const at = nearest(steps, epoch);
    this.fields.epoch.cell.value = at >= steps.length - 1 ? null : (steps[at] ?? null);
  }

  moveCursor(by: number): void {
    this.moveTo(stepBy(this.steps.peek(), this.cursor.peek(), by));
  }

  moveLayer(by: number): void {
    const layers = this.orderedLayers.peek();
    const at = layers.indexOf(this.layer.peek() ?? "") + by;
    this.select(layers[Math.max(0, Math.min(layers.length - 1, at))] ?? null);
  }

  toggleRun(run: string): void {
    const chosen = this.chosen.peek().map((entry) => entry.run);
    this.fields.runs.cell.value = chosen.includes(run)
      ? chosen.filter((name) => name !== run)
      : [...chosen, run];
  }
}

const StateContext = createContext<State | null>(null);
export const StateProvider = StateContext.Provider;

/** The state of the page around a component. */
export function useAppState(): State {
  const state = useContext(StateContext);
  if (!state) throw new Error("useAppState needs a StateProvider around it");
  return state;
}

/** A view's own part of the state of the page. */
export function useViewState<S extends ViewState>(kind: ViewStateClass<S>): S {
  return useAppState().part(kind);
}

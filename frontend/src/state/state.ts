import type { ReadonlySignal } from "@preact/signals";
import { batch, computed, signal } from "@preact/signals";
import { createContext } from "preact";
import { useContext } from "preact/hooks";
import * as address from "./address";
import type { Provider } from "../api/provider";
import type { Loaded } from "../api/resources";
import { Resources } from "../api/resources";
import type { Range } from "../data/epochs";
import { nearest, stepBy, union } from "../data/epochs";
import type { LayerMaps, Probe } from "../data/entropyMaps";
import { farthest, moved } from "../data/movement";
import type { Correlations, Index, Losses, LossTags, Probes, RunEntry } from "../data/runs";
import type { Mode } from "../data/statistics";
import { RELATIVE_ENTROPY, series } from "../data/statistics";
import type { LayerTable } from "../data/layerTable";
import { layerNames } from "../data/layerTable";
import { firstRuns, tellingPair } from "../data/defaults";
import { shorten } from "../data/formatting";
import { COLOURS } from "../scale/lineStyles";

const FIRST_RUNS = 4; // shown where nobody chose: more are chosen by hand
const COMPARED = 16; // runs among which those with the most telling maps are looked for

/** The view: everything that stands in the address. */
function viewFields() {
  return {
    runs: address.names(),
    layer: address.text(),
    epoch: address.whole(),
    zoom: address.range(),
    statistic: address.text(),
    mode: address.choice(["value", "change", "difference"]),
    reference: address.text(),
    colours: address.choice(["fixed", "shared", "layer"]),
    probe: address.text(),
    maps: address.names(),
    mapMode: address.choice(["value", "change", "difference"]),
    mapColours: address.choice(["fixed", "shared", "layer"]),
    opacity: address.real(1, 0, 1),
    large: address.flag(false),
    curve: address.text(),
    curveLayers: address.names(),
    band: address.flag(false),
    loss: address.text(),
    sigma: address.real(2, 0, 100),
    frequency: address.choice(["log", "linear"]),
    shares: address.choice(["shared", "fixed"]),
    sort: address.text(),
    closed: address.names(),
  };
}

export type View = ReturnType<typeof viewFields>;

/** The maps of a run, or what they have more than those of another. */
export interface MapPicture {
  readonly run: string;
  readonly less: string | null;
}

/** What to do where one run is chosen of so many. */
function secondRun(runs: number): string {
  if (runs > 1) return "tick another one above";
  return "record another one below this log directory, and tick it above";
}

/** The state of the page: the view, what was loaded, and what follows from both. */
export class State {
  readonly fields: View = viewFields();
  readonly resources = new Resources();
  readonly dark = signal(false);
  readonly playing = signal(false);
  /** The last poll found no server. */
  readonly lost = signal<string | null>(null);

  readonly index: ReadonlySignal<Loaded<Index>>;

  // What the page chose for the reader: it stays, so that nothing jumps while a run goes on.
  private firstRuns: readonly string[] = [];
  private firstMaps: readonly string[] = [];
  private firstLayer: string | null = null;

  constructor(private readonly provider: Provider) {
    this.index = this.resources.get("index", (signal) => provider.index(signal));
  }

  /** All runs that have our data. */
  readonly entries: ReadonlySignal<readonly RunEntry[]> = computed(
    () => this.index.value.value?.runs ?? [],
  );

  /** The chosen runs, in the index's order. While nobody chose, a run that was shown stays. */
  readonly chosen: ReadonlySignal<readonly RunEntry[]> = computed(() => {
    const wanted = this.fields.runs.cell.value;
    const entries = this.entries.value;
    if (wanted) return entries.filter(({ run }) => wanted.includes(run));
    const first = firstRuns(entries, FIRST_RUNS, this.firstRuns);
    if (this.index.value.value?.loading === false) this.firstRuns = first.map(({ run }) => run);
    return first;
  });

  /** Whether all there is of the chosen runs' tables has arrived. */
  readonly complete = computed(
    () =>
      this.index.value.value?.loading === false &&
      !this.chosen.value.some(({ run }) => this.isLoading(run)),
  );

  /**
   * Whether what the page chooses by movement may stay: all has arrived, and of a run that has only
   * begun there is a second record, as nothing has moved before.
   */
  readonly telling = computed(
    () => this.complete.value && this.tables.value.some(({ steps }) => steps.length > 1),
  );

  /** The tables of the chosen runs that have arrived. */
  readonly tables: ReadonlySignal<readonly LayerTable[]> = computed(() =>
    this.chosen.value
      .map(({ run }) => this.table(run).value.value)
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

  /** The epoch that all views show; the newest one while nobody has moved it. */
  readonly cursor = computed(() => {
    const steps = this.steps.value;
    const wanted = this.fields.epoch.cell.value;
    const last = steps[steps.length - 1] ?? 0;
    return wanted === null ? last : (steps[nearest(steps, wanted)] ?? wanted);
  });

  /** Names of the layers of all chosen runs, in graph order. */
  readonly layers = computed(() => layerNames(this.tables.value));

  /** The chosen layer; the one that had moved farthest when it was first shown while nobody chose. */
  readonly layer: ReadonlySignal<string | null> = computed(() => {
    const layers = this.layers.value;
    for (const known of [this.fields.layer.cell.value, this.firstLayer]) {
      if (known !== null && layers.includes(known)) return known;
    }
    const movements = layers.map((name) => this.largestMove(name));
    const first = layers[farthest(movements, 1, 0)[0] ?? 0] ?? null;
    if (this.telling.value) this.firstLayer = first;
    return first;
  });

  readonly probe: ReadonlySignal<Probe> = computed(() => {
    const wanted = this.fields.probe.cell.value;
    if (wanted === "mean") return "mean";
    if (wanted !== null && /^\d{1,9}$/.test(wanted)) return Number(wanted);
    return this.shownProbes.value?.indices[0] ?? "mean";
  });

  /** The probes to choose from: of the first run that shows some. */
  readonly shownProbes: ReadonlySignal<Probes | null> = computed(() => {
    const known = this.mapRuns.value.map((run) => this.probes(run).value.value);
    return known.find((probes) => probes?.indices.length) ?? known[0] ?? null;
  });

  /** The one or two runs whose maps are shown; those that told most at first while nobody chose. */
  readonly mapRuns: ReadonlySignal<readonly string[]> = computed(() => {
    const chosen = this.chosen.value.map(({ run }) => run);
    const wanted = (this.fields.maps.cell.value ?? []).filter((run) => chosen.includes(run));
    if (wanted.length) return wanted.slice(0, 2);
    const first = this.firstMaps;
    const stays = first.length === Math.min(2, chosen.length);
    if (stays && first.every((run) => chosen.includes(run))) return first;
    const compared = chosen.slice(0, COMPARED);
    if (compared.some((run) => this.isLoading(run))) return [];
    const tables = compared.flatMap((run) => this.table(run).value.value ?? []);
    const pair = tellingPair(tables, this.chosen.value);
    if (this.telling.value) this.firstMaps = pair;
    return pair;
  });

  /** How maps are shown; a difference needs two runs. */
  readonly mapMode: ReadonlySignal<Mode> = computed(() => {
    const wanted = this.fields.mapMode.cell.value;
    return wanted === "difference" && this.mapRuns.value.length < 2 ? "value" : wanted;
  });

  /** Why the maps are not shown as the difference that was asked for, and what to do; else null. */
  readonly mapsAlone: ReadonlySignal<string | null> = computed(() => {
    const [run, other] = this.mapRuns.value;
    const wanted = this.fields.mapMode.cell.value === "difference";
    if (!wanted || run === undefined || other !== undefined) return null;
    const choose =
      this.chosen.value.length > 1
        ? "choose one under “beside”"
        : secondRun(this.entries.value.length);
    return `A difference of maps needs a second run: ${choose}. Until then they are shown as they are.`;
  });

  /** Why the overview shows no difference from another run, and what to do; else null. */
  readonly overviewAlone: ReadonlySignal<string | null> = computed(() => {
    const [first, second] = this.chosen.value;
    if (this.fields.mode.cell.value !== "difference" || !first) return null;
    const reference = this.fields.reference.cell.value ?? first.run;
    if (!this.entries.value.some(({ run }) => run === reference)) {
      return `There is no run “${shorten(reference, 60)}” to compare with: choose one under “from”.`;
    }
    if (second || reference !== first.run) return null;
    const choose = secondRun(this.entries.value.length);
    return `A difference needs a second run: ${choose}. Until then the run is compared with itself.`;
  });

  /** What stands below each other for each layer: a run a picture, or one run less the other. */
  readonly mapPictures: ReadonlySignal<readonly MapPicture[]> = computed(() => {
    const [first, second] = this.mapRuns.value;
    if (this.mapMode.value === "difference" && first !== undefined && second !== undefined) {
      return [{ run: first, less: second }];
    }
    return this.mapRuns.value.map((run) => ({ run, less: null }));
  });

  /** The epochs in view of the runs whose maps are shown; of both where they are compared. */
  readonly mapSteps: ReadonlySignal<readonly number[]> = computed(() => {
    const runs = this.mapRuns.value;
    const lists = this.tables.value
      .filter(({ run }) => runs.includes(run))
      .map(({ steps }) => steps);
    const [from, to] = this.range.value;
    const compared = this.mapMode.value === "difference";
    return union(lists).filter(
      (step) =>
        step >= from && step <= to && (!compared || lists.every((list) => list.includes(step))),
    );
  });

  table(run: string): ReadonlySignal<Loaded<LayerTable>> {
    return this.resources.get<LayerTable>(
      `layers ${run}`,
      (signal, known) => this.provider.layers(run, signal, known),
      (table) => table.values.byteLength,
    );
  }

  maps(run: string, layer: string, probe: Probe): ReadonlySignal<Loaded<LayerMaps>> {
    return this.resources.get<LayerMaps>(
      `maps ${JSON.stringify([run, layer, probe])}`,
      (signal, known) => this.provider.maps(run, layer, probe, signal, known),
      ({ codes }) => codes.byteLength,
    );
  }

  probes(run: string): ReadonlySignal<Loaded<Probes>> {
    return this.resources.get(`probes ${run}`, (signal) => this.provider.probes(run, signal));
  }

  correlation(run: string, layer: string): ReadonlySignal<Loaded<Correlations>> {
    return this.resources.get<Correlations>(
      `correlation ${JSON.stringify([run, layer])}`,
      (signal, known) => this.provider.correlation(run, layer, signal, known),
      ({ counts }) => counts.byteLength,
    );
  }

  lossTags(run: string): ReadonlySignal<Loaded<LossTags>> {
    return this.resources.get(`tags ${run}`, (signal) => this.provider.lossTags(run, signal));
  }

  losses(run: string, tag: string, sigma: number): ReadonlySignal<Loaded<Losses>> {
    const key = `losses ${JSON.stringify([run, tag, sigma])}`;
    return this.resources.get(key, (signal) => this.provider.losses(run, tag, sigma, signal));
  }

  /** The value of something asked for, once it has arrived. Rejects with its sentence. */
  arrived<T>(cell: ReadonlySignal<Loaded<T>>): Promise<T> {
    return new Promise((done, fail) => {
      // The first call comes before `stop` is known.
      let over = false;
      let stop: (() => void) | null = null;
      stop = cell.subscribe((loaded) => {
        if (over || loaded.status === "loading") return;
        over = true;
        queueMicrotask(() => stop?.());
        if (loaded.status === "ready") done(loaded.value);
        else fail(new Error(loaded.message));
      });
    });
  }

  /** The tag whose curve stands for a run's validation loss: chosen, else guessed. */
  lossTag(run: string): string | null {
    const wanted = this.fields.loss.cell.value;
    const tags = this.lossTags(run).value.value;
    if (!tags) return null;
    return wanted !== null && tags.tags.includes(wanted) ? wanted : tags.guess;
  }

  /** A run's dash and colour: its own as long as there are few, else its place among the chosen. */
  strokeIndex(run: string): number {
    const all = this.entries.value;
    const among = all.length <= COLOURS ? all : this.chosen.value;
    const at = among.findIndex((entry) => entry.run === run);
    return Math.max(0, at);
  }

  select(layer: string | null, epoch: number | null = null): void {
    batch(() => {
      if (layer !== null) this.fields.layer.cell.value = layer;
      if (epoch !== null) this.moveTo(epoch);
    });
  }

  /** Puts the cursor on an epoch; on the newest one it follows a live run. */
  moveTo(epoch: number): void {
    const steps = this.steps.peek();
    const at = nearest(steps, epoch);
    this.fields.epoch.cell.value = at >= steps.length - 1 ? null : (steps[at] ?? null);
  }

  moveCursor(by: number): void {
    this.moveTo(stepBy(this.steps.peek(), this.cursor.peek(), by));
  }

  moveLayer(by: number): void {
    const layers = this.layers.peek();
    const at = layers.indexOf(this.layer.peek() ?? "") + by;
    this.select(layers[Math.max(0, Math.min(layers.length - 1, at))] ?? null);
  }

  toggleRun(run: string): void {
    const chosen = this.chosen.peek().map((entry) => entry.run);
    this.fields.runs.cell.value = chosen.includes(run)
      ? chosen.filter((name) => name !== run)
      : [...chosen, run];
  }

  /** Asks whether anything changed, and loads anew what is looked at if so. */
  async poll(): Promise<void> {
    try {
      const version = await this.provider.version(AbortSignal.timeout(20_000));
      const known = this.index.peek().value?.version;
      if (version !== known || this.lost.peek() !== null) this.resources.refresh();
      this.lost.value = null;
    } catch (error) {
      this.lost.value = error instanceof Error ? error.message : String(error);
    }
  }

  /** Whether a run's table is on its way for the first time. */
  private isLoading(run: string): boolean {
    const { status, value } = this.table(run).value;
    return status === "loading" && value === null;
  }

  private largestMove(layer: string): number {
    const moves = this.tables.value.map((table) => {
      const at = table.layers.findIndex(({ name }) => name === layer);
      return Math.abs(moved(series(table, at, RELATIVE_ENTROPY)));
    });
    return Math.max(0, ...moves.filter(Number.isFinite));
  }
}

const StateContext = createContext<State | null>(null);
export const StateProvider = StateContext.Provider;

/** The state of the page around a view. */
export function useAppState(): State {
  const state = useContext(StateContext);
  if (!state) throw new Error("a view stands outside of the page's state");
  return state;
}

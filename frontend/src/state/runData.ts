import type { ReadonlySignal } from "@preact/signals";
import { signal } from "@preact/signals";
import type { Provider } from "../api/provider";
import type { Loaded } from "../api/resources";
import { Resources } from "../api/resources";
import type { LayerMaps, Probe } from "../data/entropyMaps";
import type { LayerTable } from "../data/layerTable";
import type {
  Correlations,
  Index,
  LossChoice,
  Losses,
  LossTags,
  Onsets,
  Probes,
} from "../data/runs";

const TIMEOUT = 20_000; // milliseconds

/** What has been loaded from the server. Each item is loaded when something first looks at it. */
export class RunData {
  readonly index: ReadonlySignal<Loaded<Index>>;
  /** Why the last poll failed, or null. */
  readonly lost = signal<string | null>(null);
  private readonly resources = new Resources();

  constructor(private readonly provider: Provider) {
    this.index = this.resources.get("index", (signal) => provider.index(signal));
  }

  table(run: string): ReadonlySignal<Loaded<LayerTable>> {
    return this.resources.get<LayerTable>(
      `layers ${run}`,
      (signal, known) => this.provider.layers(run, signal, known),
      (table) => table.values.byteLength,
    );
  }

  /** Whether a run's table is being loaded for the first time. */
  isLoading(run: string): boolean {
    const { status, value } = this.table(run).value;
    return status === "loading" && value === null;
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

  lossTags(run: string, lender: string | null): ReadonlySignal<Loaded<LossTags>> {
    return this.resources.get(`tags ${JSON.stringify([run, lender])}`, (signal) =>
      this.provider.lossTags(run, lender, signal),
    );
  }

  losses(run: string, choice: LossChoice & { tag: string }): ReadonlySignal<Loaded<Losses>> {
    const key = `losses ${JSON.stringify([run, choice.tag, choice.sigma, choice.lender])}`;
    return this.resources.get(key, (signal) => this.provider.losses(run, choice, signal));
  }

  onsets(choice: LossChoice): ReadonlySignal<Loaded<Onsets>> {
    const key = `onsets ${JSON.stringify([choice.tag, choice.sigma, choice.lender])}`;
    return this.resources.get(key, (signal) => this.provider.onsets(choice, signal));
  }

  /** The value of an item, once it has arrived. Rejects with the sentence that says why not. */
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

  /** Asks the server whether anything has changed and, if so, reloads what is being looked at. */
  async poll(): Promise<void> {
    try {
      const version = await this.provider.version(AbortSignal.timeout(TIMEOUT));
      const known = this.index.peek().value?.version;
      if (version !== known || this.lost.peek() !== null) this.resources.refresh();
      this.lost.value = null;
    } catch (error) {
      this.lost.value = error instanceof Error ? error.message : String(error);
    }
  }
}

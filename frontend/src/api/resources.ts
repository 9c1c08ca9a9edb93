import type { ReadonlySignal, Signal } from "@preact/signals";
import { batch, signal } from "@preact/signals";

/** Something being loaded, perhaps with an older value while a newer one is on its way. */
export type Loaded<T> =
  | { readonly status: "loading"; readonly value: T | null }
  | { readonly status: "ready"; readonly value: T }
  | { readonly status: "failed"; readonly value: T | null; readonly message: string };

type Load<T> = (signal: AbortSignal, known: T | null) => Promise<T>;

interface Entry {
  readonly refresh: () => void;
  readonly stop: () => void;
  watched: boolean;
  stale: boolean;
  bytes: number;
  used: number;
  readonly cell: ReadonlySignal<unknown>;
}

const MANY = 8; // loads under way; from so many on, what arrives is shown in batches
const TOGETHER = 150; // milliseconds between two batches

const BUDGET = 192 * 2 ** 20; // bytes kept, so that the page stays under 500 MB

/**
 * What has been asked of the server, by key. An entry is loaded when something first looks at it and
 * reloaded on `refresh` while something still does. It is given up if nothing looks at it any more
 * before it has arrived. If memory is short, entries are forgotten, the longest unused first.
 */
export class Resources {
  private readonly entries = new Map<string, Entry>();
  private readonly arrived: (() => void)[] = [];
  private running = 0;
  private clock = 0;

  constructor(private readonly budget = BUDGET) {}

  /**
   * The value under this key. `load` gets it, given the older value if there is one, and `sizeOf`
   * counts its bytes.
   */
  get<T>(
    key: string,
    load: Load<T>,
    sizeOf: (value: T) => number = () => 1000,
  ): ReadonlySignal<Loaded<T>> {
    const known = this.entries.get(key);
    if (known) return known.cell as ReadonlySignal<Loaded<T>>;
    const entry = this.entry(load, sizeOf);
    this.entries.set(key, entry);
    return entry.cell as ReadonlySignal<Loaded<T>>;
  }

  /** Everything may have changed: reloads what is being looked at now, and the rest when it is next. */
  refresh(): void {
    for (const entry of this.entries.values()) {
      entry.stale = true;
      if (entry.watched) entry.refresh();
    }
  }

  private entry<T>(load: Load<T>, sizeOf: (value: T) => number): Entry {
    let running: AbortController | null = null;
    const refresh = (): void => {
      running?.abort();
      const mine = (running = new AbortController());
      entry.stale = false;
      const arrive = (take: () => void): void => {
        this.running--;
        this.deliver(() => {
          if (mine.signal.aborted) return;
          running = null;
          take();
        });
      };
      this.running++;
      load(mine.signal, cell.peek().value).then(
        (value) => {
          arrive(() => {
            entry.bytes = sizeOf(value);
            cell.value = { status: "ready", value };
            this.evict();
          });
        },
        (error: unknown) => {
          arrive(() => {
            entry.stale = true;
            const message = error instanceof Error ? error.message : String(error);
            cell.value = { status: "failed", value: cell.peek().value, message };
          });
        },
      );
    };
    const cell: Signal<Loaded<T>> = signal<Loaded<T>>(
      { status: "loading", value: null },
      {
        watched: () => {
          entry.watched = true;
          entry.used = ++this.clock;
          if (entry.stale) refresh();
        },
        unwatched: () => {
          entry.watched = false;
          entry.stop();
        },
      },
    );
    const stop = (): void => {
      if (!running) return;
      running.abort();
      running = null;
      entry.stale = true;
    };
    const entry: Entry = { refresh, stop, watched: false, stale: true, bytes: 0, used: 0, cell };
    return entry;
  }

  /** Shows what has arrived: at once or, if much is on its way, together with what comes next. */
  private deliver(take: () => void): void {
    this.arrived.push(take);
    if (this.arrived.length > 1) return;
    const flush = (): void => {
      const all = this.arrived.splice(0);
      batch(() => {
        for (const each of all) each();
      });
    };
    if (this.running < MANY) flush();
    else setTimeout(flush, TOGETHER);
  }

  private evict(): void {
    let total = 0;
    for (const entry of this.entries.values()) total += entry.bytes;
    if (total <= this.budget) return;
    const idle = [...this.entries].filter(([, entry]) => !entry.watched);
    idle.sort(([, a], [, b]) => a.used - b.used);
    for (const [key, entry] of idle) {
      if (total <= this.budget) return;
      total -= entry.bytes;
      this.entries.delete(key);
    }
  }
}

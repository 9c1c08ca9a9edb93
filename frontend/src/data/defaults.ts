import { moved } from "./movement";
import type { RunEntry } from "./runs";
import { RELATIVE_ENTROPY, series } from "./statistics";
import type { LayerTable } from "./layerTable";

const NOTICEABLE = 0.1; // of ln D: a smaller fall may be the swing between epochs

/**
 * The runs to begin with, in the order of the index: half of them overfit, half do not. Those that
 * were `shown` before are among them, whatever has become of them since.
 */
export function defaultRuns(
  entries: readonly RunEntry[],
  count: number,
  shown: readonly string[] = [],
): readonly RunEntry[] {
  const kept = entries.filter(({ run }) => shown.includes(run));
  if (kept.length) {
    const others = entries.filter((entry) => !kept.includes(entry));
    const more = defaultRuns(others, count - kept.length);
    return entries.filter((entry) => kept.includes(entry) || more.includes(entry));
  }
  const overfitting = entries.filter(({ onset }) => onset !== null);
  const others = entries.filter(({ onset }) => onset === null);
  const half = Math.floor(count / 2);
  const few = Math.min(others.length, Math.max(half, count - overfitting.length));
  const first = new Set([...overfitting.slice(0, count - few), ...others.slice(0, few)]);
  return entries.filter((entry) => first.has(entry));
}

/**
 * The run whose maps are shown by default, and the one to show beside it. The first is the run whose
 * entropy fell most, among those with an onset if there are any. The second is the run whose entropy
 * fell least, among those measured on the same probes; if others fell hardly more, it is the one with
 * the most epochs in common, as a run that was analysed from its checkpoints has few. There are fewer
 * than two names if there are fewer runs.
 */
export function defaultMapRuns(
  tables: readonly LayerTable[],
  entries: readonly RunEntry[],
): readonly string[] {
  const known = tables.map((table) => ({
    run: table.run,
    steps: table.steps,
    fall: largestFall(table),
    entry: entries.find(({ run }) => run === table.run),
  }));
  const onsets = known.filter(({ entry }) => entry?.onset !== null);
  const first = best(onsets.length ? onsets : known, ({ fall }) => fall);
  if (!first) return [];
  const others = known.filter((one) => one !== first);
  const alike = others.filter(({ entry }) => entry?.probeDigest === first.entry?.probeDigest);
  const comparable = alike.length ? alike : others;
  const least = Math.min(...comparable.map(({ fall }) => fall));
  const second = best(
    comparable.filter(({ fall }) => fall < least + NOTICEABLE),
    ({ steps, fall }) => inCommon(first.steps, steps) - fall, // which is less than one epoch
  );
  return second ? [first.run, second.run] : [first.run];
}

/** How far relative entropy fell in the layer where it fell most; 0 if hardly at all. */
function largestFall(table: LayerTable): number {
  const falls = table.layers.map((_, layer) => -moved(series(table, layer, RELATIVE_ENTROPY)));
  const most = Math.max(0, ...falls.filter(Number.isFinite));
  return most >= NOTICEABLE ? most : 0;
}

function inCommon(a: Int32Array, b: Int32Array): number {
  const steps = new Set(a);
  return b.filter((step) => steps.has(step)).length;
}

/** The first of those with the highest score. */
function best<T>(items: readonly T[], score: (item: T) => number): T | undefined {
  return items.reduce<T | undefined>(
    (top, item) => (top === undefined || score(item) > score(top) ? item : top),
    undefined,
  );
}

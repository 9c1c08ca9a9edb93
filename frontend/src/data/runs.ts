import type { Recorded } from "./records";
import { count } from "./formatting";

/** One run, as the index describes it. */
export interface RunEntry {
  readonly run: string;
  readonly steps: number;
  readonly firstStep: number | null;
  readonly lastStep: number | null;
  readonly layers: number;
  readonly probeDigest: string | null;
  readonly probeCount: number | null;
  readonly lossTag: string | null;
  readonly onset: number | null;
  readonly warnings: readonly string[];
}

export interface Index {
  readonly version: string;
  /** TensorBoard is still reading the log directory. */
  readonly loading: boolean;
  readonly runs: readonly RunEntry[];
  readonly warnings: readonly string[];
}

/** The shown probes of a run. */
export interface Probes {
  readonly run: string;
  readonly digest: string | null;
  readonly count: number;
  readonly kind: "image" | "series" | "none";
  readonly indices: readonly number[];
  readonly items: readonly (string | readonly number[])[];
  readonly warnings: readonly string[];
}

/** Whether a shown probe is a PNG image, as a data URL. */
export function isImage(item: Probes["items"][number] | undefined): item is string {
  return typeof item === "string" && item.startsWith("data:image/png;base64,");
}

/** One of the user's own losses, aligned with the recorded epochs. */
export interface Losses {
  readonly run: string;
  readonly tag: string;
  readonly sigma: number;
  /** By what it is aligned; null if it cannot be, and then no epoch is known. */
  readonly alignedBy: string | null;
  readonly epochs: readonly (number | null)[];
  readonly values: readonly (number | null)[];
  readonly smoothed: readonly (number | null)[];
  readonly onset: { readonly epoch: number; readonly loss: number } | null;
}

export interface LossTags {
  readonly run: string;
  readonly tags: readonly string[];
  readonly guess: string | null;
}

/** Pairs of filters by Pearson coefficient, [steps, 201]; bins centred on -1.00 … 1.00. */
export interface Correlations extends Recorded {
  readonly run: string;
  readonly layer: string;
  readonly counts: Int32Array;
}

export const BINS = 201;

/** "61 of 61 epochs": how many of a run's epochs are shown. */
export function epochsText(shown: number, entry: RunEntry): string {
  return `${shown} of ${count(entry.steps, "epoch")}`;
}

/** Why runs cannot be compared, or null. */
export function probesDiffer(entries: readonly RunEntry[]): string | null {
  const digests = new Set(entries.map((entry) => entry.probeDigest).filter((d) => d !== null));
  if (digests.size < 2) return null;
  return "These runs were measured on different probe sets: their entropies cannot be compared directly.";
}

/** How to get a second run, given how many have been recorded. */
export function secondRunHint(recorded: number): string {
  if (recorded > 1) return "tick another one above";
  return "record another one in this log directory and tick it above";
}

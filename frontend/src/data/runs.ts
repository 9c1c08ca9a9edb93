import type { Recorded } from "./records";
import { count, epochText } from "./formatting";

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
  readonly onsetInterval: readonly [number, number] | null;
  readonly warnings: readonly string[];
}

/** Where a validation loss turned. */
export interface Onset {
  readonly epoch: number;
  /** The epochs around it whose smoothed loss is within 2% of the lowest, both ends included. */
  readonly first: number;
  readonly last: number;
}

/** Where each run's validation loss turned; runs where it did not are not among them. */
export type Onsets = ReadonlyMap<string, Onset>;

/** Which curve stands for a run's validation loss, and how it is smoothed. */
export interface LossChoice {
  /** Its tag; null for the one that is guessed. */
  readonly tag: string | null;
  /** Width of the Gaussian in epochs. */
  readonly sigma: number;
  /** The run whose curve is borrowed by runs that have none. */
  readonly lender: string | null;
}

export const SIGMA = 2; // epochs, unless another smoothing is chosen

export interface Index {
  readonly version: string;
  /** TensorBoard is still reading the log directory. */
  readonly loading: boolean;
  readonly runs: readonly RunEntry[];
  /** Runs, measured or not, whose validation loss can be borrowed. */
  readonly lenders: readonly string[];
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
  readonly onset: (Onset & { readonly loss: number }) | null;
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

/** "onset 14 (12 – 17)": the epoch, and the interval that it lies in. */
export function onsetText({ epoch, first, last }: Onset): string {
  const interval =
    first < last ? ` (${epochText(Math.round(first))} – ${epochText(Math.round(last))})` : "";
  return `onset ${epochText(epoch)}${interval}`;
}

/** The onsets that the index tells: those of the guessed losses. */
export function guessedOnsets(entries: readonly RunEntry[]): Onsets {
  return new Map(
    entries.flatMap(({ run, onset, onsetInterval }) => {
      if (onset === null) return [];
      const [first, last] = onsetInterval ?? [onset, onset];
      return [[run, { epoch: onset, first, last }] as const];
    }),
  );
}

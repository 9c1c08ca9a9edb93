import type { ReadonlySignal, Signal } from "@preact/signals";
import { batch, effect, signal } from "@preact/signals";
import { readHash, writeHash } from "../data/urlHash";

/** One value of the view, and how it stands in the address. */
export interface Field<T> {
  readonly cell: Signal<T>;
  readonly start: T;
  readonly encode: (value: T) => string | null;
  readonly decode: (text: string) => T | undefined;
}

function field<T>(
  start: T,
  encode: (value: T) => string | null,
  decode: (text: string) => T | undefined,
): Field<T> {
  return { cell: signal(start), start, encode, decode };
}

export const text = (): Field<string | null> =>
  field<string | null>(
    null,
    (value) => value,
    (found) => found,
  );

export const choice = <T extends string>(options: readonly [T, ...T[]]): Field<T> =>
  field<T>(
    options[0],
    (value) => value,
    (found) => options.find((option) => option === found),
  );

export const flag = (start: boolean): Field<boolean> =>
  field(
    start,
    (value) => (value ? "1" : "0"),
    (found) => (found === "1" ? true : found === "0" ? false : undefined),
  );

export const whole = (): Field<number | null> =>
  field<number | null>(
    null,
    (value) => (value === null ? null : String(value)),
    (found) => (/^-?\d{1,9}$/.test(found) ? Number(found) : undefined),
  );

export const real = (start: number, lo: number, hi: number): Field<number> =>
  field(start, String, (found) => {
    const value = Number(found);
    return found !== "" && value >= lo && value <= hi ? value : undefined;
  });

export const names = (): Field<readonly string[] | null> =>
  field<readonly string[] | null>(
    null,
    (value) => (value === null ? null : JSON.stringify(value)),
    (found) => {
      try {
        const list: unknown = JSON.parse(found);
        if (Array.isArray(list)) return list.filter((name) => typeof name === "string");
      } catch {
        // not ours
      }
      return undefined;
    },
  );

export const range = (): Field<readonly [number, number] | null> =>
  field<readonly [number, number] | null>(
    null,
    (value) => (value === null ? null : value.join(":")),
    (found) => {
      const [lo, hi] = found.split(":").map(Number);
      return lo !== undefined && hi !== undefined && hi > lo ? [lo, hi] : undefined;
    },
  );

// eslint-disable-next-line @typescript-eslint/no-explicit-any -- fields of any type, side by side
export type Fields = Readonly<Record<string, Field<any>>>;

const PREFIX = "p.sparsity.";

/** Keeps fields and the address of the page (TensorBoard's, around our frame) in step. */
export function keepInAddress(fields: Fields, ready: ReadonlySignal<boolean>): () => void {
  const page = outerWindow();
  let known = ""; // our part of the address, as we last read or wrote it
  const read = (): void => {
    const found = readHash(page.location.hash, PREFIX);
    known = partOf(page);
    batch(() => {
      for (const [name, { cell, start, decode }] of Object.entries(fields)) {
        const given = found.get(name);
        const value: unknown = given === undefined ? undefined : decode(given);
        cell.value = value ?? (start as unknown);
      }
    });
  };
  read();
  page.addEventListener("hashchange", read);
  let timer = 0;
  const save = (values: ReadonlyMap<string, string>): void => {
    // Somebody else has just changed our part: the event that says so is on its way.
    if (partOf(page) !== known) return;
    write(page, values);
    known = partOf(page);
  };
  const stop = effect(() => {
    const values = encoded(fields);
    window.clearTimeout(timer);
    if (ready.value)
      timer = window.setTimeout(() => {
        save(values);
      }, 150);
  });
  return () => {
    window.clearTimeout(timer);
    stop();
    page.removeEventListener("hashchange", read);
  };
}

function encoded(fields: Fields): Map<string, string> {
  const values = new Map<string, string>();
  for (const [name, { cell, start, encode }] of Object.entries(fields)) {
    const value: unknown = cell.value;
    const text = value === start ? null : encode(value);
    if (text !== null) values.set(name, text);
  }
  return values;
}

function partOf(page: Window): string {
  return JSON.stringify([...readHash(page.location.hash, PREFIX)].sort());
}

// Replaced, not pushed: moving the cursor is no page to go back to.
function write(page: Window, values: ReadonlyMap<string, string>): void {
  const hash = writeHash(page.location.hash, PREFIX, values);
  if (hash === page.location.hash) return;
  const url = new URL(page.location.href);
  url.hash = hash;
  page.history.replaceState(page.history.state, "", url);
}

/** TensorBoard's window where the page runs in its frame, else our own. */
export function outerWindow(): Window {
  try {
    return window.parent.location.href === "" ? window : window.parent;
  } catch {
    return window; // framed by another origin
  }
}

import type { ReadonlySignal } from "@preact/signals";
import { batch, effect } from "@preact/signals";
import { readHash, writeHash } from "../data/urlHash";
import type { Fields } from "./fields";

const PREFIX = "p.sparsity.";

/** Keeps the fields and the address of the page (TensorBoard's, around our frame) in step. */
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
    // Someone else has just changed our part; the event that announces it is on its way.
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

// Replaced, not pushed: the back button should not retrace every move of the cursor.
function write(page: Window, values: ReadonlyMap<string, string>): void {
  const hash = writeHash(page.location.hash, PREFIX, values);
  if (hash === page.location.hash) return;
  const url = new URL(page.location.href);
  url.hash = hash;
  page.history.replaceState(page.history.state, "", url);
}

/** TensorBoard's window if the page runs in its frame, otherwise our own. */
export function outerWindow(): Window {
  try {
    return window.parent.location.href === "" ? window : window.parent;
  } catch {
    return window; // framed by another origin
  }
}

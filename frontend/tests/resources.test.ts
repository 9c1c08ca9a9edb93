import { expect, it } from "vitest";
import { Resources } from "../src/api/resources";

const settled = () => new Promise((done) => setTimeout(done, 0));

it("loads what is looked at, once, and nothing else", async () => {
  const resources = new Resources();
  let loads = 0;
  const load = () => Promise.resolve(++loads);
  const cell = resources.get("a", load);
  expect(loads).toBe(0);
  const seen: unknown[] = [];
  const stop = cell.subscribe((entry) => seen.push(entry.value));
  resources.get("a", load).subscribe(() => undefined)();
  await settled();
  expect(loads).toBe(1);
  expect(seen).toEqual([null, 1]);
  stop();
});

it("loads anew on refresh while somebody looks, keeping the old value until then", async () => {
  const resources = new Resources();
  let value = 1;
  const cell = resources.get("a", () => Promise.resolve(value));
  const seen: unknown[] = [];
  const stop = cell.subscribe((entry) => seen.push(entry.value));
  await settled();
  value = 2;
  resources.refresh();
  await settled();
  stop();
  value = 3;
  resources.refresh();
  await settled();
  expect(seen).toEqual([null, 1, 2]);
  const again = cell.subscribe((entry) => seen.push(entry.value));
  await settled();
  expect(seen).toEqual([null, 1, 2, 2, 3]);
  again();
});

it("keeps the last value where loading fails, and says why", async () => {
  const resources = new Resources();
  let broken = false;
  const cell = resources.get("a", () =>
    broken ? Promise.reject(new Error("no such run")) : Promise.resolve(7),
  );
  const stop = cell.subscribe(() => undefined);
  await settled();
  broken = true;
  resources.refresh();
  await settled();
  expect(cell.peek()).toEqual({ status: "failed", value: 7, message: "no such run" });
  stop();
});

it("gives up what nobody waits for any more", async () => {
  const resources = new Resources();
  const signals: AbortSignal[] = [];
  const cell = resources.get("a", (signal) => {
    signals.push(signal);
    return new Promise<number>(() => undefined);
  });
  cell.subscribe(() => undefined)();
  expect(signals[0]?.aborted).toBe(true);
  const stop = cell.subscribe(() => undefined);
  expect(signals).toHaveLength(2);
  expect(signals[1]?.aborted).toBe(false);
  stop();
  await settled();
});

it("forgets the longest unused where memory is short, never what is looked at", async () => {
  const resources = new Resources(350);
  const loads: string[] = [];
  const get = (key: string) =>
    resources.get(
      key,
      () => {
        loads.push(key);
        return Promise.resolve(key);
      },
      () => 100,
    );
  const kept = get("kept").subscribe(() => undefined);
  await settled();
  for (const key of ["old", "new"]) {
    const stop = get(key).subscribe(() => undefined);
    await settled();
    stop();
  }
  const last = get("last").subscribe(() => undefined);
  await settled();
  for (const key of ["kept", "new", "old"]) {
    const stop = get(key).subscribe(() => undefined);
    await settled();
    stop();
  }
  expect(loads).toEqual(["kept", "old", "new", "last", "old"]);
  kept();
  last();
});

import { readdirSync } from "node:fs";
import { expect, it } from "vitest";
import { syntheticProvider } from "../src/api/syntheticProvider";
import { State } from "../src/state/state";
import { CorrelationsState } from "../src/views/correlations/CorrelationsState";
import { VIEWS, addressFields } from "../src/views/registry";

const ids = VIEWS.map(({ id }) => id);

it("each view is a folder, and each folder a view", () => {
  const folders = readdirSync(new URL("../src/views", import.meta.url), { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => name);
  expect([...ids].sort()).toEqual(folders.sort());
});

it("no two values have the same name in the address", () => {
  const state = new State(syntheticProvider());
  const parts = [state.fields, ...VIEWS.map((view) => state.part(view.state).fields)];
  const names = parts.flatMap((fields) => Object.keys(fields));
  expect(new Set(names).size).toBe(names.length);
  expect(Object.keys(addressFields(state))).toEqual(names);
});

it("a view has one state, whoever asks for it", () => {
  const state = new State(syntheticProvider());
  for (const view of VIEWS) expect(state.part(view.state)).toBe(state.part(view.state));
});

it.each(VIEWS)("$id writes the numbers behind it", async ({ csv }) => {
  const state = new State(syntheticProvider());
  const correlations = state.part(CorrelationsState);
  correlations.near.value = true;
  correlations.panels.subscribe(() => undefined);
  state.tables.subscribe(() => undefined);
  await expect
    .poll(() => correlations.panels.value.filter(({ value }) => value).length)
    .toBeGreaterThan(1);
  const [header = "", ...lines] = (await csv(state)).trim().split("\r\n");
  const columns = header.split(",").length;
  expect(columns).toBeGreaterThan(1);
  expect(lines.length).toBeGreaterThan(1);
  for (const line of lines.slice(0, 20)) {
    expect(line.replace(/"[^"]*"/g, "").split(",")).toHaveLength(columns);
  }
});

import { signal } from "@preact/signals";
import { expect, it } from "vitest";
import { computedList } from "../src/state/stableList";

it("a list stays the same object for as long as it holds the same items", () => {
  const source = signal([1, 2]);
  const list = computedList(() => source.value);
  const before = list.value;
  source.value = [1, 2];
  expect(list.value).toBe(before);
  source.value = [1, 3];
  expect(list.value).toEqual([1, 3]);
  source.value = [];
  expect(list.value).toEqual([]);
});

it("items may be compared by their parts", () => {
  const maps = {};
  const source = signal([{ maps, step: 1 }]);
  const list = computedList(
    () => source.value,
    (item) => [item.maps],
  );
  const before = list.value;
  source.value = [{ maps, step: 2 }];
  expect(list.value).toBe(before);
  source.value = [{ maps: {}, step: 2 }];
  expect(list.value).not.toBe(before);
});

import type { ReadonlySignal } from "@preact/signals";
import { computed } from "@preact/signals";
import { useRef } from "preact/hooks";

/**
 * Lists that stay the same object for as long as they hold the same items, so that whatever is
 * worked out from them is not worked out again. Items are the same if all their `parts` are.
 */
type PartsOf<T> = (item: T) => readonly unknown[];

const itself = (item: unknown): readonly unknown[] => [item];

/** A list that follows from signals. */
export function computedList<T>(
  list: () => readonly T[],
  parts: PartsOf<T> = itself,
): ReadonlySignal<readonly T[]> {
  let known: readonly T[] = [];
  return computed(() => (known = stable(known, list(), parts)));
}

/** A list within a component. */
export function useStableList<T>(list: readonly T[], parts: PartsOf<T> = itself): readonly T[] {
  const known = useRef(list);
  return (known.current = stable(known.current, list, parts));
}

function stable<T>(known: readonly T[], list: readonly T[], partsOf: PartsOf<T>): readonly T[] {
  const before = known.flatMap(partsOf);
  const now = list.flatMap(partsOf);
  const same = before.length === now.length && now.every((part, at) => part === before[at]);
  return same ? known : list;
}

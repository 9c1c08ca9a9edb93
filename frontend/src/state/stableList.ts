import { useRef } from "preact/hooks";

/** The same list as long as it holds the same things, so that what is made of it is kept too. */
export function useKept<T>(list: readonly T[]): readonly T[] {
  const kept = useRef(list);
  const before = kept.current;
  if (before.length !== list.length || list.some((item, at) => item !== before[at])) {
    kept.current = list;
  }
  return kept.current;
}

import type { RefObject } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";

/** An element's width in CSS pixels; 0 until it is known. It is not measured while the page is hidden. */
export function useWidth<E extends HTMLElement>(): [RefObject<E | null>, number] {
  const element = useRef<E>(null);
  const [width, setWidth] = useState(0);
  useLayoutEffect(() => {
    const observed = element.current;
    if (!observed) return;
    const measure = (): void => {
      if (window.innerHeight > 0) setWidth(Math.floor(observed.clientWidth));
    };
    const observer = new ResizeObserver(measure);
    observer.observe(observed);
    measure();
    return () => {
      observer.disconnect();
    };
  }, []);
  return [element, width];
}

/** Whether an element is near the visible part of the page, and so worth its data. */
export function useNear<E extends HTMLElement>(margin = "300px"): [RefObject<E | null>, boolean] {
  const element = useRef<E>(null);
  const [near, setNear] = useState(false);
  useEffect(() => {
    const observed = element.current;
    if (!observed) return;
    const observer = new IntersectionObserver(
      (entries) => {
        const last = entries[entries.length - 1];
        if (last && window.innerHeight > 0) setNear(last.isIntersecting);
      },
      // Within TensorBoard's frame, a margin counts only around a root that is given.
      { root: document, rootMargin: `${margin} 0px` },
    );
    observer.observe(observed);
    return () => {
      observer.disconnect();
    };
  }, [margin]);
  return [element, near];
}

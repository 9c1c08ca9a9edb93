import { effect } from "@preact/signals";
import { outerWindow } from "../state/address";
import type { State } from "../state/state";

/** Follows TensorBoard's dark mode or, without TensorBoard around the page, the browser's. */
export function followTheme(state: State): void {
  const outer = outerWindow();
  const system = window.matchMedia("(prefers-color-scheme: dark)");
  const read = (): void => {
    state.dark.value =
      outer === window ? system.matches : outer.document.body.classList.contains("dark-mode");
  };
  read();
  system.addEventListener("change", read);
  if (outer !== window) {
    const observer = new MutationObserver(read);
    observer.observe(outer.document.body, { attributes: true, attributeFilter: ["class"] });
  }
  effect(() => {
    document.documentElement.classList.toggle("dark", state.dark.value);
  });
}

import { computed } from "@preact/signals";
import { render as draw } from "preact";
import { keepInAddress } from "./state/address";
import { httpProvider } from "./api/http";
import type { Provider } from "./api/provider";
import "./style/tokens.css";
import "./style/base.css";
import { App } from "./page/App";
import { State } from "./state/state";
import { addressFields } from "./views/registry";
import { followTheme } from "./page/theme";

const POLL = 4000; // milliseconds between two polls

/** Starts the page on any provider. */
export function start(provider: Provider): State {
  const state = new State(provider);
  const ready = computed(() => state.data.index.value.value !== null);
  keepInAddress(addressFields(state), ready);
  followTheme(state);
  const root = document.createElement("div");
  root.className = "sparsight";
  document.body.append(root);
  draw(<App state={state} />, root);
  poll(state);
  return state;
}

/** Polls the server while the page can be seen. A hidden tab has height 0. */
function poll(state: State): void {
  const look = (): void => {
    const visible = document.visibilityState === "visible" && window.innerHeight > 0;
    if (visible) void state.data.poll();
    else state.playing.value = false;
  };
  window.setInterval(look, POLL);
  document.addEventListener("visibilitychange", look);
}

/**
 * What TensorBoard calls, without arguments, once it has loaded this module in an iframe of its own
 * origin. Its content policy allows inline styles, data: and blob: images and workers of the same
 * origin; it blocks blob: workers and everything external.
 */
export async function render(): Promise<void> {
  document.title = "Sparsity";
  document.documentElement.lang = "en";
  await styled();
  start(httpProvider(new URL("../", here)));
}

const here = import.meta.url;

/** Adds our style sheet and waits for it, since sizes are measured at the first drawing. */
function styled(): Promise<void> {
  const link = document.createElement("link");
  link.rel = "stylesheet";
  link.href = new URL("index.css", here).href;
  return new Promise((done) => {
    link.onload = link.onerror = () => {
      done();
    };
    document.head.append(link);
  });
}

// index.html loads this module with "?render", since it has no script of its own to call it.
if (new URL(here).searchParams.has("render")) void render();

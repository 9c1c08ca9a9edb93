import { computed } from "@preact/signals";
import { render as draw } from "preact";
import { keepInAddress } from "./state/address";
import { httpProvider } from "./api/http";
import type { Provider } from "./api/provider";
import { App } from "./page/App";
import { State } from "./state/state";
import "./style/style.css";
import "uplot/dist/uPlot.min.css";
import { followTheme } from "./page/theme";

const POLL = 4000; // milliseconds between two looks for news

/** Starts the page with any provider. */
export function start(provider: Provider): State {
  const state = new State(provider);
  const ready = computed(() => state.index.value.value !== null);
  keepInAddress(state.fields, ready);
  followTheme(state);
  const root = document.createElement("div");
  root.className = "sparsight";
  document.body.append(root);
  draw(<App state={state} />, root);
  poll(state);
  return state;
}

/** Looks for news while somebody can see it: a hidden tab has height 0. */
function poll(state: State): void {
  const look = (): void => {
    const visible = document.visibilityState === "visible" && window.innerHeight > 0;
    if (visible) void state.poll();
    else state.playing.value = false;
  };
  window.setInterval(look, POLL);
  document.addEventListener("visibilitychange", look);
}

/** What TensorBoard calls, without arguments, once it has loaded this module. */
export async function render(): Promise<void> {
  document.title = "Sparsity";
  await styled();
  start(httpProvider(new URL("../", here)));
}

const here = import.meta.url;

/** Adds our style sheet and waits for it: sizes are measured at the first drawing. */
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

// index.html loads this module with "?render", having no script of its own to call it.
if (new URL(here).searchParams.has("render")) void render();

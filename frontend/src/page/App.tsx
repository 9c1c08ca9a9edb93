import { useEffect } from "preact/hooks";
import { CursorBar } from "../components/CursorBar";
import { usePlayback } from "../components/playback";
import { Tooltip } from "../components/Tooltip";
import type { State } from "../state/state";
import { StateProvider } from "../state/state";
import { VIEWS } from "../views/registry";
import { onKey } from "./keyboard";
import { NoRuns } from "./NoRuns";
import "./page.css";
import { RunBar } from "./RunBar";
import { Section } from "./Section";
import { Warnings } from "./Warnings";

/** The whole page. */
export function App({ state }: { readonly state: State }) {
  useEffect(() => {
    const listener = (event: KeyboardEvent): void => {
      onKey(state, event);
    };
    document.addEventListener("keydown", listener);
    return () => {
      document.removeEventListener("keydown", listener);
    };
  }, [state]);
  usePlayback(state);
  return (
    <StateProvider value={state}>
      <Page state={state} />
      <Tooltip />
    </StateProvider>
  );
}

function Page({ state }: { readonly state: State }) {
  const index = state.data.index.value;
  if (!index.value) {
    return (
      <main class="empty" aria-busy={index.status === "loading"}>
        <p class="muted">{index.status === "failed" ? index.message : "Reading the runs …"}</p>
      </main>
    );
  }
  if (!index.value.runs.length) {
    return (
      <>
        <Warnings />
        <NoRuns />
      </>
    );
  }
  return (
    <>
      <header class="top">
        <h1 class="unseen">Sparsity</h1>
        <RunBar />
        <CursorBar />
      </header>
      <main>
        <Warnings />
        {state.chosen.value.length ? (
          VIEWS.map((view) => <Section key={view.id} view={view} />)
        ) : (
          <p class="muted empty">Choose a run above.</p>
        )}
      </main>
    </>
  );
}

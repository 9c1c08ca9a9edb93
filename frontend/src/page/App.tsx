import { useEffect } from "preact/hooks";
import { Correlations } from "../views/correlations/Correlations";
import { Curves } from "../views/curves/Curves";
import { CursorBar } from "../components/CursorBar";
import { Empty } from "./NoRuns";
import { LayerTable } from "../views/layers/LayerTable";
import { Maps } from "../views/maps/Maps";
import { Overview } from "../views/overview/Overview";
import { usePlay } from "../components/playback";
import { RunBar, Warnings } from "./RunBar";
import { Tooltip } from "../components/Tooltip";
import { onKey } from "./keyboard";
import type { State } from "../state/state";
import { StateProvider } from "../state/state";

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
  usePlay(state);
  return (
    <StateProvider value={state}>
      <Page state={state} />
      <Tooltip />
    </StateProvider>
  );
}

function Page({ state }: { readonly state: State }) {
  const index = state.index.value;
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
        <Empty />
      </>
    );
  }
  return (
    <>
      <div class="top">
        <RunBar />
        <CursorBar />
      </div>
      <Warnings />
      <main>
        {state.chosen.value.length ? (
          <>
            <Overview />
            <Maps />
            <Curves />
            <Correlations />
            <LayerTable />
          </>
        ) : (
          <p class="muted empty">Choose a run above.</p>
        )}
      </main>
    </>
  );
}

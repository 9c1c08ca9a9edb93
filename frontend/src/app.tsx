import { useEffect } from "preact/hooks";
import { Correlations } from "./views/Correlations";
import { Curves } from "./views/Curves";
import { CursorBar } from "./views/CursorBar";
import { Empty } from "./views/Empty";
import { LayerTable } from "./views/LayerTable";
import { Maps } from "./views/Maps";
import { Overview } from "./views/Overview";
import { usePlay } from "./views/play";
import { RunBar, Warnings } from "./views/RunBar";
import { Tooltip } from "./views/tooltip";
import { onKey } from "./views/keyboard";
import type { State } from "./state";
import { StateProvider } from "./state";

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

import { dashOf } from "../scale/lineStyles";
import { useAppState } from "../state/state";

/** A short line in a run's dash and colour. */
export function RunStroke({ run }: { readonly run: string }) {
  const state = useAppState();
  return (
    <svg class="stroke" width="26" height="8" aria-hidden="true">
      <line
        x1="0"
        x2="26"
        y1="4"
        y2="4"
        stroke={state.runStroke(run)}
        stroke-width="2.5"
        stroke-dasharray={dashOf(state.strokeIndex(run)).join(" ")}
      />
    </svg>
  );
}

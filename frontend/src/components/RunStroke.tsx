import { dashOf, strokeOf } from "../scale/lineStyles";
import { useAppState } from "../state/state";

/** A short line in a run's dash and colour; in neutral ink if colours stand for layers. */
export function RunStroke({ run, neutral }: { readonly run: string; readonly neutral?: boolean }) {
  const state = useAppState();
  const index = state.strokeIndex(run);
  return (
    <svg class="stroke" width="26" height="8" aria-hidden="true">
      <line
        x1="0"
        x2="26"
        y1="4"
        y2="4"
        stroke={neutral ? "currentColor" : strokeOf(index, state.dark.value)}
        stroke-width="2.5"
        stroke-dasharray={dashOf(index).join(" ")}
      />
    </svg>
  );
}

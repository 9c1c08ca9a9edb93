import { epochText, listed, shorten } from "../data/formatting";
import { dashOf } from "../scale/lineStyles";
import type { State } from "../state/state";
import type { Mark } from "../render/plotData";

/** The epoch at which each run's validation loss turned, in the run's own dash. */
export function onsetMarks(state: State, dark: boolean): Mark[] {
  const runs = new Map<number, string[]>();
  for (const { run } of state.chosen.value) {
    const onset = state.onsetOf(run)?.epoch;
    if (onset !== undefined) runs.set(onset, [...(runs.get(onset) ?? []), run]);
  }
  return [...runs].map(([epoch, [first = "", ...more]]) => {
    const others = more.length > 1 ? [`${more.length} more`] : more.map((run) => shorten(run, 24));
    return {
      x: epoch,
      stroke: dark ? "#e8eaed" : "#202124",
      dash: dashOf(state.strokeIndex(first)),
      label: `onset ${epochText(epoch)}, ${listed([shorten(first, 24), ...others])}`,
    };
  });
}

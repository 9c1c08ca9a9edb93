import type { Range } from "../data/epochs";
import { shareOf } from "../data/epochs";
import { epochText } from "../data/formatting";
import { onsetText } from "../data/runs";
import { wholeTicks } from "../scale/ticks";
import { useAppState } from "../state/state";
import "./epochs.css";

function percentOf(range: Range, epoch: number): string {
  return `${(100 * shareOf(range, epoch)).toFixed(3)}%`;
}

/** Epochs below a plot. */
export function EpochAxis(props: { readonly range: Range; readonly width: number }) {
  const { range, width } = props;
  const found = wholeTicks(range[0], range[1], Math.max(2, Math.floor(width / 70)));
  return (
    <div class="axis" aria-hidden="true">
      <b>epoch</b>
      {found.map((epoch) => (
        <span key={epoch} style={{ left: percentOf(range, epoch) }}>
          {epochText(epoch)}
        </span>
      ))}
    </div>
  );
}

/** The cursor's line across a plot. */
export function CursorLine({ range }: { readonly range: Range }) {
  const epoch = useAppState().cursor.value;
  if (epoch < range[0] || epoch > range[1]) return null;
  return <i class="cursor-line" style={{ left: percentOf(range, epoch) }} aria-hidden="true" />;
}

/** A line where the validation loss of a run turned, and a bar above the epochs that it may be. */
export function OnsetLine(props: { readonly range: Range; readonly run: string }) {
  const { range } = props;
  const onset = useAppState().onsetOf(props.run);
  if (onset === null || onset.epoch < range[0] || onset.epoch > range[1]) return null;
  const from = 100 * shareOf(range, Math.max(range[0], onset.first));
  const to = 100 * shareOf(range, Math.min(range[1], onset.last));
  const bar = { left: `${from.toFixed(3)}%`, width: `${(to - from).toFixed(3)}%` };
  return (
    <>
      {to > from && <i class="onset-interval" style={bar} aria-hidden="true" />}
      <i class="onset-line" style={{ left: percentOf(range, onset.epoch) }} aria-hidden="true">
        <span>{onsetText(onset)}</span>
      </i>
    </>
  );
}

import type { Range } from "../data/epochs";
import { shareOf } from "../data/epochs";
import { epochText } from "../data/formatting";
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

/** A line where the validation loss turned. */
export function OnsetLine(props: { readonly range: Range; readonly epoch: number | null }) {
  const { range, epoch } = props;
  if (epoch === null || epoch < range[0] || epoch > range[1]) return null;
  return (
    <i class="onset-line" style={{ left: percentOf(range, epoch) }} aria-hidden="true">
      <span>onset {epochText(epoch)}</span>
    </i>
  );
}

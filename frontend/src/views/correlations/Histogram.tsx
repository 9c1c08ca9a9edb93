import { useCallback, useMemo } from "preact/hooks";
import { Canvas } from "../../components/Canvas";
import { useWidth } from "../../components/elementObservers";
import { CursorLine, EpochAxis, OnsetLine } from "../../components/EpochAxis";
import { onLeave, showTip } from "../../components/Tooltip";
import { byCoefficient, coefficient } from "../../data/correlationHistogram";
import { columnsOf, epochAt, nearest } from "../../data/epochs";
import { atEpoch, count, epochPhrase, format, minus, percent } from "../../data/formatting";
import type { Correlations, RunEntry } from "../../data/runs";
import { BINS } from "../../data/runs";
import { matrixCells, paintCells } from "../../render/heatmap";
import type { ColourScale } from "../../scale/colour";
import { useAppState } from "../../state/state";

const MOST_COLUMNS = 1024;

interface HistogramProps {
  readonly entry: RunEntry;
  readonly value: Correlations;
  readonly shares: readonly Float64Array[];
  readonly scale: ColourScale;
}

/** Epochs by Pearson coefficient, and the slice at the cursor. */
export function Histogram({ entry, value, shares: found, scale }: HistogramProps) {
  const state = useAppState();
  const [plot, width] = useWidth<HTMLDivElement>();
  const range = state.range.value;
  const rows = useMemo(() => byCoefficient(found), [found]);
  const limit = Math.max(16, Math.min(MOST_COLUMNS, width || MOST_COLUMNS));
  const columns = useMemo(() => columnsOf(value.steps, range, limit), [value, range, limit]);
  const paint = useCallback(
    (canvas: HTMLCanvasElement) => {
      paintCells(
        canvas,
        matrixCells(rows, columns, () => scale),
      );
    },
    [rows, columns, scale],
  );
  const at = (event: MouseEvent & { currentTarget: HTMLElement }) => {
    const box = event.currentTarget.getBoundingClientRect();
    const bin = BINS - 1 - Math.floor(((event.clientY - box.top) / box.height) * BINS);
    const step = nearest(value.steps, epochAt(range, (event.clientX - box.left) / box.width));
    return { bin: Math.max(0, Math.min(BINS - 1, bin)), step };
  };
  return (
    <div class="histogram">
      <CoefficientAxis />
      <div
        class="plot hatched"
        ref={plot}
        role="img"
        aria-label={`Filter correlations over ${value.steps.length} epochs`}
        onMouseMove={(event) => {
          const { bin, step } = at(event);
          showTip(event, [
            `c = ${minus(coefficient(bin).toFixed(2))}, ${epochPhrase(value.steps[step] ?? 0)}`,
            `${format((found[step]?.[bin] ?? NaN) * 100)}% of the pairs: ${count(value.counts[step * BINS + bin] ?? 0, "pair")}`,
          ]);
        }}
        onMouseLeave={onLeave}
        onClick={(event) => {
          state.select(null, value.steps[at(event).step] ?? null);
        }}
      >
        <Canvas paint={paint} class="pixels" />
        <OnsetLine range={range} run={entry.run} />
        <CursorLine range={range} />
      </div>
      <Slice value={value} shares={found} />
      <EpochAxis range={range} width={width} />
    </div>
  );
}

function CoefficientAxis() {
  return (
    <div class="coefficients" aria-hidden="true">
      {[1, 0.5, 0, -0.5, -1].map((c) => (
        <span key={c} style={{ top: `${((1.005 - c) / 2.01) * 100}%` }}>
          {minus(String(c))}
        </span>
      ))}
    </div>
  );
}

/** The histogram at the cursor, turned so that it shares the picture's axis. */
function Slice(props: { readonly value: Correlations; readonly shares: readonly Float64Array[] }) {
  const epoch = useAppState().cursor.value;
  const step = nearest(props.value.steps, epoch);
  const row = props.shares[step] ?? new Float64Array();
  // Shares are NaN where a layer has no pair of filters.
  const largest = row.reduce((most, share) => (share > most ? share : most), 0);
  const points = Array.from(row, (_, at) => {
    const share = row[BINS - 1 - at] || 0;
    return `H${((100 * share) / (largest || 1)).toFixed(2)}V${at + 1}`;
  });
  return (
    <figure class="slice" aria-label={`Histogram ${atEpoch(props.value.steps[step] ?? epoch)}`}>
      <svg viewBox={`0 0 100 ${BINS}`} preserveAspectRatio="none" aria-hidden="true">
        <path d={`M0,0${points.join("")}H0Z`} />
        <line x1="0" x2="100" y1={BINS / 2} y2={BINS / 2} />
      </svg>
      <figcaption class="muted">
        {epochPhrase(props.value.steps[step] ?? epoch)}, up to {percent(largest)}
      </figcaption>
    </figure>
  );
}

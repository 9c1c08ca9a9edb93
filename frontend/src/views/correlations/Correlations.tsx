import { useCallback, useMemo } from "preact/hooks";
import { columnsOf, epochAt, nearest } from "../../data/epochs";
import type { Loaded } from "../../api/resources";
import { byCoefficient, coefficient, shares } from "../../data/correlationHistogram";
import type { Correlations as Histograms, RunEntry } from "../../data/runs";
import { BINS } from "../../data/runs";
import { layerIndex } from "../../data/layerTable";
import { epochPhrase, format, minus, percent, shorten } from "../../data/formatting";
import { matrixCells, paintCells } from "../../render/heatmap";
import { shareScale } from "../../render/scales";
import type { ColourScale } from "../../scale/colour";
import { useAppState } from "../../state/state";
import { Canvas } from "../../components/Canvas";
import { PolicySelect } from "../../components/ColourRange";
import { CursorLine, EpochAxis, OnsetLine } from "../../components/EpochAxis";
import { Export } from "../../page/ExportMenu";
import { correlationsCsv, correlationsFigure } from "../overview/export";
import { Legend } from "../../components/Legend";
import { RunStroke } from "../../page/RunBar";
import { More, Section, Select } from "../../page/Section";
import { useKept } from "../../state/stableList";
import { useNear, useWidth } from "../../components/elementObservers";
import { onLeave, showTip } from "../../components/Tooltip";

const MOST = 12; // runs
const MOST_COLUMNS = 1024;

/** How alike the filters of the chosen layer are: epochs by Pearson coefficient, a panel a run. */
export function Correlations() {
  const state = useAppState();
  const [element, near] = useNear<HTMLDivElement>();
  const layer = state.layer.value ?? "";
  const chosen = state.chosen.value.slice(0, MOST);
  const loaded = chosen.map((entry) => {
    const table = state.table(entry.run).value.value;
    const known = table !== null && layerIndex(table, layer) >= 0;
    const found = near && known ? state.correlation(entry.run, layer).value : null;
    const message = table && !known ? "This run has no such layer." : messageOf(found);
    return { entry, value: found?.value ?? null, message };
  });
  const frequency = state.fields.frequency.cell.value;
  const policy = state.fields.shares.cell.value;
  const known = useKept(loaded.map(({ value }) => value));
  const { scale, rows } = useMemo(() => {
    const each = known.map((value) => (value ? shares(value) : []));
    return { scale: shareScale(each.flat(), frequency, policy), rows: each };
  }, [known, frequency, policy]);
  return (
    <Section
      id="correlations"
      title="Filter correlations"
      hint="How alike the filters of the chosen layer are: Pearson coefficients of all pairs, by epoch."
      controls={<Controls scale={scale} layer={layer} />}
      actions={
        <Export
          name="correlations"
          figure={() => correlationsFigure(state, layer, loaded, scale)}
          csv={() => correlationsCsv(layer, loaded)}
        />
      }
    >
      <div class="panels" ref={element}>
        {loaded.map(({ entry, value, message }, at) => (
          <div
            key={entry.run}
            class="panel"
            role="group"
            aria-label={`Filter correlations of ${shorten(entry.run, 80)}`}
          >
            <h3>
              <RunStroke run={entry.run} />
              <bdi title={shorten(entry.run, 300)}>{shorten(entry.run, 60)}</bdi>
            </h3>
            {value?.steps.length ? (
              <Histogram entry={entry} value={value} shares={rows[at] ?? []} scale={scale} />
            ) : (
              <p class="muted reserved">{message}</p>
            )}
            {value?.warnings.map((text) => (
              <p key={text} class="muted">
                {shorten(text, 200)}
              </p>
            ))}
          </div>
        ))}
      </div>
      <More shown={MOST} total={state.chosen.value.length} where="this view" />
    </Section>
  );
}

function messageOf(loaded: Loaded<Histograms> | null): string {
  if (loaded?.status === "failed") return loaded.message;
  if (!loaded?.value) return "loading …";
  return "No filter correlation is recorded for this layer.";
}

function Controls(props: { readonly scale: ColourScale; readonly layer: string }) {
  const { scale, layer } = props;
  const { fields } = useAppState();
  const { frequency } = fields;
  return (
    <>
      <span>
        Layer <bdi>{shorten(layer, 40)}</bdi>
      </span>
      <Select
        label="Colours"
        value={frequency.cell.value}
        options={[
          ["log", "logarithmic"],
          ["linear", "linear"],
        ]}
        onChange={(chosen) => (frequency.cell.value = chosen)}
      />
      <PolicySelect label="over" field={fields.shares} offered={["shared", "fixed"]} />
      <Legend scale={scale} title="Share of the pairs of filters" />
    </>
  );
}

interface HistogramProps {
  readonly entry: RunEntry;
  readonly value: Histograms;
  readonly shares: readonly Float64Array[];
  readonly scale: ColourScale;
}

function Histogram({ entry, value, shares: found, scale }: HistogramProps) {
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
            `${format((found[step]?.[bin] ?? NaN) * 100)}% of the pairs, ${value.counts[step * BINS + bin] ?? 0} of them`,
          ]);
        }}
        onMouseLeave={onLeave}
        onClick={(event) => {
          state.select(null, value.steps[at(event).step] ?? null);
        }}
      >
        <Canvas paint={paint} class="pixels" />
        <OnsetLine range={range} epoch={entry.onset} />
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
function Slice(props: { readonly value: Histograms; readonly shares: readonly Float64Array[] }) {
  const epoch = useAppState().cursor.value;
  const step = nearest(props.value.steps, epoch);
  const row = props.shares[step] ?? new Float64Array();
  const largest = row.reduce((most, share) => Math.max(most, share), 0);
  const points = Array.from(row, (_, at) => {
    const share = row[BINS - 1 - at] ?? 0;
    return `H${((100 * share) / (largest || 1)).toFixed(2)}V${at + 1}`;
  });
  return (
    <figure
      class="slice"
      aria-label={`Histogram at ${epochPhrase(props.value.steps[step] ?? epoch)}`}
    >
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

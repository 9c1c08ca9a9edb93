import { useMemo, useRef } from "preact/hooks";
import { union } from "../../data/epochs";
import { spread } from "../../data/alignment";
import { farthest, moved } from "../../data/movement";
import type { Statistic } from "../../data/statistics";
import { RELATIVE_ENTROPY, STATISTICS, series, statisticOf } from "../../data/statistics";
import type { LayerTable } from "../../data/layerTable";
import { layerIndex } from "../../data/layerTable";
import { shorten } from "../../data/formatting";
import { COLOURS, dashOf, strokeOf } from "../../scale/lineStyles";
import type { State } from "../../state/state";
import { useAppState } from "../../state/state";
import { Export } from "../../page/ExportMenu";
import { curvesCsv, curvesFigure } from "../overview/export";
import { LossControls, Losses, MOST_LOSSES, useLosses } from "./Losses";
import { onsetMarks } from "../../components/onsetMarks";
import type { Line, PlotData } from "../../components/Plot";
import { Plot } from "../../components/Plot";
import { RunStroke } from "../../page/RunBar";
import { useKept } from "../../state/stableList";
import { More, Section, Select } from "../../page/Section";

/** One statistic over epochs: a colour a layer, a dash a run; the losses below it. */
export function Curves() {
  const state = useAppState();
  const statistic = statisticOf(state.fields.curve.cell.value ?? RELATIVE_ENTROPY.id);
  const shown = useShownLayers();
  const data = usePlotData(statistic, shown);
  const losses = useLosses();
  const title = `${statistic.title} [${statistic.unit}]`;
  const plots = [
    [title, data, 300],
    [losses.title, losses.data, 190],
  ] as const;
  const chosen = state.chosen.value.length;
  const drawn = plots.filter(([, { lines }]) => lines.length);
  return (
    <Section
      id="curves"
      title="Curves"
      hint="Drag to zoom in all views, double click for all epochs, click to move the cursor."
      controls={<Controls statistic={statistic} />}
      actions={
        <Export name="curves" figure={() => curvesFigure(drawn)} csv={() => curvesCsv(drawn)} />
      }
    >
      <div class="curves">
        <figure>
          <figcaption class="muted">{title}. Colour: layer. Dash: run.</figcaption>
          <Plot
            data={data}
            height={300}
            label={`${statistic.title} of ${shown.length} layers over epochs`}
          />
        </figure>
        <LayerKey shown={shown} />
        <Losses {...losses} />
      </div>
      <More shown={mostRuns(shown)} total={chosen} where={`the curves of ${title}`} />
      <More shown={MOST_LOSSES} total={chosen} where="the curves of the loss" />
    </Section>
  );
}

function Controls({ statistic }: { readonly statistic: Statistic }) {
  const { fields } = useAppState();
  return (
    <>
      <Select
        label="Statistic"
        value={statistic.id}
        options={STATISTICS.map((s) => [s.id, s.title] as const)}
        onChange={(id) => (fields.curve.cell.value = id)}
      />
      <label class="field" title="5th to 95th percentile over positions and probes">
        <input
          type="checkbox"
          disabled={statistic.column !== "entropy"}
          checked={fields.band.cell.value && statistic.column === "entropy"}
          onChange={(event) => (fields.band.cell.value = event.currentTarget.checked)}
        />
        spread of the chosen layer (5% to 95%)
      </label>
      <LossControls />
    </>
  );
}

/**
 * The layers whose curves are drawn: chosen, or all if they are few, or those that had moved most
 * when they were first drawn.
 */
function useShownLayers(): readonly string[] {
  const state = useAppState();
  const layers = state.layers.value;
  const wanted = state.fields.curveLayers.cell.value;
  const tables = state.tables.value;
  const chosen = state.layer.value;
  const telling = state.telling.value;
  const first = useRef<readonly string[]>([]);
  return useMemo(() => {
    if (wanted) return layers.filter((name) => wanted.includes(name));
    if (layers.length <= COLOURS) return layers;
    const most = first.current.filter((name) => layers.includes(name));
    if (!most.length) {
      const moves = layers.map((name) => Math.max(0, ...tables.map((t) => size(t, name))));
      most.push(...farthest(moves, COLOURS - 2, 0).map((at) => layers[at] ?? ""));
    }
    if (telling) first.current = most;
    return layers.filter((name) => most.includes(name) || name === chosen);
  }, [layers, wanted, tables, chosen, telling]);
}

function size(table: LayerTable, name: string): number {
  const move = Math.abs(moved(series(table, layerIndex(table, name), RELATIVE_ENTROPY)));
  return Number.isFinite(move) ? move : 0;
}

function usePlotData(statistic: Statistic, shown: readonly string[]): PlotData {
  const state = useAppState();
  const tables = useKept(state.tables.value.slice(0, mostRuns(shown)));
  const dark = state.dark.value;
  const range = state.range.value;
  const chosen = state.layer.value;
  const entries = state.chosen.value;
  const banded = state.fields.band.cell.value && statistic.column === "entropy";
  return useMemo(() => {
    const epochs = union(tables.map((table) => table.steps));
    const lines = tables.flatMap((table) =>
      shown.map((name, at) => lineOf(state, table, name, { at, statistic, epochs, dark, chosen })),
    );
    const bands: PlotData["bands"][number][] = [];
    if (banded && chosen !== null) {
      const fill = `${strokeOf(Math.max(0, shown.indexOf(chosen)), dark)}2b`;
      for (const table of tables) {
        bands.push({ of: [lines.length, lines.length + 1], fill });
        lines.push(...bandOf(table, chosen, statistic, epochs));
      }
    }
    const logarithmic =
      statistic.logarithmic && lines.every(({ values }) => values.every(positive));
    const values = statistic.range && padded(statistic.range);
    const marks = onsetMarks(state, dark);
    return { epochs, lines, bands, marks, range, logarithmic, values, dark };
  }, [tables, shown, statistic, dark, range, chosen, entries, banded, state]);
}

const MOST_LINES = 160; // more cannot be told apart, and take long to draw

function mostRuns(shown: readonly string[]): number {
  return Math.max(2, Math.floor(MOST_LINES / Math.max(1, shown.length)));
}

interface LineOptions {
  readonly at: number;
  readonly statistic: Statistic;
  readonly epochs: readonly number[];
  readonly dark: boolean;
  readonly chosen: string | null;
}

function lineOf(state: State, table: LayerTable, name: string, options: LineOptions): Line {
  const values = series(table, layerIndex(table, name), options.statistic);
  return {
    label: `${shorten(name, 40)}, ${shorten(table.run, 40)}`,
    values: spread(options.epochs, table.steps, values),
    stroke: strokeOf(options.at, options.dark),
    width: name === options.chosen ? 2.5 : 1.25,
    dash: dashOf(state.strokeIndex(table.run)),
    onClick: () => {
      state.select(name);
    },
  };
}

/** Upper and lower edge of a layer's spread. */
function bandOf(
  table: LayerTable,
  name: string,
  statistic: Statistic,
  epochs: readonly number[],
): Line[] {
  return ["entropy_p95", "entropy_p5"].map((column) => {
    const edge = series(table, layerIndex(table, name), { ...statistic, column });
    const values = spread(epochs, table.steps, edge);
    return { label: "", values, stroke: "transparent", width: 0, dash: [], silent: true };
  });
}

function padded([lo, hi]: readonly [number, number]): [number, number] {
  const pad = (hi - lo) * 0.02;
  return [lo - pad, hi + pad];
}

function positive(value: number | null | undefined): boolean {
  return value === null || value === undefined || value > 0;
}

/** Which colour is which layer; which layers are drawn. */
function LayerKey({ shown }: { readonly shown: readonly string[] }) {
  const state = useAppState();
  const { curveLayers } = state.fields;
  const layers = state.layers.value;
  const toggle = (name: string): void => {
    curveLayers.cell.value = shown.includes(name)
      ? shown.filter((other) => other !== name)
      : layers.filter((other) => other === name || shown.includes(other));
  };
  return (
    <div class="key">
      <ul aria-label="Layers drawn">
        {[...shown, ...layers.filter((name) => !shown.includes(name))].map((name) => {
          const at = shown.indexOf(name);
          const colour = at < 0 ? "transparent" : strokeOf(at, state.dark.value);
          return (
            <li key={name} class={name === state.layer.value ? "selected" : ""}>
              <input
                type="checkbox"
                checked={at >= 0}
                aria-label={`Draw ${shorten(name, 80)}`}
                onChange={() => {
                  toggle(name);
                }}
              />
              <i class="swatch" style={{ background: colour }} aria-hidden="true" />
              <button
                type="button"
                tabIndex={-1}
                title={shorten(name, 300)}
                onClick={() => {
                  state.select(name);
                }}
              >
                <bdi>{shorten(name, 24)}</bdi>
              </button>
            </li>
          );
        })}
      </ul>
      <ul aria-label="Dash of each run">
        {state.chosen.value.slice(0, mostRuns(shown)).map(({ run }) => (
          <li key={run}>
            <RunStroke run={run} neutral />
            <bdi title={shorten(run, 300)}>{shorten(run, 24)}</bdi>
          </li>
        ))}
      </ul>
    </div>
  );
}

import { useMemo } from "preact/hooks";
import { spread } from "../../data/alignment";
import type { Losses as LossCurve, RunEntry } from "../../data/runs";
import { count, shorten } from "../../data/formatting";
import { dashOf, strokeOf } from "../../scale/lineStyles";
import type { State } from "../../state/state";
import { useAppState } from "../../state/state";
import { onsetMarks } from "../../components/onsetMarks";
import type { Line, PlotData } from "../../components/Plot";
import { Plot } from "../../components/Plot";
import { RunStroke } from "../../page/RunBar";
import { Select } from "../../page/Section";
import { useKept } from "../../state/stableList";

/** Runs whose losses are asked for. */
export const MOST_LOSSES = 32;

function lossRuns(state: State): readonly RunEntry[] {
  return state.chosen.value.slice(0, MOST_LOSSES);
}

const SIGMAS = ["0", "1", "2", "3", "5", "10"] as const;

/** Which of the user's scalars is the validation loss, and how much it is smoothed. */
export function LossControls() {
  const state = useAppState();
  const { fields } = state;
  const tags = new Set(
    lossRuns(state).flatMap(({ run }) => state.lossTags(run).value.value?.tags ?? []),
  );
  const sigma = String(fields.sigma.cell.value);
  return (
    <>
      <Select
        label="Loss"
        value={fields.loss.cell.value ?? ""}
        options={[["", "guessed"], ...[...tags].map((t) => [t, shorten(t, 40)] as const)]}
        onChange={(tag) => (fields.loss.cell.value = tag || null)}
      />
      <Select
        label="smoothed over"
        value={sigma}
        options={[...new Set([...SIGMAS, sigma])].map((s) => [s, sigmaText(Number(s))] as const)}
        onChange={(text) => (fields.sigma.cell.value = Number(text))}
      />
    </>
  );
}

function sigmaText(sigma: number): string {
  return sigma ? `σ = ${count(sigma, "epoch")}` : "not smoothed";
}

/** What the losses of the chosen runs are drawn from. */
export interface LossPlot {
  readonly curves: readonly LossCurve[];
  readonly data: PlotData;
  readonly title: string;
}

export function useLosses(): LossPlot {
  const state = useAppState();
  const curves = useKept(lossCurves(state));
  const data = usePlotData(curves);
  return { curves, data, title: [...new Set(curves.map(({ tag }) => tag))].join(", ") };
}

/** The user's own losses, lined up with our epochs: raw thin, smoothed thick. */
export function Losses({ curves, data, title }: LossPlot) {
  const state = useAppState();
  const apart = curves.filter(({ alignedBy }) => alignedBy === null).map(({ run }) => run);
  const without = lossRuns(state).filter(
    ({ run }) => state.lossTags(run).value.status === "ready" && state.lossTag(run) === null,
  );
  if (!data.lines.length) {
    return <p class="muted loss">{without.length > 0 && NO_LOSS}</p>;
  }
  return (
    <>
      <figure class="loss">
        <figcaption class="muted">
          {shorten(title, 80)}: raw (thin), and smoothed (thick). Colour and dash: run.
        </figcaption>
        <Plot
          data={data}
          height={190}
          label={`Losses of ${count(curves.length, "run")} over epochs`}
        />
        {apart.map((run) => (
          <p key={run} class="muted">
            {shorten(run, 40)}: this curve cannot be lined up with the recorded epochs.
          </p>
        ))}
      </figure>
      <ul class="key" aria-label="Colour and dash of each run">
        {curves.map((curve) => (
          <li key={curve.run} title={alignment(curve)}>
            <RunStroke run={curve.run} />
            <bdi>{shorten(curve.run, 24)}</bdi>
          </li>
        ))}
      </ul>
    </>
  );
}

const NO_LOSS = "No scalar of these runs looks like a validation loss; choose one above.";

const ALIGNED: Partial<Record<string, string>> = {
  step: "its steps are epochs",
  global_step: "lined up by the recorded global steps",
  wall_time: "lined up by wall time",
};

function alignment({ tag, alignedBy }: LossCurve): string {
  return `${shorten(tag, 100)}: ${ALIGNED[alignedBy ?? ""] ?? "cannot be lined up"}`;
}

function lossCurves(state: State): LossCurve[] {
  const sigma = state.fields.sigma.cell.value;
  return lossRuns(state).flatMap(({ run }) => {
    const tag = state.lossTag(run);
    const found = tag === null ? null : state.losses(run, tag, sigma).value.value;
    return found ? [found] : [];
  });
}

function usePlotData(curves: readonly LossCurve[]): PlotData {
  const state = useAppState();
  const dark = state.dark.value;
  const range = state.range.value;
  const entries = state.chosen.value;
  return useMemo(() => {
    const known = curves.flatMap(({ epochs }) => epochs.filter((epoch) => epoch !== null));
    const epochs = [...new Set(known)].sort((a, b) => a - b);
    const lines = curves.flatMap((curve) => linesOf(state, curve, epochs, dark));
    const marks = onsetMarks(state, dark);
    return { epochs, lines, bands: [], marks, range, logarithmic: false, values: null, dark };
  }, [curves, dark, range, entries, state]);
}

function linesOf(state: State, curve: LossCurve, epochs: readonly number[], dark: boolean): Line[] {
  const index = state.strokeIndex(curve.run);
  const stroke = strokeOf(index, dark);
  const label = `${shorten(curve.tag, 40)}, ${shorten(curve.run, 40)}`;
  const raw: Line = {
    label,
    values: spread(epochs, curve.epochs, curve.values),
    stroke: curve.sigma > 0 ? `${stroke}80` : stroke,
    width: 1,
    dash: curve.sigma > 0 ? [] : dashOf(index),
  };
  if (!(curve.sigma > 0)) return [raw];
  const smooth = spread(epochs, curve.epochs, curve.smoothed);
  return [
    raw,
    { ...raw, label: `${label}, smoothed`, values: smooth, stroke, width: 2, dash: dashOf(index) },
  ];
}

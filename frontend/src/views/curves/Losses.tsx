import { Select } from "../../components/controls";
import { EpochPlot } from "../../components/EpochPlot";
import { RunStroke } from "../../components/RunStroke";
import { count, listed, shorten } from "../../data/formatting";
import type { Losses as LossCurve } from "../../data/runs";
import type { PlotData } from "../../render/plotData";
import { useAppState, useViewState } from "../../state/state";
import { CurvesState, LOSS_HEIGHT } from "./CurvesState";

const SIGMAS = ["0", "1", "2", "3", "5", "10"] as const;

/** Which of the user's scalars is the validation loss, and how much it is smoothed. */
export function LossControls() {
  const { data, fields } = useAppState();
  const { lossRuns } = useViewState(CurvesState);
  const lender = fields.lender.cell.value;
  const lenders = lender === null ? [null] : [null, lender];
  const tags = new Set(
    lossRuns.value.flatMap(({ run }) =>
      lenders.flatMap((from) => data.lossTags(run, from).value.value?.tags ?? []),
    ),
  );
  const sigma = String(fields.sigma.cell.value);
  return (
    <>
      <Select
        label="Loss"
        value={fields.loss.cell.value ?? ""}
        options={[["", "automatic"], ...[...tags].map((t) => [t, shorten(t, 40)] as const)]}
        onChange={(tag) => (fields.loss.cell.value = tag || null)}
      />
      <Select
        label="Smoothing"
        value={sigma}
        options={[...new Set([...SIGMAS, sigma])].map((s) => [s, sigmaText(Number(s))] as const)}
        onChange={(text) => (fields.sigma.cell.value = Number(text))}
      />
      <LenderSelect />
    </>
  );
}

/** Who lends a loss curve to the runs that have none; only where there is such a run. */
function LenderSelect() {
  const { data, fields } = useAppState();
  const { lossRuns, withoutLoss } = useViewState(CurvesState);
  const lender = fields.lender.cell.value;
  const lenders = data.index.value.value?.lenders ?? [];
  const poor = withoutLoss.value.length > 0 || lender !== null;
  if (!poor || !lenders.length || !lossRuns.value.length) return null;
  return (
    <Select
      label="Borrow a loss from"
      value={lender ?? ""}
      options={[["", "no run"], ...lenders.map((run) => [run, shorten(run, 40)] as const)]}
      onChange={(run) => (fields.lender.cell.value = run || null)}
    />
  );
}

function sigmaText(sigma: number): string {
  return sigma ? `σ = ${count(sigma, "epoch")}` : "none";
}

/** The user's own losses and accuracies, aligned with the recorded epochs. */
export function Losses() {
  const view = useViewState(CurvesState);
  const curves = view.losses.value;
  const accuracies = view.accuracies.value;
  const without = view.withoutLoss.value;
  return (
    <>
      {curves.length > 0 && (
        <Scalars curves={curves} plot={view.lossPlot.value} title={view.lossTitle.value} />
      )}
      {accuracies.length > 0 && (
        <Scalars
          curves={accuracies}
          plot={view.accuracyPlot.value}
          title={view.accuracyTitle.value}
        />
      )}
      {without.length > 0 && <p class="muted loss">{noLoss(without)}</p>}
    </>
  );
}

/** One kind of scalar: raw (thin) and smoothed (thick). */
function Scalars(props: {
  readonly curves: readonly LossCurve[];
  readonly plot: PlotData;
  readonly title: string;
}) {
  const { curves, plot, title } = props;
  const view = useViewState(CurvesState);
  const apart = curves.filter(({ alignedBy }) => alignedBy === null).map(({ run }) => run);
  const what = curves === view.losses.value ? "Losses" : "Accuracies";
  return (
    <>
      <figure class="loss">
        <figcaption class="muted">
          {shorten(title, 80)}: raw (thin) and smoothed (thick). Colour and dash: run.
        </figcaption>
        <EpochPlot
          data={plot}
          height={LOSS_HEIGHT}
          label={`${what} of ${count(curves.length, "run")} over epochs`}
        />
        {apart.map((run) => (
          <p key={run} class="muted">
            {shorten(run, 40)}: this curve cannot be aligned with the recorded epochs.
          </p>
        ))}
      </figure>
      <ul class="key" tabIndex={0} aria-label={`${what}: colour and dash of each run`}>
        {curves.map((curve) => {
          const lender = view.lenderOf(curve.run);
          return (
            <li key={curve.run} title={alignment(curve)}>
              <RunStroke run={curve.run} />
              <bdi>{shorten(curve.run, 24)}</bdi>
              {lender !== null && <span class="muted">from {shorten(lender, 16)}</span>}
            </li>
          );
        })}
      </ul>
    </>
  );
}

/** Why there is no loss curve, and so no onset. */
export function noLoss(runs: readonly string[]): string {
  const named = runs.slice(0, 3).map((run) => shorten(run, 32));
  const more = runs.length > 3 ? [`${runs.length - 3} more`] : [];
  const have = runs.length > 1 ? "have" : "has";
  return `${listed([...named, ...more])} ${have} no validation loss, and so no onset: choose a scalar under “Loss”, or borrow the loss of another run.`;
}

const ALIGNED: Partial<Record<string, string>> = {
  step: "its steps are epochs",
  global_step: "aligned by the recorded global steps",
  wall_time: "aligned by wall time",
};

function alignment({ tag, alignedBy }: LossCurve): string {
  return `${shorten(tag, 100)}: ${ALIGNED[alignedBy ?? ""] ?? "cannot be aligned"}`;
}

import { Select } from "../../components/controls";
import { EpochPlot } from "../../components/EpochPlot";
import { RunStroke } from "../../components/RunStroke";
import { count, shorten } from "../../data/formatting";
import type { Losses as LossCurve } from "../../data/runs";
import { useAppState, useViewState } from "../../state/state";
import { CurvesState, LOSS_HEIGHT } from "./CurvesState";

const SIGMAS = ["0", "1", "2", "3", "5", "10"] as const;

/** Which of the user's scalars is the validation loss, and how much it is smoothed. */
export function LossControls() {
  const { data } = useAppState();
  const { fields, lossRuns } = useViewState(CurvesState);
  const tags = new Set(
    lossRuns.value.flatMap(({ run }) => data.lossTags(run).value.value?.tags ?? []),
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
    </>
  );
}

function sigmaText(sigma: number): string {
  return sigma ? `σ = ${count(sigma, "epoch")}` : "none";
}

/** The user's own losses, aligned with the recorded epochs: raw (thin) and smoothed (thick). */
export function Losses() {
  const { data } = useAppState();
  const view = useViewState(CurvesState);
  const curves = view.losses.value;
  const plot = view.lossPlot.value;
  const apart = curves.filter(({ alignedBy }) => alignedBy === null).map(({ run }) => run);
  const without = view.lossRuns.value.filter(
    ({ run }) => data.lossTags(run).value.status === "ready" && view.lossTag(run) === null,
  );
  if (!plot.lines.length) {
    return <p class="muted loss">{without.length > 0 && NO_LOSS}</p>;
  }
  return (
    <>
      <figure class="loss">
        <figcaption class="muted">
          {shorten(view.lossTitle.value, 80)}: raw (thin) and smoothed (thick). Colour and dash:
          run.
        </figcaption>
        <EpochPlot
          data={plot}
          height={LOSS_HEIGHT}
          label={`Losses of ${count(curves.length, "run")} over epochs`}
        />
        {apart.map((run) => (
          <p key={run} class="muted">
            {shorten(run, 40)}: this curve cannot be aligned with the recorded epochs.
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
  global_step: "aligned by the recorded global steps",
  wall_time: "aligned by wall time",
};

function alignment({ tag, alignedBy }: LossCurve): string {
  return `${shorten(tag, 100)}: ${ALIGNED[alignedBy ?? ""] ?? "cannot be aligned"}`;
}

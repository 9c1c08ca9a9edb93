import { More } from "../../components/controls";
import { EpochPlot } from "../../components/EpochPlot";
import { RunStroke } from "../../components/RunStroke";
import { StatisticSelect } from "../../components/StatisticSelect";
import { shorten } from "../../data/formatting";
import { withUnit } from "../../data/statistics";
import { strokeOf } from "../../scale/lineStyles";
import { useAppState, useViewState } from "../../state/state";
import { CurvesState, LOSS_RUNS, PLOT_HEIGHT } from "./CurvesState";
import { LossControls, Losses } from "./Losses";

/** One statistic over epochs, and the losses below it. */
export function Curves() {
  const chosen = useAppState().chosen.value.length;
  const view = useViewState(CurvesState);
  const { title: name, unit } = view.statistic.value;
  const title = withUnit(name, unit);
  return (
    <>
      <div class="curves">
        <figure>
          <figcaption class="muted">{title}. Colour: layer. Dash: run.</figcaption>
          <EpochPlot
            data={view.plot.value}
            height={PLOT_HEIGHT}
            label={`${name} of ${view.layers.value.length} layers over epochs`}
          />
        </figure>
        <LayerKey />
        <Losses />
      </div>
      <More shown={view.mostRuns.value} total={chosen} where={`the curves of ${title}`} />
      <More shown={LOSS_RUNS} total={chosen} where="the curves of the loss" />
    </>
  );
}

export function Controls() {
  const { fields, statistic: shown, banded } = useViewState(CurvesState);
  const statistic = shown.value;
  return (
    <>
      <StatisticSelect value={statistic.id} onChange={(id) => (fields.curve.cell.value = id)} />
      <label class="field" title="5th to 95th percentile over positions and probes">
        <input
          type="checkbox"
          disabled={!statistic.spread}
          checked={banded.value}
          onChange={(event) => (fields.band.cell.value = event.currentTarget.checked)}
        />
        spread of the chosen layer (5% to 95%)
      </label>
      <LossControls />
    </>
  );
}

/** Which colour stands for which layer, and which layers are drawn. */
function LayerKey() {
  const state = useAppState();
  const view = useViewState(CurvesState);
  const { curveLayers } = view.fields;
  const shown = view.layers.value;
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
        {state.chosen.value.slice(0, view.mostRuns.value).map(({ run }) => (
          <li key={run}>
            <RunStroke run={run} neutral />
            <bdi title={shorten(run, 300)}>{shorten(run, 24)}</bdi>
          </li>
        ))}
      </ul>
    </div>
  );
}

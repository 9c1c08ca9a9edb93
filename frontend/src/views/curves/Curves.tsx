import { More } from "../../components/controls";
import { useNear } from "../../components/elementObservers";
import { EpochPlot } from "../../components/EpochPlot";
import { RunStroke } from "../../components/RunStroke";
import { StatisticSelect } from "../../components/StatisticSelect";
import { shorten } from "../../data/formatting";
import { withUnit } from "../../data/statistics";
import { layerStroke } from "../../scale/lineStyles";
import { useAppState, useViewState } from "../../state/state";
import type { CurvePlot } from "./CurvesState";
import { CurvesState, LOSS_RUNS, PLOT_HEIGHT, SMALL_HEIGHT } from "./CurvesState";
import { LossControls, Losses } from "./Losses";

/** One statistic over epochs, and the losses below it. */
export function Curves() {
  const chosen = useAppState().chosen.value.length;
  const view = useViewState(CurvesState);
  const { title: name, unit } = view.statistic.value;
  const title = withUnit(name, unit);
  const plots = view.plots.value;
  const several = plots[0]?.layer !== null;
  return (
    <>
      <div class="curves">
        <figure>
          <figcaption class="muted">
            {title}. {several ? "A plot for each layer; colour and dash: run." : "Colour: layer."}
          </figcaption>
          {several ? (
            <div class="multiples">
              {plots.map((plot) => (
                <LayerPlot key={plot.layer} plot={plot} />
              ))}
            </div>
          ) : (
            plots.map(({ data }) => (
              <EpochPlot
                key="all"
                data={data}
                height={PLOT_HEIGHT}
                label={`${name} of ${view.layers.value.length} layers over epochs`}
              />
            ))
          )}
        </figure>
        <Key several={several} />
        <Losses />
      </div>
      <More shown={view.mostRuns.value} total={chosen} where={`the curves of ${title}`} />
      <More shown={LOSS_RUNS} total={chosen} where="the curves of the loss" />
    </>
  );
}

/** The curves of one layer in several runs. */
function LayerPlot({ plot: { layer, data } }: { readonly plot: CurvePlot }) {
  const state = useAppState();
  const { title } = useViewState(CurvesState).statistic.value;
  const [element, near] = useNear<HTMLElement>();
  const name = layer ?? "";
  return (
    <figure ref={element} class={layer === state.layer.value ? "selected" : ""}>
      <figcaption>
        <button
          type="button"
          tabIndex={-1}
          title={shorten(name, 300)}
          onClick={() => {
            state.select(layer);
          }}
        >
          <bdi>{shorten(state.layerLabel(name), 40)}</bdi>
        </button>
      </figcaption>
      {near ? (
        <EpochPlot
          data={data}
          layer={layer}
          height={SMALL_HEIGHT}
          label={`${title} of ${shorten(name, 80)} over epochs`}
        />
      ) : (
        <div style={{ height: `${SMALL_HEIGHT}px` }} />
      )}
    </figure>
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

/** Which colour stands for what, and which layers are drawn. */
function Key({ several }: { readonly several: boolean }) {
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
    <div class="key" tabIndex={0} role="group" aria-label="Key of the curves">
      {several && (
        <ul aria-label="Colour and dash of each run">
          {state.chosen.value.slice(0, view.mostRuns.value).map(({ run }) => (
            <li key={run}>
              <RunStroke run={run} />
              <bdi title={shorten(run, 300)}>{shorten(run, 24)}</bdi>
            </li>
          ))}
        </ul>
      )}
      <ul aria-label="Layers drawn">
        {[...shown, ...layers.filter((name) => !shown.includes(name))].map((name) => {
          const at = shown.indexOf(name);
          const colour = at < 0 ? "transparent" : layerStroke(at, state.dark.value);
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
              {!several && <i class="swatch" style={{ background: colour }} aria-hidden="true" />}
              <button
                type="button"
                tabIndex={-1}
                title={shorten(name, 300)}
                onClick={() => {
                  state.select(name);
                }}
              >
                <bdi>{shorten(state.layerLabel(name), 24)}</bdi>
              </button>
            </li>
          );
        })}
      </ul>
    </div>
  );
}

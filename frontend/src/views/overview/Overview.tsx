import {
  COLOUR_RANGES,
  ColourRangeSelect,
  UNBOUNDED_RANGES,
  legendTitle,
} from "../../components/ColourRange";
import { Notice, Select } from "../../components/controls";
import { Legend } from "../../components/Legend";
import { StatisticSelect } from "../../components/StatisticSelect";
import { shorten } from "../../data/formatting";
import { unitOf } from "../../data/statistics";
import { useAppState, useViewState } from "../../state/state";
import { LayerValues } from "./LayerValues";
import { OverviewState } from "./OverviewState";
import { Panel } from "./Panel";

/** Layers by epochs, one panel for each run, on one colour scale. */
export function Overview() {
  const state = useAppState();
  const { matrix: shown, needed } = useViewState(OverviewState);
  const matrix = shown.value;
  return (
    <>
      <Notice text={needed.value} />
      <div class={`panels rows-${density(matrix.layers.length)}`}>
        {state.chosen.value.map((entry) => (
          <Panel key={entry.run} entry={entry} matrix={matrix} />
        ))}
      </div>
      <LayerValues />
    </>
  );
}

function density(layers: number): string {
  if (layers <= 12) return "wide";
  return layers <= 32 ? "middle" : "narrow";
}

const MODES = [
  ["value", "as it is"],
  ["change", "change from start"],
  ["difference", "difference"],
] as const;

export function Controls() {
  const state = useAppState();
  const { fields, matrix } = useViewState(OverviewState);
  const { statistic, mode, scales } = matrix.value;
  const title = legendTitle(statistic.title, mode, unitOf(statistic, mode));
  const runs = state.entries.value.map(({ run }) => [run, shorten(run, 32)] as const);
  return (
    <>
      <StatisticSelect value={statistic.id} onChange={(id) => (fields.statistic.cell.value = id)} />
      <Select
        label="Show"
        value={mode}
        options={MODES}
        onChange={(chosen) => (fields.mode.cell.value = chosen)}
      />
      {mode === "difference" && (
        <Select
          label="from"
          value={fields.reference.cell.value ?? state.chosen.value[0]?.run ?? ""}
          options={runs}
          onChange={(run) => (fields.reference.cell.value = run)}
        />
      )}
      <ColourRangeSelect
        field={fields.colours}
        offered={statistic.range ? COLOUR_RANGES : UNBOUNDED_RANGES}
      />
      <Legend scale={scales.common} title={title} each="each row from its lowest to its highest" />
    </>
  );
}

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
import type { Order } from "../../data/layerRows";
import { ORDERS } from "../../data/layerRows";
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
  const many = state.chosen.value.length > FEW_PANELS;
  return (
    <>
      <Notice text={needed.value} />
      <div
        class={`panels rows-${density(matrix.rows.length)}${many ? " many" : ""}`}
        tabIndex={many ? 0 : undefined}
        role="group"
        aria-label="Overview, a panel for each run"
      >
        {state.chosen.value.map((entry) => (
          <Panel key={entry.run} entry={entry} matrix={matrix} />
        ))}
      </div>
      <RowsNote />
      <LayerValues />
    </>
  );
}

/** What the marks mean, and how to see the layers that are left out. */
function RowsNote() {
  const { fields, rows, rowCount } = useViewState(OverviewState);
  const all = fields.allRows.cell.value;
  const left = rowCount.value - rows.value.length;
  return (
    <p class="muted rows-note">
      ◆ changed most, up to the onset if there is one. Bar above a panel: the epochs at which the
      onset may be.{" "}
      {(left > 0 || all) && (
        <button type="button" class="link" onClick={() => (fields.allRows.cell.value = !all)}>
          {all ? "Show only what changed most" : `Show ${left} more layers`}
        </button>
      )}
    </p>
  );
}

const ORDER_TITLES: Readonly<Record<Order, string>> = {
  auto: "automatic",
  change: "changed most first",
  graph: "graph order",
  module: "by module",
};

/** In which order layers are listed, and a search; in all views. */
function LayerChoice() {
  const { fields, layers } = useAppState();
  if (layers.value.length < 2) return null;
  return (
    <>
      <Select
        label="Layers"
        value={fields.order.cell.value}
        options={ORDERS.map((order) => [order, ORDER_TITLES[order]] as const)}
        onChange={(order) => (fields.order.cell.value = order)}
      />
      {layers.value.length > FEW_LAYERS && (
        <input
          type="search"
          class="find"
          placeholder="Find layers"
          aria-label="Find layers"
          value={fields.find.cell.value ?? ""}
          onInput={(event) => (fields.find.cell.value = event.currentTarget.value || null)}
        />
      )}
    </>
  );
}

function density(layers: number): string {
  if (layers <= 12) return "wide";
  return layers <= 32 ? "middle" : "narrow";
}

const FEW_PANELS = 8; // more scroll within the view
const FEW_LAYERS = 8; // found without a search

const MODES = [
  ["change", "change from start"],
  ["value", "as it is"],
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
      <LayerChoice />
      <Legend scale={scales.common} title={title} each="each row from its lowest to its highest" />
    </>
  );
}

import { ColourRangeSelect, COLOUR_RANGES, legendTitle } from "../../components/ColourRange";
import { Notice, Select } from "../../components/controls";
import { Legend } from "../../components/Legend";
import { shorten } from "../../data/formatting";
import { RELATIVE_ENTROPY } from "../../data/statistics";
import { useAppState, useViewState } from "../../state/state";
import { MapDetail } from "./MapDetail";
import { MapsState } from "./MapsState";
import { ProbePicker } from "./ProbePicker";
import { TileGrid } from "./TileGrid";

/** Entropy maps of one probe: layers by epochs, beside the probe itself. */
export function Maps() {
  return (
    <>
      <Notice text={useViewState(MapsState).needed.value} />
      <div class="maps">
        <aside aria-label="Probe">
          <ProbePicker />
          <MapDetail />
        </aside>
        <TileGrid />
      </div>
    </>
  );
}

const MODES = [
  ["value", "as they are"],
  ["change", "change from start"],
] as const;
const DIFFERENCE = ["difference", "difference"] as const;

export function Controls() {
  const state = useAppState();
  const { fields, mode: shown, runs, scale } = useViewState(MapsState);
  const mode = shown.value;
  const chosen = state.chosen.value.map(({ run }) => [run, shorten(run, 32)] as const);
  const [first = "", second = ""] = runs.value;
  return (
    <>
      <Select
        label="Run"
        value={first}
        options={chosen}
        onChange={(run) => {
          // If this is the other of the two shown, they change places.
          const beside = run === second ? first : second;
          fields.maps.cell.value = beside ? [run, beside] : [run];
        }}
      />
      <Select
        label={mode === "difference" ? "minus" : "beside"}
        value={second}
        options={[["", "no other run"], ...chosen.filter(([run]) => run !== first)]}
        onChange={(run) => (fields.maps.cell.value = run ? [first, run] : [first])}
      />
      <Select
        label="Show"
        value={mode}
        options={second ? [...MODES, DIFFERENCE] : MODES}
        onChange={(chosenMode) => (fields.mapMode.cell.value = chosenMode)}
      />
      <ColourRangeSelect field={fields.mapColours} offered={COLOUR_RANGES} />
      <Legend
        scale={scale.value}
        title={legendTitle(RELATIVE_ENTROPY.title, mode, RELATIVE_ENTROPY.unit)}
        each="each layer from its lowest to its highest"
      />
    </>
  );
}

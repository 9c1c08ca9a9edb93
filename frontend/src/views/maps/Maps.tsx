import { useMemo } from "preact/hooks";
import { RELATIVE_ENTROPY, grid } from "../../data/statistics";
import { shorten } from "../../data/formatting";
import { scalesOf } from "../../render/scales";
import type { ColourScale } from "../../scale/colour";
import { useAppState } from "../../state/state";
import { POLICIES, PolicySelect, titleOf } from "../../components/ColourRange";
import { Export } from "../../page/ExportMenu";
import { Legend } from "../../components/Legend";
import { MapDetail } from "./MapDetail";
import { mapsCsv, mapsFigure } from "./export";
import { layerPictures, rangeOfMaps, usePictureScale } from "./layerPictures";
import { ProbePicker } from "./ProbePicker";
import { Notice, Section, Select } from "../../page/Section";
import { TileGrid } from "./TileGrid";

/** Entropy maps of one probe: layers by epochs, beside the probe itself. */
export function Maps() {
  const state = useAppState();
  const scale = useCommonScale();
  return (
    <Section
      id="maps"
      title="Entropy maps"
      hint="Where in the input the entropy is high or low: layers by epochs, for one probe. The onset is underlined."
      controls={<Controls scale={scale} />}
      actions={
        <Export name="maps" figure={() => mapsFigure(state, scale)} csv={() => mapsCsv(state)} />
      }
    >
      <Notice text={state.mapsAlone.value} />
      <div class="maps">
        <aside aria-label="Probe">
          <ProbePicker />
          <MapDetail scale={scale} />
        </aside>
        <TileGrid scale={scale} />
      </div>
    </Section>
  );
}

const MODES = [
  ["value", "as they are"],
  ["change", "change since start"],
] as const;
const DIFFERENCE = ["difference", "difference of both"] as const;

function Controls({ scale }: { readonly scale: ColourScale | null }) {
  const state = useAppState();
  const { fields } = state;
  const mode = state.mapMode.value;
  const chosen = state.chosen.value.map(({ run }) => [run, shorten(run, 32)] as const);
  const [first = "", second = ""] = state.mapRuns.value;
  return (
    <>
      <Select
        label="Run"
        value={first}
        options={chosen}
        onChange={(run) => {
          // The other of the two shown: they change places.
          const beside = run === second ? first : second;
          fields.maps.cell.value = beside ? [run, beside] : [run];
        }}
      />
      <Select
        label={mode === "difference" ? "less" : "beside"}
        value={second}
        options={[["", "no other run"], ...chosen.filter(([run]) => run !== first)]}
        onChange={(run) => (fields.maps.cell.value = run ? [first, run] : [first])}
      />
      <Select
        label="Show"
        value={mode}
        options={second ? [...MODES, DIFFERENCE] : MODES}
        onChange={(wanted) => (fields.mapMode.cell.value = wanted)}
      />
      <PolicySelect field={fields.mapColours} offered={POLICIES} />
      <Legend
        scale={scale}
        title={titleOf(RELATIVE_ENTROPY.title, mode, RELATIVE_ENTROPY.unit)}
        each="each layer from its lowest to its highest"
      />
    </>
  );
}

// Of all positions, but for the outermost 5%: known before any map has arrived.
const EDGES = ["entropy_p5", "entropy_p95"].map((column) => ({ ...RELATIVE_ENTROPY, column }));

/** One scale for all layers, or null where each has its own. */
function useCommonScale(): ColourScale | null {
  const state = useAppState();
  const policy = state.fields.mapColours.cell.value;
  const mode = state.mapMode.value;
  const runs = state.mapRuns.value;
  const tables = state.tables.value;
  const searched = rangeOfMaps(state) ? state.layers.value : [];
  const ofMaps = usePictureScale(
    searched.flatMap((layer) => layerPictures(state, layer, true)),
    null,
  );
  const known = useMemo(() => {
    const shown = tables.filter(({ run }) => policy === "shared" && runs.includes(run));
    const rows = shown.flatMap((table) => EDGES.flatMap((edge) => grid(table, edge, "value")));
    return scalesOf([rows], RELATIVE_ENTROPY, mode, policy).common;
  }, [policy, mode, tables, runs]);
  return rangeOfMaps(state) ? ofMaps : known;
}

import { useMemo } from "preact/hooks";
import type { Loaded } from "../../api/resources";
import type { LayerMaps, ShownMaps } from "../../data/entropyMaps";
import { sameShape, shownEnds } from "../../data/entropyMaps";
import { probesDiffer } from "../../data/runs";
import type { Mode } from "../../data/statistics";
import { RELATIVE_ENTROPY, extent } from "../../data/statistics";
import type { LayerInfo } from "../../data/layerTable";
import { layerIndex } from "../../data/layerTable";
import { scaleOf } from "../../render/scales";
import type { ColourScale } from "../../scale/colour";
import type { MapPicture, State } from "../../state/state";
import { useAppState } from "../../state/state";
import { useKept } from "../../state/stableList";

/** The maps of one layer in one picture, as far as they have arrived. */
export interface LayerPicture extends MapPicture {
  /** Null where the run has no such layer. */
  readonly info: LayerInfo | null;
  readonly shown: ShownMaps | null;
  /** Why there is nothing to show, or what was left out. */
  readonly remarks: readonly string[];
}

/** The pictures of a layer. Their maps are asked for where they are `wanted`. */
export function layerPictures(state: State, layer: string, wanted: boolean): LayerPicture[] {
  return state.mapPictures.value.map((picture) => {
    const info = layerInfo(state, picture.run, layer);
    const absent = picture.less !== null && !layerInfo(state, picture.less, layer);
    const remark = !info ? "not in this run" : absent ? "not in both runs" : "";
    if (remark || !wanted) return { ...picture, info, shown: null, remarks: [remark] };
    return { ...picture, info, ...loadedMaps(state, layer, picture) };
  });
}

function loadedMaps(
  state: State,
  layer: string,
  { run, less }: MapPicture,
): Pick<LayerPicture, "shown" | "remarks"> {
  const probe = state.probe.value;
  const parts = [run, ...(less === null ? [] : [less])].map(
    (name) => state.maps(name, layer, probe).value,
  );
  const remarks = [...new Set(parts.flatMap(remarksOf))];
  if (parts.some(({ value }) => value === null)) return { shown: null, remarks };
  const [maps = null, reference = null] = parts.map(({ value }) => value);
  if (!maps?.steps.length) return { shown: null, remarks: [...remarks, "no maps recorded"] };
  if (reference && !sameShape(maps, reference)) {
    return { shown: null, remarks: ["maps of another shape in the other run"] };
  }
  const compared = state.chosen.value.filter((entry) => entry.run === run || entry.run === less);
  const differ = less === null ? null : probesDiffer(compared);
  if (differ) remarks.push(differ);
  return { shown: { maps, mode: state.mapMode.value, reference }, remarks };
}

function layerInfo(state: State, run: string, name: string): LayerInfo | null {
  const table = state.table(run).value.value;
  return table?.layers[layerIndex(table, name)] ?? null;
}

function remarksOf(loaded: Loaded<LayerMaps>): readonly string[] {
  if (loaded.status === "failed") return [loaded.message];
  return loaded.value ? loaded.value.warnings : ["loading …"];
}

/** The common scale, else one from the lowest to the highest value of these pictures. */
export function usePictureScale(
  pictures: readonly LayerPicture[],
  common: ColourScale | null,
): ColourScale {
  const shown = pictures.flatMap((picture) => picture.shown ?? []);
  const parts = useKept(shown.flatMap(({ maps, mode, reference }) => [maps, mode, reference]));
  const mode = useAppState().mapMode.value;
  return useMemo(() => common ?? ownScale(shown, mode), [parts, common, mode]);
}

/** From the lowest to the highest value of several maps. */
export function ownScale(pictures: readonly ShownMaps[], mode: Mode): ColourScale {
  const ends = extent([pictures.flatMap((shown) => shownEnds(shown) ?? [])]);
  return scaleOf(ends, RELATIVE_ENTROPY, mode);
}

/**
 * Whether the range of the data has to be looked for in the maps themselves. That of maps as they
 * are is recorded as percentiles; but what two percentiles differ by is no percentile of differences.
 */
export function rangeOfMaps(state: State): boolean {
  return state.fields.mapColours.cell.value === "shared" && state.mapMode.value !== "value";
}

import type { Loaded } from "../../api/resources";
import type { LayerMaps, ShownMaps } from "../../data/entropyMaps";
import { sameShape, shownEnds } from "../../data/entropyMaps";
import type { LayerInfo } from "../../data/layerTable";
import { layerIndex } from "../../data/layerTable";
import { probesDiffer } from "../../data/runs";
import type { Mode } from "../../data/statistics";
import { RELATIVE_ENTROPY, extent } from "../../data/statistics";
import { scaleOf } from "../../render/scales";
import type { ColourScale } from "../../scale/colour";
import type { State } from "../../state/state";
import type { MapsState } from "./MapsState";

/** The maps of one run, or what they have more than those of another. */
export interface MapPicture {
  readonly run: string;
  /** The run that is subtracted. */
  readonly minus: string | null;
}

/** The maps of one layer in one picture, as far as they have arrived. */
export interface LayerPicture extends MapPicture {
  /** Null if the run has no such layer. */
  readonly info: LayerInfo | null;
  readonly shown: ShownMaps | null;
  /** Why there is nothing to show, or what was left out. */
  readonly remarks: readonly string[];
}

/** The pictures of a layer. Their maps are loaded only if `wanted`. */
export function layerPictures(
  state: State,
  view: MapsState,
  layer: string,
  wanted: boolean,
): LayerPicture[] {
  return view.pictures.value.map((picture) => {
    const info = layerInfo(state, picture.run, layer);
    const absent = picture.minus !== null && !layerInfo(state, picture.minus, layer);
    const remark = !info ? "not in this run" : absent ? "not in both runs" : "";
    if (remark || !wanted) return { ...picture, info, shown: null, remarks: [remark] };
    return { ...picture, info, ...loadedMaps(state, view, layer, picture) };
  });
}

function loadedMaps(
  state: State,
  view: MapsState,
  layer: string,
  { run, minus }: MapPicture,
): Pick<LayerPicture, "shown" | "remarks"> {
  const probe = view.probe.value;
  const parts = [run, ...(minus === null ? [] : [minus])].map(
    (name) => state.data.maps(name, layer, probe).value,
  );
  const remarks = [...new Set(parts.flatMap(remarksOf))];
  if (parts.some(({ value }) => value === null)) return { shown: null, remarks };
  const [maps = null, reference = null] = parts.map(({ value }) => value);
  if (!maps?.steps.length) return { shown: null, remarks: [...remarks, "no maps recorded"] };
  if (reference && !sameShape(maps, reference)) {
    return { shown: null, remarks: ["the maps of the two runs differ in shape"] };
  }
  const compared = state.chosen.value.filter((entry) => entry.run === run || entry.run === minus);
  const differ = minus === null ? null : probesDiffer(compared);
  if (differ) remarks.push(differ);
  return { shown: { maps, mode: view.mode.value, reference }, remarks };
}

function layerInfo(state: State, run: string, name: string): LayerInfo | null {
  const table = state.data.table(run).value.value;
  return table?.layers[layerIndex(table, name)] ?? null;
}

function remarksOf(loaded: Loaded<LayerMaps>): readonly string[] {
  if (loaded.status === "failed") return [loaded.message];
  return loaded.value ? loaded.value.warnings : ["loading …"];
}

/** From the lowest to the highest value of several maps. */
export function pictureScale(pictures: readonly ShownMaps[], mode: Mode): ColourScale {
  const ends = extent([pictures.flatMap((shown) => shownEnds(shown) ?? [])]);
  return scaleOf(ends, RELATIVE_ENTROPY, mode);
}

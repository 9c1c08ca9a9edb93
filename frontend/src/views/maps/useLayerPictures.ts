import { useMemo } from "preact/hooks";
import type { ColourScale } from "../../scale/colour";
import { useStableList } from "../../state/stableList";
import { useAppState, useViewState } from "../../state/state";
import type { LayerPicture } from "./layerPictures";
import { layerPictures, pictureScale } from "./layerPictures";
import { MapsState } from "./MapsState";

/** The pictures of a layer, and the scale that they are drawn with. Loaded only if `wanted`. */
export function useLayerPictures(
  layer: string,
  wanted: boolean,
): readonly [readonly LayerPicture[], ColourScale] {
  const state = useAppState();
  const view = useViewState(MapsState);
  const pictures = layerPictures(state, view, layer, wanted);
  const shown = useStableList(
    pictures.flatMap((picture) => picture.shown ?? []),
    ({ maps, mode, reference }) => [maps, mode, reference],
  );
  const common = view.scale.value;
  const mode = view.mode.value;
  const scale = useMemo(() => common ?? pictureScale(shown, mode), [shown, common, mode]);
  return [pictures, scale];
}

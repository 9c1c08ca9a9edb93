import { useCallback, useEffect, useRef } from "preact/hooks";
import type { ShownMaps } from "../../data/entropyMaps";
import { sides, stepNear } from "../../data/entropyMaps";
import { RELATIVE_ENTROPY } from "../../data/statistics";
import { epochPhrase, shorten } from "../../data/formatting";
import { atlasCells } from "../../render/atlas";
import { paintCells } from "../../render/heatmap";
import type { ColourScale } from "../../scale/colour";
import { canvasClass } from "../../scale/colour";
import { useAppState, useViewState } from "../../state/state";
import { Canvas } from "../../components/Canvas";
import { legendTitle } from "../../components/ColourRange";
import { CursorBar } from "../../components/CursorBar";
import { Legend } from "../../components/Legend";
import { mapTooltip } from "./mapTooltip";
import type { LayerPicture } from "./layerPictures";
import { MapsState } from "./MapsState";
import { ProbeImage } from "./ProbePicker";
import { useLayerPictures } from "./useLayerPictures";
import { RunStroke } from "../../components/RunStroke";
import { Tooltip, onLeave, showTip } from "../../components/Tooltip";
import "./mapDetail.css";

interface PairProps {
  readonly pictures: readonly LayerPicture[];
  readonly scale: ColourScale;
}

/** The chosen layer's maps at the cursor, over the probe they belong to. */
export function MapDetail() {
  const layer = useAppState().layer.value;
  return layer === null ? null : <LayerDetail layer={layer} />;
}

function LayerDetail({ layer }: { readonly layer: string }) {
  const state = useAppState();
  const { large } = useViewState(MapsState).fields;
  const [pictures, scale] = useLayerPictures(layer, true);
  return (
    <div class="detail">
      <p>
        <bdi title={shorten(layer, 300)}>{shorten(layer, 24)}</bdi>,{" "}
        {epochPhrase(state.cursor.value)}
      </p>
      <Pair pictures={pictures} scale={scale} />
      <Opacity />
      <button type="button" class="link" onClick={() => (large.cell.value = true)}>
        Enlarge and play
      </button>
      {large.cell.value && <LargeView {...{ layer, pictures, scale }} />}
    </div>
  );
}

function Pair({ pictures, scale }: PairProps) {
  return (
    <div class={pictures.length > 1 ? "pair" : "single"}>
      {pictures.map((picture) => (
        <LargeMap key={picture.run} picture={picture} scale={scale} />
      ))}
    </div>
  );
}

function Opacity() {
  const { opacity } = useViewState(MapsState).fields;
  return (
    <label class="field">
      <span>Opacity</span>
      <input
        type="range"
        min={0}
        max={1}
        step={0.05}
        aria-label="Opacity of the map over the probe"
        value={opacity.cell.value}
        onInput={(event) => (opacity.cell.value = Number(event.currentTarget.value))}
      />
      <output>{Math.round(opacity.cell.value * 100)}%</output>
    </label>
  );
}

/** The same, as large as the window, with the cursor to play through the epochs. */
function LargeView(props: PairProps & { readonly layer: string }) {
  const view = useViewState(MapsState);
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    dialog.current?.showModal();
  }, []);
  const close = (): void => {
    view.fields.large.cell.value = false;
  };
  return (
    <dialog
      ref={dialog}
      class="large"
      aria-label={`Entropy maps of ${shorten(props.layer, 80)}, enlarged`}
      onClose={close}
      onCancel={close}
    >
      <CursorBar />
      <Pair pictures={props.pictures} scale={props.scale} />
      <footer>
        <Opacity />
        <Legend
          scale={props.scale}
          title={legendTitle(RELATIVE_ENTROPY.title, view.mode.value, RELATIVE_ENTROPY.unit)}
        />
        <button type="button" class="button" onClick={close}>
          Close
        </button>
      </footer>
      <Tooltip />
    </dialog>
  );
}

interface LargeProps {
  readonly picture: LayerPicture;
  readonly scale: ColourScale;
}

function LargeMap({ picture, scale }: LargeProps) {
  const { run, minus, shown, remarks } = picture;
  return (
    <figure>
      <figcaption>
        <RunStroke run={run} />
        <bdi title={shorten(run, 300)}>{shorten(run, 40)}</bdi>
        {minus !== null && (
          <span class="muted">
            minus <bdi title={shorten(minus, 300)}>{shorten(minus, 40)}</bdi>
          </span>
        )}
      </figcaption>
      <div class="stack hatched" style={{ aspectRatio: String(aspectOf(shown)) }}>
        <Underneath run={run} />
        {shown && <Map shown={shown} scale={scale} />}
      </div>
      {shown && <OtherEpoch shown={shown} />}
      {remarks.map((text) => (
        <p key={text} class="muted">
          {shorten(text, 200)}
        </p>
      ))}
    </figure>
  );
}

/** The epoch of a map, if the run has none at the cursor. */
function OtherEpoch({ shown }: { readonly shown: ShownMaps }) {
  const cursor = useAppState().cursor.value;
  const step = shown.maps.steps[stepNear(shown, cursor)];
  if (step === undefined || step === cursor) return null;
  return <p class="muted">{epochPhrase(step)}</p>;
}

/** Width over height: dense layers and strips do not need a square. */
function aspectOf(shown: ShownMaps | null): number {
  const [rows, columns] = shown ? sides(shown.maps.shape) : [1, 1];
  if (rows === 1) return 5;
  return Math.max(0.4, Math.min(5, columns / rows));
}

function Underneath({ run }: { readonly run: string }) {
  const state = useAppState();
  const probes = state.data.probes(run).value.value;
  const at = probes?.indices.indexOf(Number(useViewState(MapsState).probe.value)) ?? -1;
  return probes && at >= 0 ? <ProbeImage probes={probes} at={at} fallback="" /> : null;
}

function Map({ shown, scale }: { readonly shown: ShownMaps; readonly scale: ColourScale }) {
  const epoch = useAppState().cursor.value;
  const { opacity } = useViewState(MapsState).fields;
  const { maps, mode, reference } = shown;
  const step = stepNear(shown, epoch);
  const [rows, columns] = sides(maps.shape);
  const paint = useCallback(
    (canvas: HTMLCanvasElement) => {
      paintCells(canvas, atlasCells(shown, [step], scale));
    },
    [maps, mode, reference, step, scale],
  );
  return (
    <div
      class="over"
      style={{ opacity: String(opacity.cell.value) }}
      role="img"
      aria-label={`Entropy map of ${shorten(maps.layer, 80)}, ${epochPhrase(maps.steps[step] ?? epoch)}`}
      onMouseMove={(event) => {
        const box = event.currentTarget.getBoundingClientRect();
        const x = Math.floor(((event.clientX - box.left) / box.width) * columns);
        const y = Math.floor(((event.clientY - box.top) / box.height) * rows);
        const position = Math.min(rows - 1, y) * columns + Math.min(columns - 1, x);
        showTip(event, mapTooltip(shown, step, position));
      }}
      onMouseLeave={onLeave}
    >
      <Canvas paint={paint} class={`pixels ${canvasClass(scale)}`} />
      {maps.shape.length > 2 && <Slices count={maps.shape[0] ?? 1} />}
    </div>
  );
}

/** Lines between the slices of a solid, which are drawn below each other. */
function Slices({ count }: { readonly count: number }) {
  return <i class="slices" style={{ "--slices": String(count) }} aria-hidden="true" />;
}

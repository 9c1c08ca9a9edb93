import { useCallback, useEffect, useMemo, useRef } from "preact/hooks";
import { held, pick } from "../../data/epochs";
import type { ShownMaps } from "../../data/entropyMaps";
import { sides } from "../../data/entropyMaps";
import type { LayerInfo } from "../../data/layerTable";
import { epochPhrase, epochText, shorten } from "../../data/formatting";
import type { Painted } from "../../render/atlas";
import { paintTiles, tileSize } from "../../render/atlas";
import type { ColourScale } from "../../scale/colour";
import { canvasClass } from "../../scale/colour";
import { useAppState, useViewState } from "../../state/state";
import { Canvas } from "../../components/Canvas";
import { MapsState } from "./MapsState";
import { mapTooltip } from "./mapTooltip";
import { useNear, useWidth } from "../../components/elementObservers";
import type { LayerPicture } from "./layerPictures";
import { useLayerPictures } from "./useLayerPictures";
import { RunStroke } from "../../components/RunStroke";
import { hideTip, onLeave, showTip } from "../../components/Tooltip";
import "./tileGrid.css";

const PITCH = 37; // CSS pixels from tile to tile, at least
const WIDEST = 76;
const GAP = 3;

/** Layers by as many epochs as fit; the cursor's and the onsets are always among them. */
export function TileGrid() {
  const state = useAppState();
  const view = useViewState(MapsState);
  const [body, width] = useWidth<HTMLDivElement>();
  const runs = view.runs.value;
  const onsets = runs.flatMap((run) => state.onsetOf(run)?.epoch ?? []);
  const cursor = state.cursor.value;
  const steps = view.steps.value;
  const epochs = useMemo(
    () => pick(steps, Math.max(2, Math.floor(width / PITCH)), [cursor, ...onsets]),
    [steps, width, cursor, onsets.join()],
  );
  const pitch = Math.min(WIDEST, Math.floor(width / Math.max(1, epochs.length)));
  const layers = state.orderedLayers.value;
  return (
    <div class="tiles" role="group" aria-label="Entropy maps, layers by epochs">
      <div class="tile-head">
        <span class="labels" />
        <div class="heads" ref={body}>
          {epochs.map((epoch, tile) => (
            <button
              key={epoch}
              type="button"
              tabIndex={-1}
              class={(epoch === cursor ? "now " : "") + (onsets.includes(epoch) ? "onset" : "")}
              title={onsets.includes(epoch) ? `${epochPhrase(epoch)}, onset` : epochPhrase(epoch)}
              style={{ left: `${tile * pitch}px`, width: `${pitch - GAP}px` }}
              onClick={() => {
                state.moveTo(epoch);
              }}
            >
              {epochText(epoch)}
            </button>
          ))}
        </div>
      </div>
      {width > 0 &&
        layers.map((name) => <LayerTiles key={name} name={name} {...{ epochs, pitch }} />)}
    </div>
  );
}

interface RowProps {
  readonly name: string;
  readonly epochs: readonly number[];
  readonly pitch: number;
}

/** The maps of one layer, one strip for each picture. */
function LayerTiles({ name, epochs, pitch }: RowProps) {
  const state = useAppState();
  const [element, near] = useNear<HTMLDivElement>("150px");
  const [pictures, scale] = useLayerPictures(name, near);
  const info = pictures.find((picture) => picture.info)?.info;
  return (
    <div
      class={name === state.layer.value ? "tile-row selected" : "tile-row"}
      ref={element}
      role="group"
      aria-label={`Entropy maps of ${shorten(name, 80)}`}
    >
      <button
        type="button"
        class="labels"
        tabIndex={-1}
        title={shorten(name, 300)}
        onClick={() => {
          state.select(name);
        }}
      >
        <bdi>{shorten(state.layerLabel(name), 22)}</bdi>
        <span class="muted">{info && `D = ${info.channels}`}</span>
      </button>
      <div class="strips">
        {pictures.map((picture) => {
          const { run } = picture;
          const height = picture.info
            ? tileSize(shapeOf(picture, picture.info), pitch - GAP)[1]
            : 14;
          return (
            <div class="strip" key={run} style={{ height: `${height}px` }}>
              {pictures.length > 1 && <RunStroke run={run} />}
              <Strip picture={picture} scale={scale} {...{ height, epochs, pitch }} />
            </div>
          );
        })}
      </div>
    </div>
  );
}

/** The shape of a layer's stored maps, whose sides above 64 are pooled. */
function storedShape(info: LayerInfo): readonly number[] {
  return info.mapShape.map((side) => (side > 64 ? Math.ceil(side / Math.ceil(side / 64)) : side));
}

function shapeOf({ shown }: LayerPicture, info: LayerInfo): readonly number[] {
  return shown?.maps.shape ?? storedShape(info);
}

interface StripProps {
  readonly picture: LayerPicture;
  readonly height: number;
  readonly scale: ColourScale;
  readonly epochs: readonly number[];
  readonly pitch: number;
}

function Strip({ picture, height, scale, epochs, pitch }: StripProps) {
  const state = useAppState();
  const { info, shown } = picture;
  const width = info ? tileSize(shapeOf(picture, info), pitch - GAP)[0] : pitch - GAP;
  const painted = useRef<Painted | null>(null);
  const paint = useCallback(
    (canvas: HTMLCanvasElement) => {
      if (!shown) return;
      const steps = epochs.map((epoch) => held(shown.maps.steps, epoch));
      const tiling = { tiles: epochs.length, pitch, width, height };
      const now = { shown, scale, tiling, ratio: window.devicePixelRatio, steps };
      paintTiles(canvas, now, painted.current);
      painted.current = now;
    },
    [shown?.maps, shown?.mode, shown?.reference, epochs, scale, pitch, width, height],
  );
  const gone = shown === null; // its canvas is gone, too
  useEffect(() => {
    if (gone) painted.current = null;
  }, [gone]);
  if (!shown) return <span class="muted">{shorten(picture.remarks[0] ?? "", 120)}</span>;
  const size = { width: `${pitch * epochs.length}px`, height: `${height}px` };
  return (
    <div
      class="tile-canvas"
      style={{ ...size, "--pitch": `${pitch}px`, "--tile": `${width}px` }}
      onMouseMove={(event) => {
        const hit = hitOf(event, epochs, pitch, width, height);
        if (hit) showTip(event, tooltipOf(picture, shown, hit));
        else hideTip();
      }}
      onMouseLeave={onLeave}
      onClick={(event) => {
        const hit = hitOf(event, epochs, pitch, width, height);
        if (hit) state.select(shown.maps.layer, hit.epoch);
      }}
    >
      <Canvas paint={paint} class={canvasClass(scale)} style={size} />
      <TileCursor epochs={epochs} pitch={pitch} width={width} />
    </div>
  );
}

function TileCursor(props: {
  readonly epochs: readonly number[];
  readonly pitch: number;
  readonly width: number;
}) {
  const at = props.epochs.indexOf(useAppState().cursor.value);
  if (at < 0) return null;
  const style = { left: `${at * props.pitch - 2}px`, width: `${props.width + 4}px` };
  return <i class="tile-cursor" style={style} aria-hidden="true" />;
}

interface Hit {
  readonly epoch: number;
  /** As shares of the tile's width and height. */
  readonly x: number;
  readonly y: number;
}

function hitOf(
  event: MouseEvent & { currentTarget: HTMLElement },
  epochs: readonly number[],
  pitch: number,
  width: number,
  height: number,
): Hit | null {
  const box = event.currentTarget.getBoundingClientRect();
  const tile = Math.floor((event.clientX - box.left) / pitch);
  const x = (event.clientX - box.left - tile * pitch) / width;
  const epoch = epochs[tile];
  return epoch === undefined || x >= 1 ? null : { epoch, x, y: (event.clientY - box.top) / height };
}

function tooltipOf(picture: LayerPicture, shown: ShownMaps, { epoch, x, y }: Hit): string[] {
  const [rows, columns] = sides(shown.maps.shape);
  const row = Math.min(rows - 1, Math.floor(y * rows));
  const position = row * columns + Math.min(columns - 1, Math.floor(x * columns));
  const step = held(shown.maps.steps, epoch);
  return [
    `${shorten(shown.maps.layer, 60)}, ${epochPhrase(shown.maps.steps[step] ?? epoch)}`,
    ...mapTooltip(shown, step, position),
    shorten(picture.run, 60),
  ];
}

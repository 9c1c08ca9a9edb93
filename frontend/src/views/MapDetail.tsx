import { useCallback, useEffect, useRef } from "preact/hooks";
import type { Loaded } from "../api/resources";
import { nearest } from "../data/epochs";
import type { LayerMaps } from "../data/maps";
import { entropyAt, positionText, sides } from "../data/maps";
import { RELATIVE_ENTROPY, extent } from "../data/statistics";
import type { LayerTable } from "../data/table";
import { layerIndex } from "../data/table";
import { epochPhrase, format, shorten } from "../data/text";
import { atlasCells } from "../render/atlas";
import { paintCells } from "../render/heatmap";
import type { ColourScale } from "../scale/colour";
import { sequential } from "../scale/colour";
import { useAppState } from "../state";
import { Canvas } from "./Canvas";
import { CursorBar } from "./CursorBar";
import { Legend } from "./Legend";
import { ProbePicture } from "./ProbePicker";
import { RunStroke } from "./RunBar";
import { Tooltip, onLeave, showTip } from "./tooltip";

interface DetailProps {
  readonly runs: readonly string[];
  readonly scale: ColourScale | null;
}

/** The chosen layer's map at the cursor, over the probe it belongs to. */
export function MapDetail({ runs, scale }: DetailProps) {
  const state = useAppState();
  const layer = state.layer.value;
  if (layer === null) return null;
  return (
    <div class="detail">
      <p>
        <bdi title={shorten(layer, 300)}>{shorten(layer, 24)}</bdi>,{" "}
        {epochPhrase(state.cursor.value)}
      </p>
      <Pair layer={layer} runs={runs} scale={scale} />
      <Opacity />
      <button type="button" class="link" onClick={() => (state.fields.large.cell.value = true)}>
        Enlarge and play
      </button>
      {state.fields.large.cell.value && <LargeView layer={layer} runs={runs} scale={scale} />}
    </div>
  );
}

function Pair({ layer, runs, scale }: DetailProps & { readonly layer: string }) {
  return (
    <div class={runs.length > 1 ? "pair" : "single"}>
      {runs.map((run) => (
        <LargeMap key={run} run={run} layer={layer} scale={scale} />
      ))}
    </div>
  );
}

function Opacity() {
  const { opacity } = useAppState().fields;
  return (
    <label class="field">
      <span>Map over probe</span>
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

/** The same, as large as the window, with the epochs to play through. */
function LargeView(props: DetailProps & { readonly layer: string }) {
  const state = useAppState();
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    dialog.current?.showModal();
  }, []);
  const close = (): void => {
    state.fields.large.cell.value = false;
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
      <Pair {...props} />
      <footer>
        <Opacity />
        <Legend
          scale={props.scale}
          title="Relative entropy [of ln D]"
          each="from the layer's lowest to its highest"
        />
        <button type="button" onClick={close}>
          Close
        </button>
      </footer>
      <Tooltip />
    </dialog>
  );
}

interface LargeProps {
  readonly run: string;
  readonly layer: string;
  readonly scale: ColourScale | null;
}

function LargeMap({ run, layer, scale }: LargeProps) {
  const state = useAppState();
  const table = state.table(run).value.value;
  const info = table?.layers[layerIndex(table, layer)];
  const loaded = info ? state.maps(run, layer, state.probe.value).value : null;
  return (
    <figure>
      <figcaption>
        <RunStroke run={run} />
        <bdi title={shorten(run, 300)}>{shorten(run, 14)}</bdi>
        {loaded?.value && <OtherEpoch steps={loaded.value.steps} />}
      </figcaption>
      <div class="stack hatched" style={{ aspectRatio: String(aspectOf(loaded?.value ?? null)) }}>
        <Underneath run={run} />
        {table && loaded?.value && <Map table={table} maps={loaded.value} scale={scale} />}
      </div>
      {loaded && <Remarks loaded={loaded} />}
    </figure>
  );
}

/** What is wrong with a map. */
function Remarks({ loaded }: { readonly loaded: Loaded<LayerMaps> }) {
  const failed = loaded.status === "failed" ? [loaded.message] : [];
  return [...failed, ...(loaded.value?.warnings ?? [])].map((text) => (
    <p key={text} class="muted">
      {text}
    </p>
  ));
}

/** The epoch of a map where the run has none at the cursor. */
function OtherEpoch({ steps }: { readonly steps: Int32Array }) {
  const cursor = useAppState().cursor.value;
  const step = steps[nearest(steps, cursor)];
  if (step === undefined || step === cursor) return null;
  return <span class="muted">{epochPhrase(step)}</span>;
}

/** Width over height: dense layers and strips are not worth a square. */
function aspectOf(maps: LayerMaps | null): number {
  const [rows, columns] = maps ? sides(maps.shape) : [1, 1];
  if (rows === 1) return 5;
  return Math.max(0.4, Math.min(5, columns / rows));
}

function Underneath({ run }: { readonly run: string }) {
  const state = useAppState();
  const probes = state.probes(run).value.value;
  const at = probes?.indices.indexOf(Number(state.probe.value)) ?? -1;
  return probes && at >= 0 ? <ProbePicture probes={probes} at={at} fallback="" /> : null;
}

function Map(props: {
  readonly table: LayerTable;
  readonly maps: LayerMaps;
  readonly scale: ColourScale | null;
}) {
  const state = useAppState();
  const { maps } = props;
  const epoch = state.cursor.value;
  const step = nearest(maps.steps, epoch);
  const scale = props.scale ?? layerScale(maps);
  const [rows, columns] = sides(maps.shape);
  const paint = useCallback(
    (canvas: HTMLCanvasElement) => {
      paintCells(
        canvas,
        atlasCells(maps, [step], scale, (h) => h / Math.log(maps.channels)),
      );
    },
    [maps, step, scale.lo, scale.hi],
  );
  return (
    <div
      class="over"
      style={{ opacity: String(state.fields.opacity.cell.value) }}
      role="img"
      aria-label={`Entropy map of ${shorten(maps.layer, 80)}, ${epochPhrase(maps.steps[step] ?? epoch)}`}
      onMouseMove={(event) => {
        const box = event.currentTarget.getBoundingClientRect();
        const x = Math.floor(((event.clientX - box.left) / box.width) * columns);
        const y = Math.floor(((event.clientY - box.top) / box.height) * rows);
        const position = Math.min(rows - 1, y) * columns + Math.min(columns - 1, x);
        const h = entropyAt(maps, step, position);
        showTip(event, [
          `${RELATIVE_ENTROPY.symbol} ${format(h / Math.log(maps.channels))}, H ${format(h)} nats`,
          positionText(maps.shape, position),
        ]);
      }}
      onMouseLeave={onLeave}
    >
      <Canvas paint={paint} class="pixels" />
    </div>
  );
}

function layerScale(maps: LayerMaps): ColourScale {
  const ends = extent([maps.lo, maps.hi]) ?? [0, Math.log(maps.channels)];
  return sequential(ends[0] / Math.log(maps.channels), ends[1] / Math.log(maps.channels));
}

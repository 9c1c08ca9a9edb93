import { useCallback, useEffect, useMemo, useRef } from "preact/hooks";
import type { Loaded } from "../api/resources";
import { held, pick, union } from "../data/epochs";
import type { LayerMaps } from "../data/maps";
import { entropyAt, positionText, sides } from "../data/maps";
import { RELATIVE_ENTROPY, extent, relative } from "../data/statistics";
import type { LayerInfo } from "../data/table";
import { columnIndex, layerIndex, valueAt } from "../data/table";
import { epochPhrase, epochText, format, shorten } from "../data/text";
import type { Painted } from "../render/atlas";
import { paintTiles, tileSize } from "../render/atlas";
import type { Policy } from "../render/scales";
import type { ColourScale } from "../scale/colour";
import { sequential } from "../scale/colour";
import type { State } from "../state";
import { useAppState } from "../state";
import { Canvas } from "./Canvas";
import { Export } from "./Export";
import { mapsCsv, mapsFigure } from "./exports";
import { Legend } from "./Legend";
import { MapDetail } from "./MapDetail";
import { ProbePicker } from "./ProbePicker";
import { RunStroke } from "./RunBar";
import { Section, Select } from "./Section";
import { useNear, useWidth } from "./measure";
import { hideTip, onLeave, showTip } from "./tooltip";

const PITCH = 37; // CSS pixels from tile to tile, at least
const WIDEST = 76;
const GAP = 3;

/** Entropy maps of one probe: layers by epochs, beside the probe itself. */
export function Maps() {
  const state = useAppState();
  const runs = state.mapRuns.value;
  const scale = useCommonScale();
  return (
    <Section
      id="maps"
      title="Entropy maps"
      hint="Where in the input the entropy is high or low: layers by epochs, for one probe."
      controls={<Controls scale={scale} />}
      actions={
        <Export name="maps" figure={() => mapsFigure(state, scale)} csv={() => mapsCsv(state)} />
      }
    >
      <div class="maps">
        <aside aria-label="Probe">
          <ProbePicker />
          <MapDetail runs={runs} scale={scale} />
        </aside>
        <TileGrid runs={runs} scale={scale} />
      </div>
    </Section>
  );
}

const POLICIES: readonly (readonly [Policy, string])[] = [
  ["fixed", "0 to 1"],
  ["shared", "range of the data"],
  ["layer", "each layer its own"],
];

function Controls({ scale }: { readonly scale: ColourScale | null }) {
  const state = useAppState();
  const { fields } = state;
  const chosen = state.chosen.value.map(({ run }) => [run, shorten(run, 32)] as const);
  const [first = "", second = ""] = state.mapRuns.value;
  return (
    <>
      <Select
        label="Run"
        value={first}
        options={chosen}
        onChange={(run) =>
          (fields.maps.cell.value = second && second !== run ? [run, second] : [run])
        }
      />
      <Select
        label="beside"
        value={second}
        options={[["", "no other run"], ...chosen.filter(([run]) => run !== first)]}
        onChange={(run) => (fields.maps.cell.value = run ? [first, run] : [first])}
      />
      <Select
        label="Colours"
        value={fields.mapColours.cell.value}
        options={POLICIES}
        onChange={(policy) => (fields.mapColours.cell.value = policy)}
      />
      <Legend
        scale={scale}
        title="Relative entropy [of ln D]"
        each="each layer from its lowest to its highest"
      />
    </>
  );
}

/** One scale for all layers, or null where each has its own. */
function useCommonScale(): ColourScale | null {
  const state = useAppState();
  const policy = state.fields.mapColours.cell.value;
  const tables = state.tables.value;
  const runs = state.mapRuns.value;
  return useMemo(() => {
    if (policy === "layer") return null;
    if (policy === "fixed") return sequential(0, 1);
    // Of all positions, but for the outermost 5%: known before any map has arrived.
    const ends = tables
      .filter((table) => runs.includes(table.run))
      .flatMap((table) =>
        table.layers.flatMap((info, layer) =>
          ["entropy_p5", "entropy_p95"].map((name) =>
            Float64Array.from(table.steps, (_, step) =>
              relative(valueAt(table, step, layer, columnIndex(table, name)), info),
            ),
          ),
        ),
      );
    return sequential(...(extent(ends) ?? [0, 1]));
  }, [policy, tables, runs]);
}

function TileGrid(props: { readonly runs: readonly string[]; readonly scale: ColourScale | null }) {
  const state = useAppState();
  const { runs, scale } = props;
  const [body, width] = useWidth<HTMLDivElement>();
  const tables = state.tables.value.filter((table) => runs.includes(table.run));
  const onsets = state.chosen.value
    .filter(({ run, onset }) => runs.includes(run) && onset !== null)
    .map(({ onset }) => onset ?? 0);
  const [from, to] = state.range.value;
  const cursor = state.cursor.value;
  const epochs = useMemo(() => {
    const steps = union(tables.map((table) => table.steps)).filter((s) => s >= from && s <= to);
    return pick(steps, Math.max(2, Math.floor(width / PITCH)), [cursor, ...onsets]);
  }, [
    tables.map(({ run, steps }) => `${run} ${steps.length}`).join(),
    from,
    to,
    width,
    cursor,
    onsets.join(),
  ]);
  const pitch = Math.min(WIDEST, Math.floor(width / Math.max(1, epochs.length)));
  const layers = state.layers.value;
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
        layers.map((name) => (
          <LayerTiles key={name} name={name} {...{ runs, scale, epochs, pitch }} />
        ))}
    </div>
  );
}

interface RowProps {
  readonly name: string;
  readonly runs: readonly string[];
  readonly scale: ColourScale | null;
  readonly epochs: readonly number[];
  readonly pitch: number;
}

/** The maps of one layer, a strip a run. */
function LayerTiles({ name, runs, scale, epochs, pitch }: RowProps) {
  const state = useAppState();
  const [element, near] = useNear<HTMLDivElement>("150px");
  const infos = runs.map((run) => layerInfo(state, run, name));
  const heights = infos.map((info) => (info ? tileSize(storedShape(info), pitch - GAP)[1] : 14));
  const own = near
    ? infos.map((info, at) =>
        info ? state.maps(runs[at] ?? "", info.name, state.probe.value).value : null,
      )
    : [];
  const rowScale = scale ?? ownScale(own);
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
        <bdi>{shorten(name, 18)}</bdi>
        <span class="muted">
          {infos.find(Boolean) && `D = ${infos.find(Boolean)?.channels ?? 0}`}
        </span>
      </button>
      <div class="strips">
        {runs.map((run, at) => (
          <div class="strip" key={run} style={{ height: `${heights[at] ?? 14}px` }}>
            {runs.length > 1 && <RunStroke run={run} />}
            <Strip
              run={run}
              info={infos[at] ?? null}
              loaded={own[at] ?? null}
              height={heights[at] ?? 14}
              {...{ scale: rowScale, epochs, pitch }}
            />
          </div>
        ))}
      </div>
    </div>
  );
}

function layerInfo(state: State, run: string, name: string): LayerInfo | null {
  const table = state.table(run).value.value;
  return table?.layers[layerIndex(table, name)] ?? null;
}

/** The shape of a layer's stored maps: sides above 64 are pooled. */
function storedShape(info: LayerInfo): readonly number[] {
  return info.mapShape.map((side) => (side > 64 ? Math.ceil(side / Math.ceil(side / 64)) : side));
}

/** From the lowest to the highest H / ln D of one layer, over the runs shown. */
function ownScale(loaded: readonly (Loaded<LayerMaps> | null)[]): ColourScale {
  const ends = loaded.flatMap((entry) => {
    const maps = entry?.value;
    if (!maps) return [];
    return [maps.lo, maps.hi].map((edge) => edge.map((h) => h / Math.log(maps.channels)));
  });
  return sequential(...(extent(ends) ?? [0, 1]));
}

interface StripProps {
  readonly run: string;
  readonly info: LayerInfo | null;
  readonly loaded: Loaded<LayerMaps> | null;
  readonly height: number;
  readonly scale: ColourScale;
  readonly epochs: readonly number[];
  readonly pitch: number;
}

function Strip({ run, info, loaded, height, scale, epochs, pitch }: StripProps) {
  const state = useAppState();
  const maps = loaded?.value ?? null;
  const width = info ? tileSize(maps?.shape ?? storedShape(info), pitch - GAP)[0] : pitch - GAP;
  const painted = useRef<Painted | null>(null);
  const paint = useCallback(
    (canvas: HTMLCanvasElement) => {
      if (!maps) return;
      const steps = epochs.map((epoch) => held(maps.steps, epoch));
      const tiling = { tiles: epochs.length, pitch, width, height };
      const now = { maps, scale, tiling, ratio: window.devicePixelRatio, steps };
      paintTiles(canvas, now, (h) => h / Math.log(maps.channels), painted.current);
      painted.current = now;
    },
    [maps, epochs, scale, pitch, width, height],
  );
  useEffect(() => {
    if (!maps) painted.current = null; // the canvas is gone
  }, [maps]);
  if (!info) return <span class="muted">not in this run</span>;
  if (!maps) {
    return <span class="muted">{loaded?.status === "failed" ? loaded.message : "loading …"}</span>;
  }
  const size = { width: `${pitch * epochs.length}px`, height: `${height}px` };
  return (
    <div
      class="tile-canvas"
      style={{ ...size, "--pitch": `${pitch}px`, "--tile": `${width}px` }}
      onMouseMove={(event) => {
        const hit = hitOf(event, epochs, pitch, width, height);
        if (hit) showTip(event, tipLines(run, maps, hit));
        else hideTip();
      }}
      onMouseLeave={onLeave}
      onClick={(event) => {
        const hit = hitOf(event, epochs, pitch, width, height);
        if (hit) state.select(maps.layer, hit.epoch);
      }}
    >
      <Canvas paint={paint} style={size} />
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
  /** Shares of the tile's width and height. */
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

function tipLines(run: string, maps: LayerMaps, { epoch, x, y }: Hit): string[] {
  const [rows, columns] = sides(maps.shape);
  const row = Math.min(rows - 1, Math.floor(y * rows));
  const position = row * columns + Math.min(columns - 1, Math.floor(x * columns));
  const step = held(maps.steps, epoch);
  const h = entropyAt(maps, step, position);
  return [
    `${shorten(maps.layer, 60)}, ${epochPhrase(maps.steps[step] ?? epoch)}`,
    `${RELATIVE_ENTROPY.symbol} ${format(h / Math.log(maps.channels))}, H ${format(h)} nats`,
    `${positionText(maps.shape, position)}${maps.pooledFrom ? " of the mean-pooled map" : ""}`,
    shorten(run, 60),
  ];
}

import type { LayerMaps, Probe } from "../data/entropyMaps";
import type { Recorded } from "../data/records";
import { consecutive, continued, join } from "../data/records";
import type {
  Correlations,
  Index,
  LossChoice,
  Losses,
  LossTags,
  Onset,
  Probes,
  RunEntry,
} from "../data/runs";
import type { Column, LayerTable } from "../data/layerTable";
import type { Answer } from "./binary";
import { decode, take } from "./binary";
import type { Provider } from "./provider";

/** The server's routes below `base`. Every failure is an Error with one sentence. */
export function httpProvider(base: URL): Provider {
  const get = new Getter(base);
  return {
    index: async (signal) => indexOf(await get.json("index", {}, signal)),
    version: async (signal) => (await get.json<{ version: string }>("version", {}, signal)).version,
    layers: (run, signal, known = null) =>
      records(get, "layers", { run }, known, signal, (answer) => tableOf(run, answer)),
    maps: (run, layer, probe, signal, known = null) =>
      records(get, "maps", { run, layer, probe: String(probe) }, known, signal, (answer) =>
        mapsOf(run, probe, answer),
      ),
    correlation: (run, layer, signal, known = null) =>
      records(get, "correlation", { run, layer }, known, signal, (answer) =>
        correlationsOf(run, layer, answer),
      ),
    probes: (run, signal) => get.json<Probes>("probes", { run }, signal),
    lossTags: (run, lender, signal) =>
      get.json<LossTags>("scalars", lender === null ? { run } : { run, lender }, signal),
    onsets: async (choice, signal) => {
      const asked = parametersOf(choice);
      const answer = await get.json<{ onsets: Record<string, Onset> }>("onsets", asked, signal);
      return new Map(Object.entries(answer.onsets));
    },
    losses: async (run, choice, signal) => {
      const asked = { run, ...parametersOf(choice) };
      const answer = await get.json<Losses & { aligned_by: string | null }>(
        "scalars",
        asked,
        signal,
      );
      return { ...answer, alignedBy: answer.aligned_by };
    },
  };
}

function parametersOf({ tag, sigma, lender }: LossChoice): Parameters {
  return {
    sigma: String(sigma),
    ...(tag === null ? {} : { tag }),
    ...(lender === null ? {} : { lender }),
  };
}

type Parameters = Readonly<Record<string, string>>;

class Getter {
  constructor(private readonly base: URL) {}

  async json<T>(route: string, parameters: Parameters, signal: AbortSignal): Promise<T> {
    return (await (await this.answer(route, parameters, signal)).json()) as T;
  }

  async binary(route: string, parameters: Parameters, signal: AbortSignal): Promise<Answer> {
    return decode(await (await this.answer(route, parameters, signal)).arrayBuffer());
  }

  private async answer(
    route: string,
    parameters: Parameters,
    signal: AbortSignal,
  ): Promise<Response> {
    const url = new URL(route, this.base);
    url.search = new URLSearchParams(parameters).toString();
    let response: Response;
    try {
      response = await fetch(url, { signal, cache: "no-cache" });
    } catch (error) {
      if (signal.aborted) throw error;
      throw new Error("TensorBoard is not responding. Is it still running?", { cause: error });
    }
    if (!response.ok) throw new Error(await sentence(response));
    return response;
  }
}

async function sentence(response: Response): Promise<string> {
  try {
    const { error } = (await response.json()) as { error?: unknown };
    if (typeof error === "string") return error;
  } catch {
    // not from our server: perhaps a proxy's page
  }
  return `TensorBoard answered ${response.status} ${response.statusText}`.trim();
}

interface WireRun {
  run: string;
  steps: number;
  first_step: number | null;
  last_step: number | null;
  layers: number;
  probe_digest: string | null;
  probe_count: number | null;
  loss_tag: string | null;
  onset: number | null;
  onset_interval: [number, number] | null;
  warnings: string[];
}

function indexOf(wire: Omit<Index, "runs"> & { runs: WireRun[] }): Index {
  return { ...wire, runs: wire.runs.map(entryOf) };
}

function entryOf(wire: WireRun): RunEntry {
  return {
    ...wire,
    firstStep: wire.first_step,
    lastStep: wire.last_step,
    probeDigest: wire.probe_digest,
    probeCount: wire.probe_count,
    lossTag: wire.loss_tag,
    onsetInterval: wire.onset_interval,
  };
}

interface WireLayer {
  name: string;
  operator: string;
  channels: number;
  map_shape: number[];
  channel_axis: number;
  tapped_at: string;
  batch_norm_folded: boolean | null;
}

function tableOf(run: string, answer: Answer): LayerTable {
  const header = answer.header as unknown as {
    layers: WireLayer[];
    columns: Column[];
  };
  const layers = header.layers.map((layer) => ({
    ...layer,
    mapShape: layer.map_shape,
    channelAxis: layer.channel_axis,
    tappedAt: layer.tapped_at,
    batchNormFolded: layer.batch_norm_folded,
  }));
  return {
    run,
    layers,
    columns: header.columns,
    ...recordedOf(answer),
    wallTimes: take(answer, "wall_times", "float64"),
    globalSteps: take(answer, "global_steps", "float64"),
    values: take(answer, "values", "float32"),
  };
}

/** All records. If the server's answer continues `known`, only what has come since is fetched. */
async function records<T extends Recorded>(
  get: Getter,
  route: string,
  parameters: Parameters,
  known: T | null,
  signal: AbortSignal,
  read: (answer: Answer) => T,
): Promise<T> {
  const last = known?.steps[known.steps.length - 1];
  if (known && last !== undefined) {
    const newer = await pages(get, route, parameters, last + 1, signal);
    const whole = continued(known, newer.map(read));
    if (whole) return whole;
  }
  const whole = async (): Promise<T[]> =>
    (await pages(get, route, parameters, null, signal)).map(read);
  const answers = await whole();
  // Once more where the run resumed between two pages of it.
  return join(consecutive(answers) ? answers : await whole());
}

/** The answer from a step on, in pieces where the server cut it at a step. */
async function pages(
  get: Getter,
  route: string,
  parameters: Parameters,
  first: number | null,
  signal: AbortSignal,
): Promise<Answer[]> {
  const found: Answer[] = [];
  let from = first;
  do {
    const range: Parameters = from === null ? {} : { from: String(from) };
    const answer = await get.binary(route, { ...parameters, ...range }, signal);
    found.push(answer);
    const next = answer.header["truncated_at"];
    from = typeof next === "number" && (from === null || next > from) ? next : null;
  } while (from !== null);
  return found;
}

/** What every answer with records says about them. */
function recordedOf(answer: Answer): Recorded {
  const header = answer.header as { since: string; until: string; warnings?: string[] };
  const { since, until, warnings = [] } = header;
  return { steps: take(answer, "steps", "int32"), since, until, warnings };
}

function mapsOf(run: string, probe: Probe, answer: Answer): LayerMaps {
  const header = answer.header as unknown as {
    layer: string;
    channels: number;
    pooled_from: number[] | null;
  };
  const codes = answer.arrays.get("codes");
  return {
    run,
    layer: header.layer,
    channels: header.channels,
    probe,
    ...recordedOf(answer),
    lo: take(answer, "lo", "float32"),
    hi: take(answer, "hi", "float32"),
    codes: take(answer, "codes", "uint8"),
    shape: codes?.shape.slice(2) ?? [],
    pooledFrom: header.pooled_from,
  };
}

function correlationsOf(run: string, layer: string, answer: Answer): Correlations {
  return { run, layer, ...recordedOf(answer), counts: take(answer, "counts", "int32") };
}

import type { LayerMaps, Probe } from "../data/entropyMaps";
import type { Correlations, Index, Losses, Onset, Probes, RunEntry } from "../data/runs";
import { BINS } from "../data/runs";
import type { Column, LayerInfo, LayerTable } from "../data/layerTable";
import { ROWS } from "../data/statisticsTable";
import type { Provider } from "./provider";

/** The runs that are made up. */
export interface SyntheticPlan {
  readonly runs: readonly string[];
  readonly layers: readonly LayerInfo[];
  readonly epochs: number;
  readonly probes: number;
}

const COLUMNS: readonly Column[] = ROWS.filter(({ derived }) => derived === "as recorded").map(
  ({ column, unit, title }) => ({ name: column, unit, title }),
);

function layer(name: string, channels: number, mapShape: readonly number[]): LayerInfo {
  return {
    name,
    operator: mapShape[0] === 1 ? "Gemm" : "Conv",
    channels,
    mapShape,
    channelAxis: 1,
    tappedAt: "linear output",
    batchNormFolded: null,
  };
}

/** The paper's small network, unregularised and regularised, with an onset at epoch 14. */
export const PAPER: SyntheticPlan = {
  runs: ["sr2Net-s", "vanillaNet-s"],
  layers: [
    layer("conv1", 16, [32, 32]),
    layer("conv2", 16, [32, 32]),
    layer("conv3", 32, [16, 16]),
    layer("conv4", 32, [16, 16]),
    layer("fc1", 64, [1, 1]),
  ],
  epochs: 61,
  probes: 8,
};

/** A provider without a server. Its measurements are made up, and the same on every call. */
export function syntheticProvider(plan: SyntheticPlan = PAPER): Provider {
  return {
    index: () => Promise.resolve(indexOf(plan)),
    version: () => Promise.resolve("synthetic"),
    layers: (run) => Promise.resolve(tableOf(plan, run)),
    maps: (run, name, probe) => Promise.resolve(mapsOf(plan, run, name, probe)),
    correlation: (run, name) => Promise.resolve(correlationsOf(plan, run, name)),
    probes: (run) => Promise.resolve(probesOf(plan, run)),
    lossTags: (run) =>
      Promise.resolve({
        run,
        tags: ["accuracy/validation", "loss/training", "loss/validation"],
        guess: "loss/validation",
      }),
    losses: (run, { tag, sigma }) => Promise.resolve(lossesOf(plan, run, tag, sigma)),
    onsets: ({ tag, sigma }) =>
      Promise.resolve(
        new Map(
          plan.runs.flatMap((run) => {
            const { onset } = lossesOf(plan, run, tag ?? "loss/validation", sigma);
            return onset ? [[run, onset] as const] : [];
          }),
        ),
      ),
  };
}

const ONSET = 14;
const WHOLE = { warnings: [], since: "", until: "synthetic" };

function regularised(run: string): boolean {
  return run.startsWith("sr");
}

function indexOf(plan: SyntheticPlan): Index {
  const runs = plan.runs.map((run): RunEntry => ({
    run,
    steps: plan.epochs,
    firstStep: -1,
    lastStep: plan.epochs - 2,
    layers: plan.layers.length,
    probeDigest: "ab12",
    probeCount: 200,
    lossTag: "loss/validation",
    onset: regularised(run) ? null : onsetAt(2).epoch,
    onsetInterval: regularised(run) ? null : [onsetAt(2).first, onsetAt(2).last],
    warnings: [],
  }));
  return { version: "synthetic", loading: false, runs, lenders: plan.runs, warnings: [] };
}

/** The stronger the smoothing, the later. */
function onsetAt(sigma: number): Onset & { readonly loss: number } {
  const epoch = ONSET + Math.round(sigma) - 2;
  return { epoch, loss: 0.6, first: epoch - 3, last: epoch + 3 };
}

function stepsOf(plan: SyntheticPlan): Int32Array {
  return Int32Array.from({ length: plan.epochs }, (_, i) => i - 1);
}

/** Relative entropy. That of deep layers falls after the onset, unless the run is regularised. */
function entropyOf(plan: SyntheticPlan, run: string, index: number, step: number): number {
  const depth = index / Math.max(1, plan.layers.length - 1);
  const turned = 1 / (1 + Math.exp(-(step - ONSET) / 4));
  const fall = regularised(run) ? 0.04 : 0.15 + 0.6 * depth;
  return 0.98 - fall * turned + 0.015 * noise(index * 7919 + step * 31 + run.length);
}

/** Deterministic, between -1 and 1. */
function noise(seed: number): number {
  const x = Math.sin(seed * 12.9898 + 4.1414) * 43758.5453;
  return 2 * (x - Math.floor(x)) - 1;
}

function tableOf(plan: SyntheticPlan, run: string): LayerTable {
  const steps = stepsOf(plan);
  const width = plan.layers.length * COLUMNS.length;
  const values = new Float32Array(steps.length * width);
  steps.forEach((step, row) => {
    plan.layers.forEach((info, index) => {
      const h = entropyOf(plan, run, index, step) * Math.log(info.channels);
      const growth = regularised(run) ? 1 : 1 + Math.max(0, step) / 4;
      const cells: Readonly<Record<string, number>> = {
        entropy: h,
        entropy_std: 0.1 * h,
        entropy_p5: 0.8 * h,
        entropy_p50: h,
        entropy_p95: Math.min(1.1 * h, Math.log(info.channels)),
        scale_free_entropy: 0.9 + 0.02 * noise(step + index),
        hoyer_sparsity: 0.3 + 0.02 * noise(step + index),
        rms: 0.1 * growth,
        channel_mean_share: 0.4,
        dead_fraction: 0.02 * index,
        zero_fraction: 0.5,
        nan_share: index === 1 && step === 40 ? 0.01 : 0,
        correlation_mean: 0.02,
        correlation_mean_absolute: 0.1 + 0.001 * step,
        correlation_largest: 0.6,
        constant_filters: 0,
      };
      values.set(
        COLUMNS.map(({ name }) => cells[name] ?? NaN),
        row * width + index * COLUMNS.length,
      );
    });
  });
  return {
    run,
    layers: plan.layers,
    columns: COLUMNS,
    steps,
    wallTimes: Float64Array.from(steps, (step) => 1.7e9 + 60 * step),
    globalSteps: Float64Array.from(steps, (step) => (step + 1) * 13),
    values,
    ...WHOLE,
  };
}

function mapsOf(plan: SyntheticPlan, run: string, name: string, probe: Probe): LayerMaps {
  const steps = stepsOf(plan);
  const index = plan.layers.findIndex((known) => known.name === name);
  const info = plan.layers[index];
  if (!info) throw new Error(`run ${run} has no layer ${name}`);
  const size = info.mapShape.reduce((product, side) => product * side, 1);
  const codes = new Uint8Array(steps.length * size);
  const lo = new Float32Array(steps.length);
  const hi = new Float32Array(steps.length);
  const side = info.mapShape[info.mapShape.length - 1] ?? 1;
  steps.forEach((step, row) => {
    const h = entropyOf(plan, run, index, step) * Math.log(info.channels);
    lo[row] = 0.7 * h;
    hi[row] = h;
    for (let i = 0; i < size; i++) {
      const x = (i % side) / side - 0.5;
      const y = Math.floor(i / side) / side - 0.5;
      const ring = Math.cos(18 * Math.hypot(x, y) + (probe === "mean" ? 0 : probe));
      codes[row * size + i] = Math.round(127 + 120 * ring);
    }
  });
  return {
    run,
    layer: info.name,
    channels: info.channels,
    probe,
    steps,
    lo,
    hi,
    codes,
    shape: info.mapShape,
    pooledFrom: null,
    ...WHOLE,
  };
}

function correlationsOf(plan: SyntheticPlan, run: string, name: string): Correlations {
  const steps = stepsOf(plan);
  const counts = new Int32Array(steps.length * BINS);
  steps.forEach((step, row) => {
    const spread = (regularised(run) ? 10 : 10 + Math.max(0, step)) + name.length;
    for (let bin = 0; bin < BINS; bin++) {
      counts[row * BINS + bin] = Math.round(40 * Math.exp(-(((bin - 100) / spread) ** 2)));
    }
  });
  return { run, layer: name, steps, counts, ...WHOLE };
}

const PICTURE =
  "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAQAAAAECAAAAACMmsGiAAAAFElEQVR42mNgYGD4" +
  "z8DAwMDAAAAIAgEAx1cUFAAAAABJRU5ErkJggg==";

function probesOf(plan: SyntheticPlan, run: string): Probes {
  const indices = Array.from({ length: plan.probes }, (_, i) => i);
  const items = indices.map(() => PICTURE);
  return { run, digest: "ab12", count: 200, kind: "image", indices, items, warnings: [] };
}

function lossesOf(plan: SyntheticPlan, run: string, tag: string, sigma: number): Losses {
  const epochs = Array.from({ length: plan.epochs - 1 }, (_, i) => i);
  const rising = tag === "loss/validation" && !regularised(run);
  const smoothed = epochs.map((epoch) =>
    rising ? 0.6 + 0.001 * (epoch - ONSET) ** 2 : 0.5 + Math.exp(-epoch / 10),
  );
  return {
    run,
    tag,
    sigma,
    alignedBy: "step",
    epochs,
    values: smoothed.map((value, i) => value + 0.04 * noise(i)),
    smoothed,
    onset: rising ? onsetAt(sigma) : null,
  };
}

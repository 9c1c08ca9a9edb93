import type { Recorded } from "./records";

/** What is known about one measured layer. */
export interface LayerInfo {
  readonly name: string;
  readonly operator: string;
  /** D, the length of its receptive field activation vectors. */
  readonly channels: number;
  readonly mapShape: readonly number[];
  readonly channelAxis: number;
  readonly tappedAt: string;
  /** Whether batch normalisation was folded into the weights; null if this is unknown. */
  readonly batchNormFolded: boolean | null;
}

export interface Column {
  readonly name: string;
  readonly unit: string;
  readonly title: string;
}

/** The statistics of one run: `values` is [steps, layers, columns], NaN where not measured. */
export interface LayerTable extends Recorded {
  readonly run: string;
  readonly layers: readonly LayerInfo[];
  readonly columns: readonly Column[];
  readonly wallTimes: Float64Array;
  readonly globalSteps: Float64Array;
  readonly values: Float32Array;
}

/** Position of a layer in the table, or -1. */
export function layerIndex(table: LayerTable, name: string | null): number {
  return table.layers.findIndex((layer) => layer.name === name);
}

/** Position of a column in the table, or -1. */
export function columnIndex(table: LayerTable, name: string): number {
  return table.columns.findIndex((column) => column.name === name);
}

/** One stored value; NaN if the table has no such step, layer or column. */
export function valueAt(table: LayerTable, step: number, layer: number, column: number): number {
  if (step < 0 || layer < 0 || column < 0) return NaN;
  const { layers, columns } = table;
  return table.values[(step * layers.length + layer) * columns.length + column] ?? NaN;
}

/**
 * Names of the layers of several runs, in graph order. A layer that only later runs have is put
 * after the one that it follows there.
 */
export function layerNames(tables: readonly LayerTable[]): string[] {
  const names: string[] = [];
  for (const table of tables) {
    let after = -1;
    for (const { name } of table.layers) {
      const known = names.indexOf(name);
      if (known >= 0) after = known;
      else names.splice(++after, 0, name);
    }
  }
  return names;
}

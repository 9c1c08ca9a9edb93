/** Rows for layers: in which order, which of them, and under which names. */

export const ORDERS = ["auto", "change", "graph", "module"] as const;
export type Order = (typeof ORDERS)[number];

/** The order that "auto" stands for: a deep network begins with what changed most. */
export function orderOf(order: Order, layers: number): Exclude<Order, "auto"> {
  if (order !== "auto") return order;
  return layers > MANY_LAYERS ? "change" : "graph";
}

/** More layers than this do not fit into a window at a height that can be read. */
export const MANY_LAYERS = 32;

const MOST_MODULES = 24;
const PART = /[./]/;

/** One layer, or the layers of a folded module. */
export interface LayerRow {
  /** The layer's or the module's full name. */
  readonly name: string;
  /** The name without what all have in common. */
  readonly label: string;
  readonly layers: readonly string[];
  /** Whether this is a module, and whether its layers follow. */
  readonly module: "open" | "folded" | null;
}

/** What all names begin with, up to the end of a part: "model.features."; empty for a single name. */
export function commonPrefix(names: readonly string[]): string {
  const [first = "", ...others] = names;
  if (!others.length) return "";
  let end = 0;
  for (let at = 0; at < first.length; at++) {
    if (others.some((name) => name[at] !== first[at])) break;
    if (PART.test(first[at] ?? "")) end = at + 1;
  }
  return first.slice(0, end);
}

/** Layers whose names contain each of the words that are looked for. */
export function matching(names: readonly string[], find: string | null): readonly string[] {
  const words = (find ?? "").toLowerCase().split(/\s+/).filter(Boolean);
  if (!words.length) return names;
  return names.filter((name) => words.every((word) => name.toLowerCase().includes(word)));
}

/**
 * Layers by module, in graph order: as deep in their names as gives at most 24 modules. A module of
 * one layer is that layer.
 */
export function moduleRows(names: readonly string[], opened: readonly string[]): LayerRow[] {
  const prefix = commonPrefix(names);
  const deepest = Math.max(1, ...names.map((name) => partsOf(name, prefix).length - 1));
  let modules = grouped(names, prefix, 1);
  for (let depth = 2; depth <= deepest; depth++) {
    const finer = grouped(names, prefix, depth);
    if (finer.size > MOST_MODULES) break;
    modules = finer;
  }
  return [...modules].flatMap(([label, layers]): LayerRow[] => {
    if (layers.length === 1) return layerRows(layers, prefix);
    const name = prefix + label;
    if (!opened.includes(name)) return [{ name, label, layers, module: "folded" }];
    const within = layerRows(layers, prefix);
    return [{ name, label, layers, module: "open" }, ...within];
  });
}

/** A row for each layer. */
export function layerRows(names: readonly string[], prefix: string): LayerRow[] {
  return names.map((name) => ({
    name,
    label: name.slice(name.startsWith(prefix) ? prefix.length : 0),
    layers: [name],
    module: null,
  }));
}

function grouped(names: readonly string[], prefix: string, depth: number): Map<string, string[]> {
  const found = new Map<string, string[]>();
  for (const name of names) {
    const parts = partsOf(name, prefix);
    const module = parts.length > depth ? parts.slice(0, depth).join(".") : parts.join(".");
    found.set(module, [...(found.get(module) ?? []), name]);
  }
  return found;
}

function partsOf(name: string, prefix: string): string[] {
  return name.slice(prefix.length).split(PART).filter(Boolean);
}

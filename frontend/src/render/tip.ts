/** What stands in a tooltip: lines of text, the first a heading, and perhaps a table below them. */
export interface Tip {
  readonly lines: readonly string[];
  readonly table?: TipTable | undefined;
}

export interface TipTable {
  /** Above the names and above each of the cells. */
  readonly head: readonly string[];
  readonly rows: readonly TipRow[];
}

/** One line of a plot, or one run. */
export interface TipRow {
  readonly name: string;
  readonly stroke: string;
  readonly dash: readonly number[];
  readonly cells: readonly string[];
  /** Whether the pointer is at it. */
  readonly near: boolean;
}

/** As many rows as a tooltip has room for. */
export const TIP_ROWS = 16;

/** The rows that fit, and a line that says how many more there are. */
export function fitted(lines: readonly string[], table: TipTable): Tip {
  const { head, rows } = table;
  const left = rows.length - TIP_ROWS;
  const near = rows.findIndex((row) => row.near);
  const kept = rows.filter((_, at) => at < TIP_ROWS || at === near);
  const more = left > 0 ? [`and ${left} more, not listed`] : [];
  return { lines: [...lines, ...more], table: { head, rows: kept } };
}

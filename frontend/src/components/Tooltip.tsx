import { signal } from "@preact/signals";
import type { Tip, TipTable } from "../render/tip";
import "./tooltip.css";

interface Shown {
  readonly owner: object;
  readonly x: number;
  readonly y: number;
  readonly tip: Tip;
}

const shown = signal<Shown | null>(null);

const POINTER = {}; // the owner of what is shown because the pointer moved over something

/** Shows a tip, or lines of text, beside a point of the window. The first line is the heading. */
export function showTip(
  at: { readonly clientX: number; readonly clientY: number },
  content: Tip | readonly string[],
  owner: object = POINTER,
): void {
  const tip = "lines" in content ? content : { lines: content };
  shown.value = { owner, x: at.clientX, y: at.clientY, tip };
}

/** Hides the tooltip if it is this owner's: a chart that is drawn again hides only its own. */
export function hideTip(owner: object = POINTER): void {
  if (shown.peek()?.owner === owner) shown.value = null;
}

/** Hides the tooltip when the pointer leaves what it was about. */
export function onLeave(): void {
  hideTip();
}

const ROOM = 160; // pixels, for a tip without a table
const LINE = 19; // pixels for each of its rows

export function Tooltip() {
  if (!shown.value) return null;
  const { x, y, tip } = shown.value;
  const right = x > window.innerWidth / 2;
  const below = y + ROOM + LINE * (tip.table?.rows.length ?? 0) < window.innerHeight;
  const above = !below && y > window.innerHeight / 2;
  const style = {
    left: right ? "auto" : `${x + 14}px`,
    right: right ? `${window.innerWidth - x + 14}px` : "auto",
    top: above ? "auto" : `${below ? y + 14 : 8}px`,
    bottom: above ? `${window.innerHeight - y + 14}px` : "auto",
  };
  return (
    <div class="tip" role="tooltip" style={style}>
      {tip.lines.map((line, index) => (
        <div key={index}>{line}</div>
      ))}
      {tip.table && <Table table={tip.table} />}
    </div>
  );
}

function Table({ table }: { readonly table: TipTable }) {
  return (
    <table>
      <thead>
        <tr>
          {table.head.map((title) => (
            <th key={title} scope="col">
              {title}
            </th>
          ))}
        </tr>
      </thead>
      <tbody>
        {table.rows.map(({ name, stroke, dash, cells, near }, index) => (
          <tr key={index} class={near ? "near" : ""}>
            <th scope="row">
              <svg class="stroke" width="18" height="8" aria-hidden="true">
                <line x2="18" y1="4" y2="4" stroke={stroke} stroke-dasharray={dash.join(" ")} />
              </svg>
              {name}
            </th>
            {cells.map((cell, at) => (
              <td key={at}>{cell}</td>
            ))}
          </tr>
        ))}
      </tbody>
    </table>
  );
}

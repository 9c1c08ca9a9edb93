import { signal } from "@preact/signals";
import "./tooltip.css";

interface Tip {
  readonly owner: object;
  readonly x: number;
  readonly y: number;
  readonly lines: readonly string[];
}

const tip = signal<Tip | null>(null);

const POINTER = {}; // the owner of what is shown because the pointer moved over something

/** Shows lines of text beside a point of the window. The first one is the heading. */
export function showTip(
  at: { readonly clientX: number; readonly clientY: number },
  lines: readonly string[],
  owner: object = POINTER,
): void {
  tip.value = { owner, x: at.clientX, y: at.clientY, lines };
}

/** Hides the tooltip if it is this owner's: a chart that is drawn again hides only its own. */
export function hideTip(owner: object = POINTER): void {
  if (tip.peek()?.owner === owner) tip.value = null;
}

/** Hides the tooltip when the pointer leaves what it was about. */
export function onLeave(): void {
  hideTip();
}

export function Tooltip() {
  const shown = tip.value;
  if (!shown) return null;
  const right = shown.x > window.innerWidth - 300;
  const below = shown.y < window.innerHeight - 160;
  const style = {
    left: right ? "auto" : `${shown.x + 14}px`,
    right: right ? `${window.innerWidth - shown.x + 14}px` : "auto",
    top: below ? `${shown.y + 14}px` : "auto",
    bottom: below ? "auto" : `${window.innerHeight - shown.y + 14}px`,
  };
  return (
    <div class="tip" role="tooltip" style={style}>
      {shown.lines.map((line, index) => (
        <div key={index}>{line}</div>
      ))}
    </div>
  );
}

import { signal } from "@preact/signals";

interface Tip {
  readonly x: number;
  readonly y: number;
  readonly lines: readonly string[];
}

const tip = signal<Tip | null>(null);

/** Shows lines beside the pointer; the first one is the heading. */
export function showTip(event: MouseEvent, lines: readonly string[]): void {
  tip.value = { x: event.clientX, y: event.clientY, lines };
}

export function hideTip(): void {
  tip.value = null;
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

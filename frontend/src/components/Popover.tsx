import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";

/**
 * A button that opens a panel below it. The panel closes on Escape and on a click beside it; its
 * content exists only while it is open.
 */
export function Popover(props: {
  readonly class: string;
  readonly title: ComponentChildren;
  readonly label: string;
  readonly children: ComponentChildren;
}) {
  const [open, setOpen] = useState(false);
  const frame = useRef<HTMLDivElement>(null);
  const button = useRef<HTMLButtonElement>(null);
  useEffect(() => {
    if (!open) return;
    const onPointer = (event: PointerEvent): void => {
      if (!frame.current?.contains(event.target as Node)) setOpen(false);
    };
    const onKey = (event: KeyboardEvent): void => {
      if (event.key !== "Escape") return;
      setOpen(false);
      button.current?.focus();
    };
    document.addEventListener("pointerdown", onPointer);
    document.addEventListener("keydown", onKey);
    return () => {
      document.removeEventListener("pointerdown", onPointer);
      document.removeEventListener("keydown", onKey);
    };
  }, [open]);
  return (
    <div class={props.class} ref={frame}>
      <button
        ref={button}
        type="button"
        class="link"
        aria-expanded={open}
        onClick={() => {
          setOpen(!open);
        }}
      >
        {props.title} ▾
      </button>
      {open && (
        <div class="popover" role="group" aria-label={props.label}>
          {props.children}
        </div>
      )}
    </div>
  );
}

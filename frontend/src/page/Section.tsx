import { useAppState } from "../state/state";
import type { View } from "../views/view";
import { ExportMenu } from "./ExportMenu";

/** A view with its heading, its controls, and a button that folds it. */
export function Section({ view }: { readonly view: View }) {
  const { id, title, hint, Controls, Body } = view;
  const { closed } = useAppState().fields;
  const folded = (closed.cell.value ?? []).includes(id);
  const fold = (): void => {
    const others = (closed.cell.value ?? []).filter((other) => other !== id);
    const next = folded ? others : [...others, id];
    closed.cell.value = next.length ? next : null;
  };
  return (
    <section id={id} aria-labelledby={`${id}-title`}>
      <header>
        <h2 id={`${id}-title`}>
          <button type="button" class="fold" aria-expanded={!folded} onClick={fold}>
            <i aria-hidden="true">{folded ? "▸" : "▾"}</i>
            {title}
          </button>
        </h2>
        <p class="muted hint">{hint}</p>
        {!folded && <ExportMenu view={view} />}
        {!folded && Controls && (
          <div class="controls">
            <Controls />
          </div>
        )}
      </header>
      {!folded && <Body />}
    </section>
  );
}

import type { ComponentChildren } from "preact";
import { useAppState } from "../state/state";

/** A view with its heading, its controls, and a button that folds it. */
export function Section(props: {
  readonly id: string;
  readonly title: string;
  readonly hint: string;
  readonly controls?: ComponentChildren;
  /** At the right end of the heading. */
  readonly actions?: ComponentChildren;
  readonly children: ComponentChildren;
}) {
  const { closed } = useAppState().fields;
  const folded = (closed.cell.value ?? []).includes(props.id);
  const fold = (): void => {
    const others = (closed.cell.value ?? []).filter((id) => id !== props.id);
    const next = folded ? others : [...others, props.id];
    closed.cell.value = next.length ? next : null;
  };
  return (
    <section id={props.id} aria-labelledby={`${props.id}-title`}>
      <header>
        <h2 id={`${props.id}-title`}>
          <button type="button" class="fold" aria-expanded={!folded} onClick={fold}>
            <i aria-hidden="true">{folded ? "▸" : "▾"}</i>
            {props.title}
          </button>
        </h2>
        <p class="muted hint">{props.hint}</p>
        {!folded && props.actions}
        {!folded && props.controls && <div class="controls">{props.controls}</div>}
      </header>
      {!folded && props.children}
    </section>
  );
}

/** A sentence that the reader of a view must see; nothing where there is none. */
export function Notice({ text }: { readonly text: string | null }) {
  return text === null ? null : (
    <p class="notice" role="status">
      {text}
    </p>
  );
}

/** Says that only the first of many runs are shown in `where`. */
export function More(props: {
  readonly shown: number;
  readonly total: number;
  readonly where: string;
}) {
  const { shown, total, where } = props;
  if (total <= shown) return null;
  return (
    <p class="muted">
      Only the first {shown} of {total} runs are in {where}; choose fewer above.
    </p>
  );
}

/** A labelled choice among few. */
export function Select<T extends string>(props: {
  readonly label: string;
  readonly value: T;
  readonly options: readonly (readonly [T, string])[];
  readonly onChange: (value: T) => void;
  readonly disabled?: boolean;
}) {
  return (
    <label class="field">
      <span>{props.label}</span>
      <select
        aria-label={props.label}
        value={props.value}
        disabled={props.disabled}
        onChange={(event) => {
          const chosen = props.options.find(([value]) => value === event.currentTarget.value);
          if (chosen) props.onChange(chosen[0]);
        }}
      >
        {props.options.map(([value, title]) => (
          <option key={value} value={value}>
            {title}
          </option>
        ))}
      </select>
    </label>
  );
}

import "./controls.css";

/** Small parts that several views use. */

/** A sentence that the reader of a view must see, or nothing. */
export function Notice({ text }: { readonly text: string | null }) {
  return text === null ? null : (
    <p class="notice" role="status">
      {text}
    </p>
  );
}

/** Says that only the first of many runs are shown, and where. */
export function More(props: {
  readonly shown: number;
  readonly total: number;
  readonly where: string;
}) {
  const { shown, total, where } = props;
  if (total <= shown) return null;
  return (
    <p class="muted">
      Only the first {shown} of {total} runs are shown in {where}; choose fewer above.
    </p>
  );
}

/** A labelled choice among a few options. */
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

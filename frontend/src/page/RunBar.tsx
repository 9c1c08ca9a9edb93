import { useState } from "preact/hooks";
import { Popover } from "../components/Popover";
import { RunStroke } from "../components/RunStroke";
import type { RunEntry } from "../data/runs";
import { epochsText, onsetText } from "../data/runs";
import { count, epochText, shorten } from "../data/formatting";
import { useAppState } from "../state/state";

const INLINE = 8; // more runs than this are chosen from a list with a filter

/** The runs, and which of them are shown. */
export function RunBar() {
  const state = useAppState();
  const entries = state.entries.value;
  const chosen = new Set(state.chosen.value.map(({ run }) => run));
  const many = entries.length > INLINE;
  const shown = many ? state.chosen.value : entries;
  return (
    <div class="run-bar" role="group" aria-label="Runs">
      <div class="runs" tabIndex={many ? 0 : undefined} role="group" aria-label="Shown runs">
        {shown.map((entry) => (
          <RunChip key={entry.run} entry={entry} on={chosen.has(entry.run)} />
        ))}
      </div>
      {many && <RunList entries={entries} chosen={chosen} />}
      {state.data.index.value.value?.loading && (
        <span class="muted reading" role="status">
          TensorBoard is reading: more runs may appear.
        </span>
      )}
    </div>
  );
}

function RunChip({ entry, on }: { readonly entry: RunEntry; readonly on: boolean }) {
  const state = useAppState();
  const loaded = on ? state.data.table(entry.run).value : null;
  const table = loaded?.value;
  const onset = state.onsetOf(entry.run);
  return (
    <label class={on ? "chip on" : "chip"} title={shorten(entry.run, 300)}>
      <input
        type="checkbox"
        checked={on}
        onChange={() => {
          state.toggleRun(entry.run);
        }}
      />
      {on && <RunStroke run={entry.run} />}
      <bdi class="name">{shorten(entry.run, 40)}</bdi>
      <span class="muted">
        {table ? epochsText(table.steps.length, entry) : count(entry.steps, "epoch")}
        {loaded?.status === "loading" && table === null && ", loading"}
        {onset && ` · ${onsetText(onset)}`}
      </span>
    </label>
  );
}

function RunList(props: {
  readonly entries: readonly RunEntry[];
  readonly chosen: ReadonlySet<string>;
}) {
  const state = useAppState();
  const [filter, setFilter] = useState("");
  const onsets = state.onsets.value;
  const wanted = filter.toLowerCase();
  const found = props.entries.filter(({ run }) => run.toLowerCase().includes(wanted));
  const choose = (runs: readonly string[]): void => {
    state.fields.runs.cell.value = runs;
  };
  return (
    <Popover
      class="run-list"
      label="Choose runs"
      title={`${props.chosen.size} of ${props.entries.length} runs`}
    >
      <div class="row">
        <input
          type="search"
          placeholder="Filter runs"
          aria-label="Filter runs"
          value={filter}
          onInput={(event) => {
            setFilter(event.currentTarget.value);
          }}
        />
        <button
          type="button"
          class="button"
          onClick={() => {
            choose([...new Set([...props.chosen, ...found.map(({ run }) => run)])]);
          }}
        >
          Add {found.length}
        </button>
        <button
          type="button"
          class="button"
          onClick={() => {
            choose([]);
          }}
        >
          Clear
        </button>
      </div>
      <ul>
        {found.map((entry) => (
          <li key={entry.run}>
            <label title={shorten(entry.run, 300)}>
              <input
                type="checkbox"
                checked={props.chosen.has(entry.run)}
                onChange={() => {
                  state.toggleRun(entry.run);
                }}
              />
              <bdi class="name">{shorten(entry.run, 60)}</bdi>
              <span class="muted">
                {count(entry.steps, "epoch")}
                {onsets.has(entry.run) &&
                  ` · onset ${epochText(onsets.get(entry.run)?.epoch ?? 0)}`}
              </span>
            </label>
          </li>
        ))}
      </ul>
    </Popover>
  );
}

import { useState } from "preact/hooks";
import type { RunEntry } from "../data/runs";
import { epochsText, probesDiffer } from "../data/runs";
import { count, epochText, shorten } from "../data/formatting";
import { dashOf, strokeOf } from "../scale/lineStyles";
import { useAppState } from "../state/state";

const INLINE = 8; // more runs than this are chosen from a list with a filter

/** A short line in a run's dash and colour; in neutral ink where colours stand for layers. */
export function RunStroke({ run, neutral }: { readonly run: string; readonly neutral?: boolean }) {
  const state = useAppState();
  const index = state.strokeIndex(run);
  return (
    <svg class="stroke" width="26" height="8" aria-hidden="true">
      <line
        x1="0"
        x2="26"
        y1="4"
        y2="4"
        stroke={neutral ? "currentColor" : strokeOf(index, state.dark.value)}
        stroke-width="2.5"
        stroke-dasharray={dashOf(index).join(" ")}
      />
    </svg>
  );
}

/** The runs, which of them are shown, and what is wrong with them. */
export function RunBar() {
  const state = useAppState();
  const entries = state.entries.value;
  const chosen = new Set(state.chosen.value.map(({ run }) => run));
  const many = entries.length > INLINE;
  const shown = many ? state.chosen.value : entries;
  return (
    <div class="runs" role="group" aria-label="Runs">
      {shown.map((entry) => (
        <RunChip key={entry.run} entry={entry} on={chosen.has(entry.run)} />
      ))}
      {many && <RunList entries={entries} chosen={chosen} />}
      {state.index.value.value?.loading && (
        <span class="muted reading" role="status">
          TensorBoard is still reading: more may appear.
        </span>
      )}
    </div>
  );
}

function RunChip({ entry, on }: { readonly entry: RunEntry; readonly on: boolean }) {
  const state = useAppState();
  const loaded = on ? state.table(entry.run).value : null;
  const table = loaded?.value;
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
        {entry.onset !== null && ` · onset ${epochText(entry.onset)}`}
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
  const wanted = filter.toLowerCase();
  const found = props.entries.filter(({ run }) => run.toLowerCase().includes(wanted));
  const choose = (runs: readonly string[]): void => {
    state.fields.runs.cell.value = runs;
  };
  return (
    <details class="run-list">
      <summary>
        {props.chosen.size} of {props.entries.length} runs
      </summary>
      <div class="popover">
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
            onClick={() => {
              choose([...new Set([...props.chosen, ...found.map(({ run }) => run)])]);
            }}
          >
            Add {found.length}
          </button>
          <button
            type="button"
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
                  {entry.onset !== null && ` · onset ${epochText(entry.onset)}`}
                </span>
              </label>
            </li>
          ))}
        </ul>
      </div>
    </details>
  );
}

/** Everything that was dropped or is not comparable, one sentence each. */
export function Warnings() {
  const state = useAppState();
  const index = state.index.value;
  const chosen = state.chosen.value;
  const found = [
    ...(state.lost.value ? [state.lost.value] : []),
    ...(index.status === "failed" ? [index.message] : []),
    ...(index.value?.warnings ?? []),
    ...chosen.flatMap(({ run, warnings }) => {
      const loaded = state.table(run).value;
      const failed = loaded.status === "failed" ? [loaded.message] : [];
      // A table says what the index says of its run. Of both, as of a live run, it would stand
      // twice, with different counts, until both have arrived.
      return runWarnings(run, [...failed, ...(loaded.value?.warnings ?? warnings)]);
    }),
  ];
  const differ = probesDiffer(chosen);
  if (differ) found.push(differ);
  if (!found.length) return null;
  return (
    <ul class="warnings" role="status" aria-label="Warnings">
      {[...new Set(found)].map((text) => (
        <li key={text}>{shorten(text, 400)}</li>
      ))}
    </ul>
  );
}

function runWarnings(run: string, texts: readonly string[]): string[] {
  return texts.map((text) => `${shorten(run, 40)}: ${text}`);
}

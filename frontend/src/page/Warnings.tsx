import { shorten } from "../data/formatting";
import { probesDiffer } from "../data/runs";
import { useAppState } from "../state/state";

/** Everything that was left out or cannot be compared, one sentence each. */
export function Warnings() {
  const { data, chosen: runs } = useAppState();
  const index = data.index.value;
  const chosen = runs.value;
  const found = [
    ...(data.lost.value ? [data.lost.value] : []),
    ...(index.status === "failed" ? [index.message] : []),
    ...(index.value?.warnings ?? []),
    ...chosen.flatMap(({ run, warnings }) => {
      const loaded = data.table(run).value;
      const failed = loaded.status === "failed" ? [loaded.message] : [];
      // A table repeats what the index says of its run. Taken from both, a warning of a live run
      // would stand there twice, with different counts, until both have arrived.
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

import { useMemo, useState } from "preact/hooks";
import { caveats } from "../../data/caveats";
import { nearest } from "../../data/epochs";
import type { Statistic } from "../../data/statistics";
import { groups, STATISTICS, statisticAt, withUnit } from "../../data/statistics";
import type { LayerTable } from "../../data/layerTable";
import { layerIndex } from "../../data/layerTable";
import { atEpoch, epochText, format, shorten } from "../../data/formatting";
import { useAppState } from "../../state/state";
import { useStableList } from "../../state/stableList";
import { RunStroke } from "../../components/RunStroke";
import { More } from "../../components/controls";
import "./layerValues.css";

const MOST = 16;

/** Shown at first: the groups of statistics that fit beside each other at 1280 pixels. */
const FIRST = groups()
  .slice(0, 2)
  .flatMap(([, statistics]) => statistics);

/** Statistics of the chosen layer at the cursor, one line for each run, and notes of caution. */
export function LayerValues() {
  const state = useAppState();
  const [all, setAll] = useState(false);
  const shown = all ? STATISTICS : FIRST;
  const layer = state.layer.value;
  const tables = state.tables.value;
  if (layer === null || !tables.length) return null;
  const info = tables.map((table) => table.layers[layerIndex(table, layer)]).find(Boolean);
  return (
    <div class="layer-values">
      <table aria-label="Values of the chosen layer at the cursor" tabIndex={0}>
        <caption>
          <bdi title={shorten(layer, 300)}>{shorten(layer, 60)}</bdi> {atEpoch(state.cursor.value)}
          {info && (
            <span class="muted">
              {" "}
              {info.operator}, D = {info.channels}, {info.tappedAt}
            </span>
          )}{" "}
          <button
            type="button"
            class="link"
            aria-expanded={all}
            onClick={() => {
              setAll(!all);
            }}
          >
            {all ? "Main statistics only" : `All ${STATISTICS.length} statistics`}
          </button>
        </caption>
        <thead>
          <tr>
            <th scope="col">Run</th>
            <th scope="col" title="The run's record nearest to the cursor">
              epoch
            </th>
            {shown.map((statistic) => (
              <th
                key={statistic.id}
                scope="col"
                title={`${withUnit(statistic.title, statistic.unit)}: ${statistic.sentence}`}
              >
                {statistic.symbol}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {tables.slice(0, MOST).map((table) => (
            <Line key={table.run} table={table} layer={layer} statistics={shown} />
          ))}
        </tbody>
      </table>
      <More shown={MOST} total={tables.length} where="this table and the notes below it" />
      <Caveats />
    </div>
  );
}

function Line(props: {
  readonly table: LayerTable;
  readonly layer: string;
  readonly statistics: readonly Statistic[];
}) {
  const { table, layer, statistics } = props;
  const state = useAppState();
  const step = nearest(table.steps, state.cursor.value);
  const at = layerIndex(table, layer);
  return (
    <tr>
      <th scope="row">
        <RunStroke run={table.run} />
        <bdi title={shorten(table.run, 300)}>{shorten(table.run, 32)}</bdi>
      </th>
      <td>{step < 0 ? "–" : epochText(table.steps[step] ?? 0)}</td>
      {statistics.map((statistic) => (
        <td key={statistic.id} data-statistic={statistic.id}>
          {format(statisticAt(table, step, at, statistic))}
        </td>
      ))}
    </tr>
  );
}

/** The caveats of the layers of the chosen runs, those of the chosen layer first. */
function Caveats() {
  const state = useAppState();
  const tables = useStableList(state.tables.value.slice(0, MOST));
  const found = useMemo(
    () =>
      tables.flatMap((table) => caveats(table).map((caveat) => ({ ...caveat, run: table.run }))),
    [tables],
  );
  if (!found.length) return null;
  const layer = state.layer.value;
  const here = found.filter((caveat) => caveat.layer === layer);
  const elsewhere = found.filter((caveat) => caveat.layer !== layer);
  return (
    <div class="caveats">
      {here.map((caveat) => (
        <CaveatLine key={caveat.run + caveat.text} {...caveat} />
      ))}
      {elsewhere.length > 0 && (
        <details>
          <summary>
            Read with care: {elsewhere.length} {here.length ? "more " : ""}
            {elsewhere.length === 1 ? "note" : "notes"} on other layers
          </summary>
          {elsewhere.map((caveat) => (
            <CaveatLine key={caveat.run + caveat.layer + caveat.text} {...caveat} />
          ))}
        </details>
      )}
    </div>
  );
}

function CaveatLine(props: {
  readonly run: string;
  readonly layer: string;
  readonly text: string;
}) {
  const state = useAppState();
  return (
    <p class="caveat">
      <button
        type="button"
        class="link"
        onClick={() => {
          state.select(props.layer);
        }}
      >
        <bdi>{shorten(props.layer, 32)}</bdi>
      </button>
      <span class="muted">
        {" "}
        (<bdi>{shorten(props.run, 32)}</bdi>)
      </span>{" "}
      {props.text}
    </p>
  );
}

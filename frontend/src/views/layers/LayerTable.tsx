import { useMemo } from "preact/hooks";
import type { LayerSummary, SummaryColumn } from "../../data/layerSummary";
import { SUMMARY_COLUMNS, sorted, summaries } from "../../data/layerSummary";
import { format, shorten } from "../../data/formatting";
import { useAppState } from "../../state/state";
import { Export } from "../../page/ExportMenu";
import { layersCsv } from "../overview/export";
import { Section } from "../../page/Section";
import { useNear } from "../../components/elementObservers";

/** Every layer of the chosen runs in figures. */
export function LayerTable() {
  const state = useAppState();
  const [element, near] = useNear<HTMLDivElement>();
  return (
    <Section
      id="layers"
      title="Layers"
      hint="What each layer is and where it ended. Click a heading to sort."
      actions={<Export name="layers" csv={() => layersCsv(state)} />}
    >
      <div ref={element} class="layer-table">
        {near ? <Lines /> : <div class="reserved" />}
      </div>
    </Section>
  );
}

function Lines() {
  const state = useAppState();
  const { sort } = state.fields;
  const tables = state.tables.value;
  const order = sort.cell.value;
  const lines = useMemo(() => sorted(tables.flatMap(summaries), order), [tables, order]);
  return (
    <table aria-label="Layers of the chosen runs">
      <thead>
        <tr>
          {SUMMARY_COLUMNS.map((column) => (
            <Heading key={column.id} column={column} order={order} />
          ))}
        </tr>
      </thead>
      <tbody>
        {lines.map((line) => (
          <Line key={`${line.run} ${line.position}`} line={line} />
        ))}
      </tbody>
    </table>
  );
}

function Heading(props: { readonly column: SummaryColumn; readonly order: string | null }) {
  const { sort } = useAppState().fields;
  const { id, title, hint } = props.column;
  const up = props.order === id;
  const down = props.order === `-${id}`;
  return (
    <th scope="col" aria-sort={up ? "ascending" : down ? "descending" : "none"}>
      <button
        type="button"
        title={hint || title}
        onClick={() => (sort.cell.value = up ? `-${id}` : down ? null : id)}
      >
        {title}
        {up ? " ▴" : down ? " ▾" : ""}
      </button>
    </th>
  );
}

function Line({ line }: { readonly line: LayerSummary }) {
  const state = useAppState();
  return (
    <tr
      class={line.layer.name === state.layer.value ? "selected" : ""}
      onClick={() => {
        state.select(line.layer.name);
      }}
    >
      {SUMMARY_COLUMNS.map((column) => {
        const value = column.of(line);
        if (typeof value === "string") {
          return (
            <td key={column.id} class="text" title={shorten(value, 300)}>
              <bdi>{shorten(value, 32)}</bdi>
            </td>
          );
        }
        const whole = column.id === "channels";
        return <td key={column.id}>{whole ? value : format(value, column.signed)}</td>;
      })}
    </tr>
  );
}

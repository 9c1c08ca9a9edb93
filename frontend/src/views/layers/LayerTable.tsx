import { useNear } from "../../components/elementObservers";
import { format, shorten } from "../../data/formatting";
import type { LayerSummary, SummaryColumn } from "../../data/layerSummary";
import { SUMMARY_COLUMNS } from "../../data/layerSummary";
import { useAppState, useViewState } from "../../state/state";
import { LayersState } from "./LayersState";

/** Every layer of the chosen runs in figures. */
export function LayerTable() {
  const [element, near] = useNear<HTMLDivElement>();
  return (
    <div ref={element} class="layer-table">
      {near ? <Lines /> : <div class="reserved" />}
    </div>
  );
}

function Lines() {
  const { fields, lines } = useViewState(LayersState);
  const order = fields.sort.cell.value;
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
        {lines.value.map((line) => (
          <Line key={`${line.run} ${line.position}`} line={line} />
        ))}
      </tbody>
    </table>
  );
}

function Heading(props: { readonly column: SummaryColumn; readonly order: string | null }) {
  const { sort } = useViewState(LayersState).fields;
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

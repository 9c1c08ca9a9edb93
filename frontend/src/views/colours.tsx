import type { Mode } from "../data/statistics";
import type { Policy } from "../render/scales";
import type { Field } from "../address";
import { Select } from "./Section";

const POLICIES: readonly (readonly [Policy, string])[] = [
  ["fixed", "full range"],
  ["shared", "range of data"],
  ["layer", "each layer’s own"],
];

/** Which values set the ends of a colour scale. `bounded`: there is a range it cannot leave. */
export function PolicySelect(props: { readonly field: Field<Policy>; readonly bounded: boolean }) {
  const { cell } = props.field;
  const known = props.bounded ? POLICIES : POLICIES.slice(1);
  const chosen = !props.bounded && cell.value === "fixed" ? "shared" : cell.value;
  return (
    <Select
      label="Colours"
      value={chosen}
      options={known}
      onChange={(policy) => (cell.value = policy)}
    />
  );
}

/** What a legend calls a quantity in a mode: "RMS, change [doublings]". */
export function titleOf(title: string, mode: Mode, unit: string): string {
  return `${title}${mode === "value" ? "" : `, ${mode}`} [${unit}]`;
}

import type { Mode } from "../data/statistics";
import type { Policy } from "../render/scales";
import type { Field } from "../state/address";
import { Select } from "../page/Section";

const TITLES: Readonly<Record<Policy, string>> = {
  fixed: "full range",
  shared: "range of data",
  layer: "each layer’s own",
};

/** All there are; those of a quantity that has no range which it cannot leave. */
export const POLICIES = ["fixed", "shared", "layer"] as const;
export const UNBOUNDED = ["shared", "layer"] as const;

/** Which values set the ends of a colour scale: one of `offered`, the first where it is none. */
export function PolicySelect<P extends Policy>(props: {
  readonly field: Field<P>;
  readonly offered: readonly [P, ...P[]];
  readonly label?: string;
}) {
  const { field, offered, label = "Colours" } = props;
  const chosen = offered.find((policy) => policy === field.cell.value) ?? offered[0];
  return (
    <Select
      label={label}
      value={chosen}
      options={offered.map((policy) => [policy, TITLES[policy]] as const)}
      onChange={(policy) => (field.cell.value = policy)}
    />
  );
}

/** What a legend calls a quantity in a mode: "RMS, change [doublings]". */
export function titleOf(title: string, mode: Mode, unit: string): string {
  return `${title}${mode === "value" ? "" : `, ${mode}`} [${unit}]`;
}

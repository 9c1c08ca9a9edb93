import type { Mode } from "../data/statistics";
import { withUnit } from "../data/statistics";
import type { Policy } from "../render/scales";
import type { Field } from "../state/fields";
import { Select } from "./controls";

const TITLES: Readonly<Record<Policy, string>> = {
  fixed: "full range",
  shared: "data range",
  layer: "each layer’s own",
};

/** All of them, and those for a quantity without a fixed range. */
export const COLOUR_RANGES = ["fixed", "shared", "layer"] as const;
export const UNBOUNDED_RANGES = ["shared", "layer"] as const;

/** Which values set the ends of a colour scale: one of `offered`, by default the first. */
export function ColourRangeSelect<P extends Policy>(props: {
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
export function legendTitle(title: string, mode: Mode, unit: string): string {
  return withUnit(`${title}${mode === "value" ? "" : `, ${mode}`}`, unit);
}

import type { ComponentType } from "preact";
import type { Figure } from "../render/svg";
import type { State, ViewStateClass } from "../state/state";

/** A view of the page: everything that the page needs to know about it. */
export interface View {
  /** Stands in the address, in the names of exported files, and as the id of the element. */
  readonly id: string;
  readonly title: string;
  /** A sentence beside the title. */
  readonly hint: string;
  /** Its part of the state, with the values that it keeps in the address. */
  readonly state: ViewStateClass;
  readonly Controls?: ComponentType;
  readonly Body: ComponentType;
  /** What it shows as a picture with axes, legend and title. */
  readonly figure?: (state: State) => Figure | Promise<Figure>;
  /** The numbers behind it. */
  readonly csv: (state: State) => string | Promise<string>;
}

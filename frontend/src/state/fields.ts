import type { Signal } from "@preact/signals";
import { signal } from "@preact/signals";

/** One value of the view, and how it is written in the address. */
export interface Field<T> {
  readonly cell: Signal<T>;
  readonly start: T;
  readonly encode: (value: T) => string | null;
  readonly decode: (text: string) => T | undefined;
}

function field<T>(
  start: T,
  encode: (value: T) => string | null,
  decode: (text: string) => T | undefined,
): Field<T> {
  return { cell: signal(start), start, encode, decode };
}

export const text = (): Field<string | null> =>
  field<string | null>(
    null,
    (value) => value,
    (found) => found,
  );

export const choice = <T extends string>(options: readonly [T, ...T[]]): Field<T> =>
  field<T>(
    options[0],
    (value) => value,
    (found) => options.find((option) => option === found),
  );

export const flag = (start: boolean): Field<boolean> =>
  field(
    start,
    (value) => (value ? "1" : "0"),
    (found) => (found === "1" ? true : found === "0" ? false : undefined),
  );

export const whole = (): Field<number | null> =>
  field<number | null>(
    null,
    (value) => (value === null ? null : String(value)),
    (found) => (/^-?\d{1,9}$/.test(found) ? Number(found) : undefined),
  );

export const real = (start: number, lo: number, hi: number): Field<number> =>
  field(start, String, (found) => {
    const value = Number(found);
    return found !== "" && value >= lo && value <= hi ? value : undefined;
  });

export const names = (): Field<readonly string[] | null> =>
  field<readonly string[] | null>(
    null,
    (value) => (value === null ? null : JSON.stringify(value)),
    (found) => {
      try {
        const list: unknown = JSON.parse(found);
        if (Array.isArray(list)) return list.filter((name) => typeof name === "string");
      } catch {
        // not written by this page
      }
      return undefined;
    },
  );

export const range = (): Field<readonly [number, number] | null> =>
  field<readonly [number, number] | null>(
    null,
    (value) => (value === null ? null : value.join(":")),
    (found) => {
      const [lo, hi] = found.split(":").map(Number);
      return lo !== undefined && hi !== undefined && hi > lo ? [lo, hi] : undefined;
    },
  );

/** Values by their names in the address. */
// eslint-disable-next-line @typescript-eslint/no-explicit-any -- fields of different types
export type Fields = Readonly<Record<string, Field<any>>>;

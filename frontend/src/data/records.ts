/**
 * Records of a run, one for each step, as an answer of the server holds them. Its typed arrays hold
 * one record after another; everything else applies to all of them.
 */
export interface Recorded {
  readonly steps: Int32Array;
  readonly warnings: readonly string[];
  /** Digests of the records before these, and of those up to their end: only to be compared. */
  readonly since: string;
  readonly until: string;
}

/**
 * Joins answers that follow one another. Those that describe something else are left out. The
 * warnings are those of the newest answer, which cover the whole run, whatever range was asked for.
 */
export function join<T extends Recorded>(answers: readonly T[]): T {
  const newest = answers[answers.length - 1];
  if (!newest) throw new Error("The server sent no answer.");
  const fitting = answers.filter((answer) => description(answer) === description(newest));
  const [first = newest] = fitting;
  if (answers.length === 1) return newest;
  const whole = { ...newest, since: first.since };
  for (const [name, value] of Object.entries(newest)) {
    if (!isArray(value)) continue;
    const parts = fitting.map((answer) => (answer as unknown as Arrays)[name] ?? value);
    Object.assign(whole, { [name]: concatenated(value, parts) });
  }
  return whole;
}

/**
 * Appends newer answers to what is known, which is returned itself if they hold nothing new. Null if
 * they do not continue it, because the run resumed at an earlier step or its layers changed.
 */
export function continued<T extends Recorded>(known: T, answers: readonly T[]): T | null {
  if (!answers.length || !consecutive([known, ...answers])) return null;
  if (answers.some((answer) => description(answer) !== description(known))) return null;
  const nothingNew = answers.every(
    ({ steps, warnings }) =>
      !steps.length && JSON.stringify(warnings) === JSON.stringify(known.warnings),
  );
  return nothingNew ? known : join([known, ...answers]);
}

/** Whether each begins where the one before it ended, so that the run did not change in between. */
export function consecutive(answers: readonly Recorded[]): boolean {
  return answers.slice(1).every(({ since }, at) => since === answers[at]?.until);
}

type NumberArray = Float32Array | Float64Array | Int32Array | Uint8Array;
type Arrays = Readonly<Record<string, NumberArray | undefined>>;

function isArray(value: unknown): value is NumberArray {
  return ArrayBuffer.isView(value);
}

/** Everything that applies to all records. */
function description(answer: Recorded): string {
  const ofRecords = ["warnings", "since", "until"];
  return JSON.stringify(answer, (name, value: unknown) =>
    isArray(value) || ofRecords.includes(name) ? undefined : value,
  );
}

function concatenated(like: NumberArray, parts: readonly NumberArray[]): NumberArray {
  const Type = like.constructor as new (length: number) => NumberArray;
  const whole = new Type(parts.reduce((size, part) => size + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** A number for people: three decimal places below 10, fewer above; – if it is not finite. */
export function format(value: number, signed = false): string {
  if (!Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  const text =
    size !== 0 && (size < 0.0005 || size >= 1e6) ? value.toExponential(2) : places(value);
  const sign = signed && value > 0 && Number(text) !== 0 ? "+" : "";
  return sign + minus(Number(text) === 0 ? text.replace("-", "") : text);
}

/** A round number, as at an axis: without trailing zeros. */
export function formatRound(value: number): string {
  return format(value).replace(/\.?0+(?=e|$)/, (zeros, _at: number, text: string) =>
    text.includes(".") ? "" : zeros,
  );
}

function places(value: number): string {
  const size = Math.abs(value);
  if (size >= 1000) return value.toFixed(0);
  return value.toFixed(size >= 100 ? 1 : size >= 10 ? 2 : 3);
}

/** With a true minus sign, as wide as a plus. */
export function minus(text: string): string {
  return text.replace("-", "−");
}

/** An epoch as a number. */
export function epochText(epoch: number): string {
  return minus(String(epoch));
}

/** An epoch, written out. */
export function epochPhrase(epoch: number): string {
  return epoch < 0 ? "before training" : `epoch ${epoch}`;
}

/** An epoch in a sentence: "at epoch 14". */
export function atEpoch(epoch: number): string {
  return epoch < 0 ? epochPhrase(epoch) : `at ${epochPhrase(epoch)}`;
}

/** A share as a percentage. */
export function percent(share: number): string {
  const value = share * 100;
  return `${value > 0 && value < 1 ? value.toFixed(1) : value.toFixed(0)}%`;
}

/** A long name with its middle left out. More of the end is kept, which tells layers apart. */
export function shorten(name: string, limit = 28): string {
  const letters = [...name];
  if (letters.length <= limit) return name;
  const head = Math.floor((limit - 1) / 3);
  const tail = limit - 1 - head;
  return letters.slice(0, head).join("") + "…" + letters.slice(letters.length - tail).join("");
}

/** "1 epoch", "2 epochs". */
export function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? "" : "s"}`;
}

/** "a, b and c". */
export function listed(parts: readonly string[]): string {
  if (parts.length < 2) return parts.join("");
  return `${parts.slice(0, -1).join(", ")} and ${parts[parts.length - 1] ?? ""}`;
}

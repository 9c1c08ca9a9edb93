/**
 * TensorBoard keeps its state in the address's hash: "#sparsity&p.sparsity.layer=conv3". These
 * functions read and replace the parameters that have one prefix, and leave the rest as it is.
 */

/** Our parameters, without the prefix. */
export function readHash(hash: string, prefix: string): Map<string, string> {
  const found = new Map<string, string>();
  for (const part of parts(hash)) {
    const [key, value] = pair(part);
    if (key.startsWith(prefix)) found.set(key.slice(prefix.length), value);
  }
  return found;
}

/** The hash with our parameters replaced by `values`. */
export function writeHash(
  hash: string,
  prefix: string,
  values: ReadonlyMap<string, string>,
): string {
  const others = parts(hash).filter((part) => !pair(part)[0].startsWith(prefix));
  const ours = [...values].map(
    ([key, value]) => `${encodeURIComponent(prefix + key)}=${encodeURIComponent(value)}`,
  );
  const all = [...others, ...ours];
  return all.length ? `#${all.join("&")}` : "";
}

function parts(hash: string): string[] {
  return hash.replace(/^#/, "").split("&").filter(Boolean);
}

function pair(part: string): [string, string] {
  const at = part.indexOf("=");
  if (at < 0) return ["", part];
  return [unescape(part.slice(0, at)), unescape(part.slice(at + 1))];
}

function unescape(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // someone typed a bare %
  }
}

/** Which of the user's scalars is the accuracy on held-out data, by its name; null if none looks so. */
export function accuracyTag(tags: readonly string[]): string | null {
  const found = tags.filter((tag) => ACCURACY.test(tag) && HELD_OUT.test(tag));
  return found.sort((a, b) => a.length - b.length)[0] ?? null;
}

const ACCURACY = /(^|[^a-z])acc(uracy)?([^a-z]|$)/i;
const HELD_OUT = /(^|[^a-z])(val|valid|validation|eval|evaluation|dev|holdout|test)([^a-z]|$)/i;

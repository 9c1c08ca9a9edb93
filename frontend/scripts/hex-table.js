/**
 * 256 samples of an interpolator, six hexadecimal digits each.
 * @param {(share: number) => string} interpolate gives "#rrggbb" or "rgb(r, g, b)"
 */
export function hexTable(interpolate) {
  return Array.from({ length: 256 }, (_, i) => hex(interpolate(i / 255))).join("");
}

/** @param {string} colour */
function hex(colour) {
  if (colour.startsWith("#")) return colour.slice(1);
  const parts = colour.match(/\d+/g) ?? [];
  return parts.map((part) => Number(part).toString(16).padStart(2, "0")).join("");
}

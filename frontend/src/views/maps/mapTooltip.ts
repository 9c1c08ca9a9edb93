import type { ShownMaps } from "../../data/entropyMaps";
import {
  baseAt,
  entropyAt,
  positionText,
  relativeAt,
  shownAt,
  startOf,
} from "../../data/entropyMaps";
import { RELATIVE_ENTROPY } from "../../data/statistics";
import { atEpoch, format, shorten } from "../../data/formatting";

/** What the tooltip says of one position of a map, line by line. */
export function mapTooltip(shown: ShownMaps, step: number, position: number): string[] {
  const { maps } = shown;
  const pooled = maps.pooledFrom ? " of the mean-pooled map" : "";
  return [valueText(shown, step, position), `${positionText(maps.shape, position)}${pooled}`];
}

function valueText(shown: ShownMaps, step: number, position: number): string {
  const { maps, mode, reference } = shown;
  const here = relativeAt(maps, step)[position] ?? NaN;
  const symbol = RELATIVE_ENTROPY.symbol;
  if (mode === "value") {
    return `${symbol} ${format(here)}, H ${format(entropyAt(maps, step, position))} nats`;
  }
  const difference = format(shownAt(shown, step)[position] ?? NaN, true);
  const base = format(baseAt(shown, step)[position] ?? NaN);
  const start = atEpoch(maps.steps[startOf(maps)] ?? 0);
  const where = mode === "change" ? start : `in ${shorten(reference?.run ?? "", 40)}`;
  return `${symbol} ${difference}: ${format(here)} against ${base} ${where}`;
}

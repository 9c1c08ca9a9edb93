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
import { epochPhrase, format, shorten } from "../../data/formatting";

/** What is told of one position of a map, in lines. */
export function mapTip(shown: ShownMaps, step: number, position: number): string[] {
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
  const less = format(shownAt(shown, step)[position] ?? NaN, true);
  const base = format(baseAt(shown, step)[position] ?? NaN);
  const since = epochPhrase(maps.steps[startOf(maps)] ?? 0);
  const from = mode === "change" ? since : `in ${shorten(reference?.run ?? "", 40)}`;
  return `${symbol} ${less}: ${format(here)}, ${base} ${from}`;
}

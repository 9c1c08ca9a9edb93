/** Round numbers between lo and hi, about `count` of them. Round ends are included. */
export function ticks(lo: number, hi: number, count: number): number[] {
  if (!(hi > lo) || count < 1) return [lo];
  const rough = (hi - lo) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough) ?? rough;
  const first = Math.ceil(lo / step - 1e-9);
  const last = Math.floor(hi / step + 1e-9);
  return Array.from({ length: Math.max(0, last - first + 1) }, (_, i) => tidy((first + i) * step));
}

/** Whole numbers only. */
export function wholeTicks(lo: number, hi: number, count: number): number[] {
  const found = ticks(lo, hi, count);
  const step = (found[1] ?? 0) - (found[0] ?? 0);
  return step >= 1 || found.length < 2
    ? found.filter(Number.isInteger)
    : ticks(lo, hi, Math.max(1, Math.floor(hi - lo))).filter(Number.isInteger);
}

/** Powers of ten, with 2 and 5 between them if there are few. */
export function logTicks(lo: number, hi: number): number[] {
  const from = Math.floor(Math.log10(lo));
  const to = Math.ceil(Math.log10(hi));
  const factors = to - from <= 2 ? [1, 2, 5] : [1];
  const every = Math.max(1, Math.ceil((to - from) / 6));
  const found: number[] = [];
  for (let power = from; power <= to; power += every) {
    for (const factor of factors) found.push(tidy(factor * 10 ** power));
  }
  return found.filter((value) => value >= lo * (1 - 1e-9) && value <= hi * (1 + 1e-9));
}

function tidy(value: number): number {
  return Number(value.toPrecision(12));
}

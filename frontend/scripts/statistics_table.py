"""Writes what follows from the table of statistics: the tab's table, a page of documentation.

python frontend/scripts/statistics_table.py
"""

from __future__ import annotations

import json
from pathlib import Path

from sparsight.schema import STATISTICS, Statistic

ROOT = Path(__file__).parents[2]
MADE = (
    "by frontend/scripts/statistics_table.py from core/sparsight/schema/statistics.py; do not edit"
)


def typescript() -> str:
    """The table as the tab has it."""
    rows = "".join(f"  {json.dumps(_row(s), ensure_ascii=False)},\n" for s in STATISTICS.values())
    return (
        f"// Made {MADE}.\n\n"
        'import type { StatisticRow } from "./statistics";\n\n'
        f"export const ROWS: readonly StatisticRow[] = [\n{rows}];\n"
    )


def _row(statistic: Statistic) -> dict[str, object]:
    lowest, highest = statistic.range
    numbers = isinstance(lowest, int | float) and isinstance(highest, int | float)
    return {
        "id": statistic.name,
        "title": statistic.title,
        "symbol": statistic.symbol,
        "sentence": statistic.sentence,
        "group": statistic.group,
        "unit": statistic.unit,
        "range": [lowest, highest] if numbers else None,
        "logarithmic": statistic.logarithmic,
        "column": statistic.column,
        "derived": statistic.derived,
        "spread": statistic.spread,
    }


def markdown() -> str:
    """The table as the documentation has it."""
    lines = [
        f"<!-- Made {MADE}. -->\n",
        "# Statistics\n",
        "What is known of a layer at each step: the names that `--statistics`, `--statistic` and",
        "files use, and what the tab and figures call them. D is the number of channels. *Healthy*",
        "says which values a dense layer of working channels has.\n",
        "| name | title | symbol | range | healthy | what it is |",
        "|---|---|---|---|---|---|",
    ]
    return "\n".join([*lines, *map(_line, STATISTICS.values()), ""])


def _line(statistic: Statistic) -> str:
    lowest, highest = ("" if end is None else str(end) for end in statistic.range)
    ends = f"{lowest} to {highest}" if highest else f"from {lowest}"
    cells = (
        f"`{statistic.name}`",
        statistic.heading,
        statistic.symbol,
        f"{ends}, logarithmic" if statistic.logarithmic else ends,
        statistic.healthy or "",
        statistic.sentence,
    )
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


FILES = {
    ROOT / "frontend/src/data/statisticsTable.ts": typescript,
    ROOT / "docs/statistics.md": markdown,
}


if __name__ == "__main__":
    for path, made in FILES.items():
        path.write_text(made(), "utf-8")

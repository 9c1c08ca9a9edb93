"""The table of statistics, and what is made of it."""

from __future__ import annotations

import math
import runpy
from pathlib import Path

import numpy as np
import pytest

from sparsight.schema import COLUMNS, STATISTICS
from sparsight.schema.statistics import recorded

ROOT = Path(__file__).parents[3]
MADE = runpy.run_path(str(ROOT / "frontend/scripts/statistics_table.py"))["FILES"]


@pytest.mark.parametrize("path", MADE, ids=lambda path: path.name)
def test_what_is_made_of_the_table_is_fresh(path: Path) -> None:
    assert path.read_text("utf-8") == MADE[path](), (
        f"{path.name} is stale: python frontend/scripts/statistics_table.py"
    )


def test_every_statistic_is_recorded_or_made_of_what_is() -> None:
    columns = {column.name for column in COLUMNS}
    assert columns == {statistic.name for statistic in recorded()}
    for name, statistic in STATISTICS.items():
        assert statistic.name == name
        assert {statistic.column, *(statistic.spread or ())} <= columns
        assert statistic.sentence.endswith(".")
        lowest, highest = statistic.limits(8)
        assert lowest is not None
        assert highest is None or lowest < highest


def test_titles_symbols_and_sentences_tell_statistics_apart() -> None:
    for words in ("title", "symbol", "sentence"):
        assert len({getattr(s, words) for s in STATISTICS.values()}) == len(STATISTICS)


def test_derived_ones_follow_from_their_column() -> None:
    values = np.array([0.0, math.log(8)])
    np.testing.assert_allclose(STATISTICS["relative_entropy"].of(values, 8), [0, 1])
    np.testing.assert_allclose(STATISTICS["perplexity"].of(values, 8), [1, 8])
    np.testing.assert_array_equal(STATISTICS["entropy"].of(values, 8), values)
    assert np.isnan(STATISTICS["relative_entropy"].of(values, 1)).all()
    assert STATISTICS["entropy"].limits(8) == (0, math.log(8))
    assert STATISTICS["perplexity"].limits(8) == (1, 8)


def test_headings_and_labels_name_the_unit_where_there_is_one() -> None:
    assert STATISTICS["entropy"].heading == "RFAV entropy [nats]"
    assert STATISTICS["entropy"].label == "H [nats]"
    assert STATISTICS["relative_entropy"].label == "H / ln D"

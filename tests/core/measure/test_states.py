"""States are declared: a vector at each position is added up and averaged like a number."""

from __future__ import annotations

import numpy as np
import pytest

from sparsight.measure.batch import BatchStatistics, Counted
from sparsight.measure.results import RESULTS, Totals, averaged
from sparsight.measure.states import STATES, added, averages, merged
from sparsight.schema import COLUMNS, STATISTICS, LayerInfo, Statistic

LAYER = LayerInfo("conv1", "Conv", 7, (), 1, "linear output")
LADDER = [
    Statistic(f"ladder_{part}", "", "", "", "", measured="ladder", averaged="values", part=part)
    for part in range(3)
]


def test_a_vector_at_each_position_merges_and_is_averaged_by_component() -> None:
    random = np.random.default_rng(0)
    entropy = random.uniform(0, 1, (5, 2, 3))
    entropy[1, 0, 0] = np.nan
    ladder = random.normal(size=(5, 2, 3, 3)) ** 2
    states = (STATES[0], *averages(LADDER))
    values: dict = {}
    for first, last in ((0, 2), (2, 5)):
        batch = BatchStatistics(entropy[first:last], {"ladder": ladder[first:last]})
        values = merged(states, values, added(states, Counted(batch, LAYER, first, ())))
    assert values["ladder"].shape == (3,)
    expected = ladder[np.isfinite(entropy)].mean(axis=0)
    for part, result in enumerate(averaged(LADDER).values()):
        assert result(Totals(values, LAYER)) == pytest.approx(expected[part])
    assert np.isnan(averaged(LADDER)["ladder_1"](Totals({}, LAYER)))


def test_every_column_has_a_result_and_nothing_else_has() -> None:
    assert RESULTS.keys() == {column.name for column in COLUMNS}


def test_states_have_names_of_their_own() -> None:
    assert len({state.name for state in STATES}) == len(STATES)
    per_rfav = {s.measured for s in STATISTICS.values() if s.averaged}
    assert per_rfav <= {state.name for state in STATES}


def test_merging_changes_neither_side() -> None:
    batch = BatchStatistics(
        np.ones((2, 1, 1)), {"rms": np.ones((2, 1, 1))}, relu_maximum=np.float32([1, np.nan, -1])
    )
    one, other = (added(STATES, Counted(batch, LAYER, first, (0, 3))) for first in (0, 2))
    before = {name: np.copy(value) for name, value in one.items()}
    both = merged(STATES, one, other)
    np.testing.assert_equal({name: np.copy(value) for name, value in one.items()}, before)
    assert both["finite"] == 4
    assert set(both["maps"]) == {0, 3}
    np.testing.assert_array_equal(both["relu_maximum"], [1, np.nan, -1])
    assert "channel_sums" not in both

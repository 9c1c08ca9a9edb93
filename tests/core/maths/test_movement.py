"""How far a layer moved, by the rule that the page applies too."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sparsight.maths.movement import moved, settled, started

SHARED = json.loads((Path(__file__).parents[2] / "movement.json").read_text("utf-8"))
CURVES = hnp.arrays(np.float64, st.integers(0, 90), elements=st.floats(-1e6, 1e6) | st.just(np.nan))


@pytest.mark.parametrize("case", SHARED, ids=lambda case: case["name"])
def test_the_numbers_that_the_page_is_held_to_as_well(case) -> None:
    values = np.array(case["values"], np.float64)  # null becomes NaN
    found = (started(values), settled(values), moved(values))
    wanted = np.array([case["started"], case["settled"], case["moved"]], np.float64)
    assert found == pytest.approx(wanted, abs=1e-12, nan_ok=True)


@given(CURVES)
def test_by_the_definition_written_out(values) -> None:
    known = [i for i, value in enumerate(values) if math.isfinite(value)]
    if not known:
        assert math.isnan(moved(values))
        return
    own = list(values[known[0] :])
    number = 10 if len(own) >= 60 else -(-len(own) // 6)
    late = [value for value in (own[1:] or own)[-number:] if math.isfinite(value)]
    assert started(values) == own[0]
    assert settled(values) == pytest.approx(np.median(late) if late else np.nan, nan_ok=True)


@given(CURVES, st.integers(0, 9))
def test_records_before_a_layer_came_change_nothing(values, before) -> None:
    longer = np.concatenate([np.full(before, np.nan), values])
    assert moved(longer) == pytest.approx(moved(values), nan_ok=True)


@given(CURVES, st.floats(-10, 10))
def test_a_shift_of_the_whole_curve_is_no_movement(values, shift) -> None:
    assert moved(values + shift) == pytest.approx(moved(values), abs=1e-6, nan_ok=True)

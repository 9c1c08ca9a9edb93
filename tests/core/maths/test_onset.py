from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsight.maths.onset import (
    Clock,
    Onset,
    Turn,
    curve_names,
    epochs_at,
    find_accuracy,
    find_onset,
    find_training_loss,
    find_turn,
    find_validation_loss,
    line_up,
    onset_interval,
    related,
    smooth,
)

losses = st.lists(st.floats(0.01, 100), min_size=1, max_size=40)


@given(losses, st.floats(0.5, 5))
def test_smoothing_is_the_weighted_mean(values: list[float], sigma: float) -> None:
    expected = []
    for at in range(len(values)):
        weights = [np.exp(-((other - at) ** 2) / (2 * sigma**2)) for other in range(len(values))]
        expected.append(sum(w * v for w, v in zip(weights, values, strict=True)) / sum(weights))
    np.testing.assert_allclose(smooth(range(len(values)), values, sigma), expected, rtol=1e-10)


@given(losses)
def test_smoothing_stays_between_the_extremes(values: list[float]) -> None:
    smoothed = smooth(range(len(values)), values)
    assert min(values) * (1 - 1e-12) <= smoothed.min()
    assert smoothed.max() <= max(values) * (1 + 1e-12)


@given(losses, st.floats(0.01, 100))
def test_the_onset_does_not_depend_on_the_unit_of_the_loss(
    values: list[float], scale: float
) -> None:
    here = find_onset(range(len(values)), values)
    there = find_onset(range(len(values)), [value * scale for value in values])
    if here is None or there is None:  # at 2% exactly, rounding decides
        smoothed = smooth(range(len(values)), values)
        rise = smoothed[-1] / smoothed.min() - 1
        assert here == there or rise == pytest.approx(0.02, abs=1e-6)
    else:
        assert there.loss == pytest.approx(here.loss * scale)


def test_a_curve_that_turns() -> None:
    values = [abs(epoch - 12) / 10 + 1 for epoch in range(-1, 40)]
    assert find_onset(range(-1, 40), values, sigma=0) == Onset(12, 1.0)
    onset = find_onset(range(-1, 40), values)
    assert onset is not None
    assert onset.epoch == 12
    assert onset.loss > 1


def test_a_curve_that_falls_has_no_onset() -> None:
    assert find_onset(range(40), np.linspace(2, 1, 40)) is None


@pytest.mark.parametrize(("after", "found"), [(2, False), (3, True)])
def test_three_epochs_must_follow(after: int, found: bool) -> None:
    values = [*np.linspace(2, 1, 10), *np.linspace(1.5, 2, after)]
    onset = find_onset(range(len(values)), values, sigma=0)
    assert (onset == Onset(9, 1.0)) is found


def test_epochs_count_and_not_records() -> None:
    values = [2, 1, 1.2, 1.3, 1.4, 1.5]
    assert find_onset([0, 0.2, 0.4, 0.6, 0.8, 1], values, sigma=0) is None
    assert find_onset([0, 1.8, 2, 3, 4, 5], values, sigma=0) == Onset(2, 1.0)
    assert find_onset([0, 5, 10], [2, 1, 2], sigma=0) == Onset(5, 1.0)


@pytest.mark.parametrize(("last", "found"), [(1.0199, False), (1.0201, True)])
def test_the_last_value_must_exceed_the_minimum_by_two_percent(last: float, found: bool) -> None:
    assert (find_onset(range(6), [2, 1, 1, 1, 1, last], sigma=0) is not None) is found


@pytest.mark.parametrize(
    ("lowest", "last", "found"),
    # at 2% exactly there is none; and a loss may be negative, as a log-likelihood is
    [(50, 51, False), (50, 51.1, True), (-50, -49, False), (-50, -48.9, True), (0, 1e-9, True)],
)
def test_the_rise_is_of_the_minimums_size(lowest: float, last: float, found: bool) -> None:
    losses = [lowest + 5, lowest, lowest, lowest, last]
    assert (find_onset(range(5), losses, sigma=0) == Onset(1, lowest)) is found


def test_losses_that_are_no_numbers_weigh_nothing() -> None:
    values = [3, 2, np.nan, 1, 2, np.inf, 3, 4, np.nan]
    smoothed = smooth(range(9), values, 1)
    assert np.isnan(smoothed).tolist() == (~np.isfinite(values)).tolist()
    assert find_onset(range(9), values, sigma=0) == Onset(3, 1.0)
    assert find_onset([0, 1], [np.nan, np.nan]) is None
    assert find_onset([], []) is None
    np.testing.assert_array_equal(smooth([0, 10_000], [1, np.nan]), [1, np.nan])


def test_a_long_curve_takes_little_memory() -> None:
    values = np.sin(np.arange(5000) / 50)
    smoothed = smooth(range(5000), values)
    at = np.arange(5000)
    weights = np.exp(-0.5 * ((at - 4000) / 2) ** 2)
    assert smoothed[4000] == pytest.approx((weights * values).sum() / weights.sum())


# -- which curves belong to a run, and which is the validation loss


@pytest.mark.parametrize(
    ("run", "other", "expected"),
    [
        ("exp/train", "exp/validation", True),
        ("a/b/train", "a/b/validation", True),
        ("exp/train", "exp", True),
        ("exp", "exp/train", True),
        ("exp", "exp/deep/train", True),
        ("train", "validation", False),  # all experiments lie in the log directory
        ("one/train", "two/train", False),
        ("a/one/train", "a/two/train", False),
        ("exp", "experiment", False),
        ("exp/train", "exp2", False),
        ("a/b/c", "a", False),
    ],
)
def test_runs_are_related_by_their_directory(run: str, other: str, expected: bool) -> None:
    assert related(run, other) is expected


def test_a_run_has_its_own_curves_and_those_beside_it() -> None:
    scalars = {"exp/b": ["z", "a"], "exp/a": ["a", "l"], "other/x": ["l"], "exp": ["a (exp/a)"]}
    names = curve_names("exp/b", scalars)
    assert list(names.items()) == [
        ("a", ("exp/b", "a")),
        ("z", ("exp/b", "z")),
        ("a (exp/a) (exp)", ("exp", "a (exp/a)")),
        ("a (exp/a)", ("exp/a", "a")),
        ("l (exp/a)", ("exp/a", "l")),
    ]
    assert curve_names("exp/c", {}) == {}
    own = {"exp/b": ["a (exp/a)"], "exp/a": ["a"]}  # a name is taken once, by the run itself
    assert curve_names("exp/b", own) == {"a (exp/a)": ("exp/b", "a (exp/a)")}


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        ("val_loss", "eval_loss"),
        ("dev_loss", "test_loss"),
        ("loss/test", "val/loss/total"),  # what holds a penalty comes last
        ("valloss", "validation_loss"),  # the shorter name
        ("Val/Loss", "val/loss"),  # whichever, but always the same
    ],
)
def test_the_better_name_wins_in_any_order(better: str, worse: str) -> None:
    for tags in ([better, worse], [worse, better]):
        assert find_validation_loss("r", {tag: ("r", tag) for tag in tags}, ()) == better


def test_curves_of_other_runs() -> None:
    names = curve_names("exp/train", {"exp/train": ["loss"], "exp/validation": ["loss"]})
    assert find_validation_loss("exp/train", names, ()) == "loss (exp/validation)"
    assert find_validation_loss("exp/train", names, {"exp/train"}) == "loss (exp/validation)"
    assert find_validation_loss("exp/train", names, {"exp/validation"}) is None
    own = "val_loss_per_sample_of_all"  # the longer name, but the run's own
    assert find_validation_loss("exp/train", {own: ("exp/train", own), **names}, ()) == own
    assert find_validation_loss("exp/train", {}, ()) is None


# -- at which epochs the points of a curve lie


def at_slowly(point: float, known: Sequence[float], epochs: Sequence[float]) -> float:
    """Along straight lines between what is known, the last of which goes on."""
    if point <= known[0]:
        return epochs[0]
    pieces = [*zip(known, known[1:], epochs, epochs[1:], strict=False)]
    low, high, first, last = next((p for p in pieces if point <= p[1]), pieces[-1])
    return first + (last - first) * (point - low) / (high - low)


@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=5),
    st.lists(st.integers(1, 3), min_size=5, max_size=5),
    st.lists(st.integers(-5, 60), max_size=6),
)
def test_epochs_of_a_clock(paces: list[int], steps: list[int], points: list[int]) -> None:
    known = np.cumsum([3.0, *paces])
    epochs = np.cumsum([-1.0, *steps])[: len(known)]
    expected = [round(at_slowly(point, known, epochs), 4) for point in points]
    found = epochs_at(np.array(points, np.float64), known, epochs)
    np.testing.assert_allclose(found, expected, atol=1.01e-4)
    assert (found == found.round(4)).all()


EPOCHS = np.array([-1.0, 0, 1, 2])
COUNTS = np.array([0.0, 100, 200, 300])
TIMES = np.array([1010.0, 1020, 1040, 1050])  # a pause of 10 s, mostly
NONE = np.full(4, np.nan)


@pytest.mark.parametrize(
    ("steps", "times", "counts", "by", "expected"),
    [
        # steps up to the epoch under way are epochs, whatever else is known
        ([0, 1, 2, 3], [1, 2, 3, 4], COUNTS, "step", [0, 1, 2, 3]),
        # further steps are not, unless a point was written in an event of ours
        ([0, 50, 350], [1, 2, 3], COUNTS, "global_step", [-1, -0.5, 2.5]),
        ([0, 4], [1, 2], COUNTS, "global_step", [-1, -0.96]),
        ([0, 400], [1020, 2000], COUNTS, "step", [0, 400]),
        ([0, 400], [1021, 2000], COUNTS, "global_step", [-1, 3]),
        # two counts suffice, one does not; they must grow
        ([0, 50, 350], [1, 2, 3], [np.nan, 100, np.nan, 300], "global_step", [0, 0, 2.5]),
        ([5, 9], [1020, 1045], [np.nan, 100, np.nan, np.nan], "wall_time", [0, 1.5]),
        ([5, 9], [1020, 1045], [0, 100, 100, 300], "wall_time", [0, 1.5]),
        ([5, 9], [1020, 1060], NONE, "wall_time", [0, 3]),
        # written within a pause of ours
        ([5, 9], [900, 1000], NONE, "wall_time", [-1, -1]),
        ([5, 9], [900, 999], NONE, None, [np.nan] * 2),
        ([5, 9], [1060, 2000], NONE, "wall_time", [3, 97]),
        ([5, 9], [1061, 2000], NONE, None, [np.nan] * 2),
        ([], [], COUNTS, None, []),
    ],
)
def test_what_tells_the_epochs_of_a_curve(
    steps: list[float],
    times: list[float],
    counts: Sequence[float],
    by: str | None,
    expected: list[float],
) -> None:
    clock = Clock(EPOCHS, np.array(counts, np.float64), TIMES)
    found = line_up(np.array(steps, np.float64), np.array(times, np.float64), clock)
    assert found[0] == by
    np.testing.assert_allclose(found[1], expected)


@pytest.mark.parametrize(
    ("epochs", "times"),
    [([], []), ([3], [1020]), ([1, 2, 3], [1010, 1020, 1015]), ([1, 2, 3], [1010, 1020, 1020])],
)
def test_a_clock_that_tells_nothing(epochs: list[float], times: list[float]) -> None:
    numbers = np.array(epochs, np.float64)
    clock = Clock(numbers, np.full(len(numbers), np.nan), np.array(times, np.float64))
    found = line_up(np.array([1.0, 9, 99]), np.array([1011.0, 1015, 1019]), clock)
    assert found[0] is None
    assert np.isnan(found[1]).tolist() == [True] * 3


def test_onsets_and_clocks_cannot_be_changed() -> None:
    for value in (Onset(1, 1.0), Clock(EPOCHS, COUNTS, TIMES)):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(value, dataclasses.fields(value)[0].name, 0)


@given(losses)
def test_the_interval_lies_around_the_onset_within_2_percent(values: list[float]) -> None:
    onset = find_onset(range(len(values)), values)
    interval = onset_interval(range(len(values)), values)
    assert (onset is None) == (interval is None)
    if onset is not None and interval is not None:
        first, last = map(int, interval)
        smoothed = smooth(range(len(values)), values)
        assert first <= onset.epoch <= last
        assert smoothed[first : last + 1].max() <= 1.02 * onset.loss * (1 + 1e-12)
        for beside in (first - 1, last + 1):
            assert not 0 <= beside < len(values) or smoothed[beside] > 1.02 * onset.loss


def test_a_dip_that_lies_apart_is_not_in_the_interval() -> None:
    epochs = range(0, 200, 10)  # so far apart that smoothing does nothing
    values = [1.0, 2, 0.99, 1, 2, *[2.0] * 15]
    assert find_onset(epochs, values) == Onset(20, pytest.approx(0.99, abs=1e-3))
    assert onset_interval(epochs, values) == (20, 30)


def test_a_turn_lasts() -> None:
    rising = [*np.linspace(0, 0.5, 20)]
    fallen = [*rising, *[0.4] * 20]
    turn = find_turn(range(40), fallen, 0.02, higher_is_better=True)
    assert turn is not None
    assert turn.epoch in (18, 19)
    assert turn.settled == pytest.approx(0.4, abs=1e-3)
    assert find_turn(range(40), [-value for value in fallen], 0.02) == Turn(
        turn.epoch, -turn.best, -turn.settled
    )
    assert find_turn(range(40), fallen, 0.2, higher_is_better=True) is None
    astray = [*rising, *[0.5] * 20, 0.3]
    assert find_turn(range(41), astray, 0.02, higher_is_better=True) is None
    assert find_turn(range(20), rising, 0.02, higher_is_better=True) is None
    assert find_turn([], [], 0.02) is None


def test_training_loss_and_accuracy_are_found_by_name() -> None:
    names = curve_names("a", {"a": ["loss/training", "loss/validation", "accuracy/validation"]})
    assert find_training_loss("a", names, ["a"]) == "loss/training"
    assert find_accuracy("a", names, ["a"]) == "accuracy/validation"
    assert find_validation_loss("a", names, ["a"]) == "loss/validation"
    assert find_accuracy("a", curve_names("a", {"a": ["train_acc", "val_acc"]}), []) == "val_acc"
    ours = curve_names("a", {"a": ["calibration/loss", "calibration/uncalibrated_loss"]})
    assert find_validation_loss("a", ours, []) is None

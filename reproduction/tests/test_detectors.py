"""Detectors of overfitting, and how they are judged, on histories made up for it."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsight_paper.detector_study import GRID, judged, score, tuned
from sparsight_paper.detectors import (
    DETECTORS,
    Event,
    History,
    alarm_of,
    event_of,
    exponential_mean,
    outcome_of,
    rules,
)
from sparsight_paper.entropy_and_rms import area_under_curve, partial_correlation, probabilities


def history(onset=15, epochs=40, group="a", seed=0, rise=0.05):
    """A loss that falls to its onset and rises after it; entropy and RMS drift with time."""
    random = np.random.default_rng(seed)
    at = np.arange(epochs)
    validation = 1.5 + np.where(at < onset, 0.05 * (onset - at), rise * (at - onset))
    drift = random.normal(0, 0.01, epochs + 1)
    conv = {
        "relative_entropy": np.linspace(1, 0.4, epochs + 1) + drift,
        "scale_free_entropy": np.full(epochs + 1, 0.9) + drift,
        "rms": np.geomspace(0.1, 5, epochs + 1),
    }
    training = np.linspace(2.3, 0.3, epochs)
    layers = {"conv": conv}
    return History(
        f"{group}{seed}",
        group,
        f"{group}{onset}",
        training,
        validation,
        2.3,
        validation - 0.1,
        layers,
    )


def test_an_onset_lies_within_the_epochs_that_it_cannot_be_told_from():
    found = event_of(history(onset=15))
    assert abs(found.epoch - 15) <= 1
    assert found.first < found.epoch < found.last
    assert event_of(history(rise=0.0)) is None


@pytest.mark.parametrize(
    ("alarm", "event", "outcome"),
    [
        (4, Event(15, 10, 18), "early"),
        (5, Event(15, 10, 18), "hit"),
        (23, Event(15, 10, 18), "hit"),
        (24, Event(15, 10, 18), "late"),
        (None, Event(15, 10, 18), "missed"),
        (3, None, "false alarm"),
        (None, None, "quiet"),
    ],
)
def test_what_an_alarm_is_worth(alarm, event, outcome):
    assert outcome_of(alarm, event) == outcome


def cut(run, epochs):
    layers = {
        name: {key: curve[: epochs + 1] for key, curve in layer.items()}
        for name, layer in run.layers.items()
    }
    return dataclasses.replace(
        run,
        training_loss=run.training_loss[:epochs],
        validation_loss=run.validation_loss[:epochs],
        calibrated_loss=run.calibrated_loss[:epochs],
        layers=layers,
    )


@pytest.mark.parametrize("name", DETECTORS)
@given(seed=st.integers(0, 100), onset=st.integers(5, 30), epochs=st.integers(5, 40))
@settings(max_examples=15, deadline=None)
def test_no_detector_looks_ahead(name, seed, onset, epochs):
    run = history(onset=onset, seed=seed)
    for threshold in rules()[name]["tried"]:
        whole, part = (alarm_of(name, each, threshold) for each in (run, cut(run, epochs)))
        assert part == (whole if whole is not None and whole < epochs else None)
        assert whole is None or whole >= 3


def test_every_detector_has_thresholds():
    assert set(rules()) - {"event", "alarm"} == set(DETECTORS)


def test_exponential_mean_epoch_by_epoch():
    values = [2.0, math.nan, 1.0]
    assert exponential_mean(np.array(values)).tolist() == [2.0, 2.0, 0.4 * 1 + 0.6 * 2]


def test_thresholds_are_chosen_without_the_group_that_they_are_judged_on():
    runs = [history(onset, group=g, seed=s) for g, onset in (("a", 10), ("b", 25)) for s in (0, 1)]
    alarms, thresholds = judged("clock", runs)
    of_b, of_a = (tuned("clock", [run for run in runs if run.group == g]) for g in ("b", "a"))
    assert thresholds == [of_b, of_a]
    assert alarms == [of_b, of_b, of_a, of_a]
    assert of_a != of_b
    assert judged("clock", runs[:2]) is None


def test_shares_count_the_runs_that_can_have_the_outcome():
    events = [Event(15, 10, 18), Event(15, 10, 18), None, None]
    found = score([12, None, 7, None], events)
    assert found.share("hit") == found.share("missed") == found.share("false alarm") == 0.5
    assert found.share("early", "false alarm") == 0.25
    assert found.leads == (3,)
    assert math.isnan(score([3], [None]).share("hit"))


def test_the_third_of_the_grid_is_balanced():
    assert len({dataclasses.replace(cell, seed=0) for cell in GRID}) == len(GRID) == 150
    for factor in ("network", "data", "training", "noise"):
        for value in {getattr(cell, factor) for cell in GRID}:
            seeds = [cell.seed for cell in GRID if getattr(cell, factor) == value]
            counts = [seeds.count(seed) for seed in range(3)]
            assert max(counts) - min(counts) <= 1


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=30))
def test_area_under_curve_pair_by_pair(items):
    scores, labels = (np.array(part) for part in zip(*items, strict=True))
    pairs = [(p, n) for p in scores[labels] for n in scores[~labels]]
    found = area_under_curve(scores.astype(float), labels)
    if not pairs:
        assert math.isnan(found)
    else:
        slow = np.mean([(p > n) + 0.5 * (p == n) for p, n in pairs])
        assert found == pytest.approx(slow, abs=1e-12)


@given(st.integers(0, 1000))
@settings(deadline=None)
def test_partial_correlation_by_the_textbook(seed):
    x, y, z = np.random.default_rng(seed).normal(size=(3, 30))
    xy, xz, yz = (np.corrcoef(*pair)[0, 1] for pair in ((x, y), (x, z), (y, z)))
    slow = (xy - xz * yz) / math.sqrt((1 - xz**2) * (1 - yz**2))
    assert partial_correlation(x, y, z[:, None]) == pytest.approx(slow, abs=1e-9)


def test_a_regression_finds_what_tells_the_classes_apart():
    random = np.random.default_rng(0)
    values = random.normal(size=(200, 2))
    labels = values[:, 0] + random.normal(0, 0.5, 200) > 0
    found = probabilities(values, labels, values)
    assert area_under_curve(found, labels) > 0.9
    assert found.mean() == pytest.approx(labels.mean(), abs=0.01)

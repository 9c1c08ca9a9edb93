"""Judging detectors over runs: thresholds chosen on some, reported on those left out.

Rules: reproduction/evidence_rules.md, "Detector study".
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np

from .detectors import (
    DETECTORS,
    Event,
    History,
    Outcome,
    alarm_of,
    event_of,
    outcome_of,
    rules,
)
from .tables import NOT_RUN, Table, written

__all__ = [
    "GRID",
    "DetectorCell",
    "Score",
    "bootstrapped",
    "detectors_table",
    "judged",
    "score",
    "tuned",
]

_DRAWS = 2000
_SEED = 2026  # of the bootstrap

Loss = Literal["validation", "calibrated"]
_Item = TypeVar("_Item")


@dataclass(frozen=True)
class DetectorCell:
    """One run of the detector study."""

    network: str
    data: str
    noise: float
    """Share of the training labels that are drawn anew."""
    training: str
    seed: int

    @property
    def name(self) -> str:
        """Names it in tables and folders."""
        return f"{self.data}_{self.network}_{self.training}_noise-{self.noise:g}_seed{self.seed}"


_NETWORKS = ("vanillaNet-s", "normNet-s", "ResNet", "MLP", "ViT")
_DATA = ("cifar-10-1000", "cifar-10-4000", "cifar-100-10000", "tiny-imagenet-10", "mnist-1000")
_NOISE = (0.0, 0.2)
_TRAINING = ("sgd", "adamw", "cosine-augmented")


def _third() -> tuple[DetectorCell, ...]:
    """Every combination once, network by network; its seed makes seeds balanced in every factor.

    Of two factors' values, each pair meets each seed as often as any other, give or take one run.
    """
    places = itertools.product(*(range(len(x)) for x in (_NETWORKS, _DATA, _NOISE, _TRAINING)))
    return tuple(
        DetectorCell(_NETWORKS[n], _DATA[d], _NOISE[o], _TRAINING[t], (n + d + o + t) % 3)
        for n, d, o, t in places
    )


GRID = _third()
"""The balanced third of the grid of 450 runs, in the order in which they are to be run."""


@dataclass(frozen=True)
class Score:
    """What a detector did over a number of runs."""

    outcomes: tuple[Outcome, ...]
    leads: tuple[int, ...]
    """Onset minus alarm in epochs, of the runs that have both."""

    def share(self, *which: Outcome) -> float:
        """The share of these outcomes among those of runs that can have them; NaN for no run."""
        with_onset = sum(self._count(o) for o in ("hit", "early", "late", "missed"))
        healthy = sum(self._count(o) for o in ("false alarm", "quiet"))
        of_onset = any(o not in ("false alarm", "quiet") for o in which)
        of_healthy = any(o in ("false alarm", "quiet") for o in which)
        runs = with_onset * of_onset + healthy * of_healthy
        return sum(map(self._count, which)) / runs if runs else float("nan")

    def _count(self, outcome: Outcome) -> int:
        return self.outcomes.count(outcome)


def score(alarms: Sequence[int | None], events: Sequence[Event | None]) -> Score:
    """Judge the alarms of a number of runs, one a run, by their events."""
    pairs = list(zip(alarms, events, strict=True))
    leads = [event.epoch - alarm for alarm, event in pairs if alarm is not None and event]
    return Score(tuple(outcome_of(alarm, event) for alarm, event in pairs), tuple(leads))


def tuned(detector: str, runs: Sequence[History], loss: Loss = "validation") -> float:
    """The threshold of most hits among those with at most 10% of alarms too early or false.

    Of equals the one with fewer such alarms, then the first tried. Where none has so few, the
    threshold with fewest.
    """
    events = [event_of(run, loss) for run in runs]

    def rank(threshold: float) -> tuple[bool, float, float]:
        found = score([alarm_of(detector, run, threshold) for run in runs], events)
        wrong = found.share("early", "false alarm")
        fits = wrong <= rules()["event"]["false_alarms"]
        return fits, float(np.nan_to_num(found.share("hit"))) if fits else 0.0, -wrong

    tried: list[float] = rules()[detector]["tried"]
    return max(tried, key=rank)


def judged(
    detector: str, runs: Sequence[History], loss: Loss = "validation"
) -> tuple[list[int | None], list[float]] | None:
    """Each run's alarm under the threshold chosen without its group; and those thresholds.

    None where no run has what the detector looks at, or all are of one group.
    """
    groups = sorted({run.group for run in runs})
    if len(groups) < 2 or all(DETECTORS[detector].signal(run) is None for run in runs):
        return None
    thresholds = {
        group: tuned(detector, [run for run in runs if run.group != group], loss)
        for group in groups
    }
    alarms = [alarm_of(detector, run, thresholds[run.group]) for run in runs]
    return alarms, list(thresholds.values())


def detectors_table(runs: Sequence[History], loss: Loss = "validation") -> Table:
    """Hits, alarms too early, false alarms and lead of every detector, with 95% intervals."""
    events = [event_of(run, loss) for run in runs]
    header = (
        "detector",
        "thresholds chosen",
        "hits",
        "too early",
        "late",
        "missed",
        "false alarms on healthy runs",
        "lead in epochs, median (quartiles)",
    )
    rows = []
    for name, detector in DETECTORS.items():
        found = judged(name, runs, loss) if runs else None
        if found is None:
            rows.append((detector.title, *[NOT_RUN] * (len(header) - 1)))
            continue
        alarms, thresholds = found
        shares = [
            _share_with_interval(alarms, events, runs, which)
            for which in ("hit", "early", "late", "missed", "false alarm")
        ]
        rows.append((detector.title, _counted(thresholds), *shares, _lead(score(alarms, events))))
    with_onset = sum(event is not None for event in events)
    of = "validation loss" if loss == "validation" else "calibrated loss V_T"
    title = f"Onset of the {of}: {with_onset} runs with one, {len(runs) - with_onset} without"
    return Table(title, header, tuple(rows))


def _counted(thresholds: Sequence[float]) -> str:
    """2 (5 groups), 3 (1): which thresholds were chosen, and for how many groups left out."""
    counts = Counter(thresholds)
    return ", ".join(f"{value:g} ({number})" for value, number in sorted(counts.items()))


def _lead(found: Score) -> str:
    if not found.leads:
        return "–"
    low, middle, high = np.percentile(found.leads, (25, 50, 75))
    middle, low, high = (round(value) + 0 for value in (middle, low, high))  # + 0: no -0
    return f"{middle} ({low} to {high})"


def _share_with_interval(
    alarms: Sequence[int | None],
    events: Sequence[Event | None],
    runs: Sequence[History],
    which: Outcome,
) -> str:
    outcomes = score(alarms, events).outcomes
    value = Score(outcomes, ()).share(which)
    if np.isnan(value):
        return "–"
    of_cluster: dict[str, list[Outcome]] = {}
    for run, outcome in zip(runs, outcomes, strict=True):
        of_cluster.setdefault(run.cluster, []).append(outcome)

    def share(chosen: Sequence[Sequence[Outcome]]) -> float:
        return Score(tuple(itertools.chain.from_iterable(chosen)), ()).share(which)

    low, high = bootstrapped(list(of_cluster.values()), share)
    return f"{written(value)} [{written(low)}, {written(high)}]"


def bootstrapped(
    items: Sequence[_Item], of: Callable[[Sequence[_Item]], float]
) -> tuple[float, float]:
    """95% interval of a number over items: percentiles over 2,000 draws with replacement."""
    random = np.random.default_rng(_SEED)
    draws = random.integers(0, len(items), (_DRAWS, len(items)))
    values = [of([items[at] for at in draw]) for draw in draws]
    low, high = np.nanpercentile(values, (2.5, 97.5))
    return float(low), float(high)

"""The study of rivals: which strength is chosen, and what is said of it; the rules are in the docs.

Rules: reproduction/evidence_rules.md, "Rivals of the cure".
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from sparsight.errors import UsageError

from .cells import PRESETS
from .results import Group, Results, end, over_seeds, read_result, store
from .tables import NOT_RUN, Table, printed, written
from .treatments import TREATMENTS, UNAVAILABLE, Treatment

__all__ = [
    "Choice",
    "choices",
    "collect_rivals",
    "differences_table",
    "interval",
    "layers_table",
    "outcomes_table",
    "strengths_table",
    "verdicts",
]

_SEEDS = (0, 1, 2)  # by which strengths are chosen

_T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)
"""Student's t, 97.5%, for 1 to 9 degrees of freedom."""

_KEPT = ("relative_entropy", "scale_free_entropy", "rms")

_COMPARED = (
    ("accuracy, chosen epoch", "chosen", "accuracy"),
    ("accuracy, last", "last", "accuracy"),
    ("loss, last", "last", "loss"),
    ("V_T, last", "last", "calibrated_loss"),
)
"""Title, moment and score of each column of differences."""


@dataclass(frozen=True)
class Choice:
    """A treatment in the strength that was chosen for it, or that leads so far."""

    name: str
    group: Group
    finished: bool
    """Whether all strengths had their three seeds; else the choice may still change."""
    edge: str
    """"largest" or "smallest" of the strengths tried, where it is that; else empty."""

    @property
    def selection_accuracy(self) -> float:
        """What it was chosen by: the best of each seed, the mean over seeds 0, 1, 2."""
        return _selection_accuracy(self.group)

    @property
    def title(self) -> str:
        """The treatment in words."""
        return TREATMENTS[self.name].title

    @property
    def strength(self) -> str:
        """The strength, with a mark where the next one was not tried, or not all is there."""
        value = f"{_treatment(self.group).strength:g}" if TREATMENTS[self.name].strength else "–"
        marks = [f"{self.edge} tried"] if self.edge else []
        marks += [] if self.finished else ["so far"]
        return f"{value} ({', '.join(marks)})" if marks else value

    def scores(self, moment: str, score: str) -> dict[int, float]:
        """A score of each seed, at one of the moments that a run is judged at."""
        found = {r["cell"]["seed"]: r["outcomes"][moment][score] for r in self.group.results}
        return {seed: value for seed, value in found.items() if value is not None}


def choices(results: Results, *, augmented: bool = False) -> dict[str, Choice]:
    """The choice of every treatment of which something is finished, at size s, by name."""
    found: dict[str, Choice] = {}
    for name, spec in TREATMENTS.items():
        groups = _of(results, name, augmented)
        if groups:
            best = max(groups.values(), key=_selection_accuracy)  # of equals the first, the weaker
            places = sorted(spec.strengths)
            place = places.index(_treatment(best).strength)
            edges = {0: "smallest", len(places) - 1: "largest"} if len(places) > 2 else {}
            full = {strength for strength, group in groups.items() if _is_full(group)}
            found[name] = Choice(name, best, augmented or full == set(places), edges.get(place, ""))
    return found


def interval(values: Sequence[float]) -> tuple[float, float, float] | None:
    """Mean and its 95% interval over seeds, by Student's t; None for fewer than two values."""
    if not 2 <= len(values) <= len(_T) + 1:
        return None
    mean = statistics.fmean(values)
    half = _T[len(values) - 2] * statistics.stdev(values) / math.sqrt(len(values))
    return mean, mean - half, mean + half


def outcomes_table(found: Mapping[str, Choice], title: str, *, every: bool = True) -> Table:
    """Every treatment in its chosen strength: accuracies at four moments, loss and calibration.

    Those that were not run are listed as that, unless `every` is False.
    """
    header = (
        "treatment",
        "strength",
        "seeds",
        "accuracy, chosen epoch",
        "stopped early",
        "last",
        "best (optimistic)",
        "loss, stopped early",
        "last",
        "V_T, stopped early",
        "last",
        "ECE, stopped early",
        "last",
    )
    rows = [
        _outcomes_row(found.get(name), spec.title)
        for name, spec in TREATMENTS.items()
        if every or name in found
    ]
    if every:
        rows += [(name, *[NOT_RUN] * (len(header) - 1)) for name in UNAVAILABLE]
    return Table(title, header, tuple(rows))


def _outcomes_row(choice: Choice | None, title: str) -> tuple[str, ...]:
    if choice is None:
        return (title, *[NOT_RUN] * 12)
    moments = ("chosen", "stopped early", "last", "best")
    parts = [_spread(choice, moment, "accuracy", 3) for moment in moments]
    for score, digits in (("loss", 2), ("calibrated_loss", 3), ("calibration_error", 3)):
        parts += [_spread(choice, moment, score, digits) for moment in moments[1:3]]
    return (title, choice.strength, str(len(choice.group.results)), *parts)


def differences_table(found: Mapping[str, Choice], to: str) -> Table | None:
    """Each treatment minus `to`, seed by seed; None while that one was not run."""
    reference = found.get(to)
    if reference is None:
        return None
    header = ("treatment", "seeds", *(title for title, _, _ in _COMPARED))
    rows = []
    for name, choice in found.items():
        if name != to:
            values = [_paired(choice, reference, moment, score) for _, moment, score in _COMPARED]
            cells = [_difference(value) for value in values]
            rows.append((choice.title, str(len(values[0])), *cells))
    return Table(f"Minus {reference.title}, seed by seed", header, tuple(rows))


def verdicts(found: Mapping[str, Choice]) -> list[str]:
    """A sentence of each treatment: what the differences to no treatment allow to be said.

    And one of SparsityReg against every rival.
    """
    sentences = [
        f"{choice.title} against none: {_told(choice, found['none'])}."
        for name, choice in found.items()
        if name != "none" and "none" in found
    ]
    ours = found.get("sparsity-targeted")
    sentences += [
        f"SparsityReg, targeted, against {choice.title}: {_told(ours, choice)}."
        for name, choice in found.items()
        if ours is not None and name not in ("none", "sparsity-targeted")
    ]
    return sentences


def _told(choice: Choice, reference: Choice) -> str:
    told = []
    for title, moment, score in _COMPARED:
        found = interval(_paired(choice, reference, moment, score))
        if found is None:
            return "one seed, nothing can be said yet"
        _, low, high = found
        if low > 0 or high < 0:
            better = (low > 0) == (score == "accuracy")
            told.append(f"{'better' if better else 'worse'} in {title}")
        else:
            told.append(f"no difference seen in {title}")
    return "; ".join(told)


def _paired(choice: Choice, reference: Choice, moment: str, score: str) -> list[float]:
    theirs = reference.scores(moment, score)
    ours = choice.scores(moment, score)
    return [value - theirs[seed] for seed, value in sorted(ours.items()) if seed in theirs]


def _difference(values: Sequence[float]) -> str:
    """Mean and interval, in bold where it excludes 0."""
    if not values:
        return NOT_RUN
    found = interval(values)
    if found is None:
        return f"{_signed(values[0])} (one seed)"
    mean, low, high = found
    text = f"{_signed(mean)} [{_signed(low)}, {_signed(high)}]"
    return f"**{text}**" if low > 0 or high < 0 else text


def strengths_table(results: Results) -> Table:
    """All strengths tried: what they were chosen by, and what the report images say of them."""
    header = (
        "treatment",
        "strength",
        "seeds",
        "selection accuracy",
        "accuracy, chosen epoch",
        "accuracy, last",
        "loss, last",
        "V_T, last",
    )
    rows: list[tuple[str, ...]] = []
    for name, spec in TREATMENTS.items():
        groups = _of(results, name, augmented=False)
        for strength in spec.strengths:
            place = (spec.title, f"{strength:g}" if spec.strength else "–")
            group = groups.get(strength)
            if group is None:
                rows.append((*place, *[NOT_RUN] * 6))
                continue
            choice = Choice(name, group, True, "")
            numbers = [_spread(choice, "chosen", "accuracy", 3)]
            numbers += [_spread(choice, "last", "accuracy", 3)]
            numbers += [_spread(choice, "last", "loss", 2)]
            numbers += [_spread(choice, "last", "calibrated_loss", 3)]
            selected = printed(_selection_accuracy(group))
            rows.append((*place, str(len(group.results)), selected, *numbers))
    return Table("", header, tuple(rows))


def layers_table(found: Mapping[str, Choice]) -> Table:
    """What the layers did under each treatment: before training, and at the end."""
    shown = [(layer, name) for layer in ("conv4", "fc1") for name in _KEPT]
    words = {"relative_entropy": "H / ln D", "scale_free_entropy": "scale-free", "rms": "RMS"}
    header = ("treatment", *(f"{layer}: {words[name]}" for layer, name in shown))
    rows = [
        (choice.title, *(_moved(choice.group, layer, name) for layer, name in shown))
        for choice in found.values()
    ]
    return Table("Before training → at the end", header, tuple(rows))


def _moved(group: Group, layer: str, name: str) -> str:
    curves = [curve for curve in group.layer(layer, name) if curve]
    if not curves:
        return "–"
    before = statistics.fmean(curve[0] for curve in curves)
    return f"{written(before)} → {over_seeds(map(end, curves), written)}"


def collect_rivals(runs: Path, folder: Path) -> list[Path]:
    """Store the finished cells of a folder of runs in `folder`, short; the files written.

    Curves are rounded, and of the layers only entropies and RMS are kept. Raises UsageError where
    there are none, or where they are of another study.
    """
    paths = sorted(runs.glob("*/result.json"))
    if not paths:
        raise UsageError(
            f"{runs} holds no finished cell; `sparsight paper run --preset rivals` makes some"
        )
    return [store(folder / f"{path.parent.name}.json", _short(path)) for path in paths]


def _short(path: Path) -> str:
    result = read_result(path)
    expected = PRESETS["rivals"].protocol.name
    if "outcomes" not in result or result["protocol"]["name"] != expected:
        raise UsageError(f"{path} is of protocol {result['protocol']['name']}; expected {expected}")
    result["epochs"] = {name: _rounded(curve, 4) for name, curve in result["epochs"].items()}
    result["layers"] = {
        layer: {name: _rounded(curves[name], 3) for name in _KEPT}
        for layer, curves in result["layers"].items()
    }
    del result["data"]["probe_indices"]  # the same in all
    lines = [f"{json.dumps(name)}: {_one_line(part)}" for name, part in result.items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _one_line(part: Any) -> str:
    return json.dumps(part, separators=(",", ":"), allow_nan=False)


def _rounded(curve: Sequence[float | None], digits: int) -> list[float | None]:
    return [None if value is None else float(f"{value:.{digits}g}") for value in curve]


def _of(results: Results, name: str, augmented: bool) -> dict[float, Group]:
    """Groups of a treatment at size s, by strength, the weaker first."""
    groups = [
        group
        for group in results.groups
        if group.cell.treatment is not None
        and group.cell.size == "s"
        and (group.cell.treatment.name, group.cell.treatment.augmented) == (name, augmented)
    ]
    found = {_treatment(group).strength: group for group in groups}
    return dict(sorted(found.items()))


def _treatment(group: Group) -> Treatment:
    if group.cell.treatment is None:
        raise UsageError(f"{group.title} is no cell of the study of rivals")
    return group.cell.treatment


def _selection_accuracy(group: Group) -> float:
    """The best of each seed that strengths are chosen by; the mean over those."""
    curves = [
        [value for value in result["epochs"]["accuracy/selection"] if value is not None]
        for result in _choosing(group)
    ]
    return statistics.fmean(map(max, curves)) if curves else 0.0


def _choosing(group: Group) -> Iterator[Mapping[str, Any]]:
    return (result for result in group.results if result["cell"]["seed"] in _SEEDS)


def _is_full(group: Group) -> bool:
    return {result["cell"]["seed"] for result in _choosing(group)} == set(_SEEDS)


def _spread(choice: Choice, moment: str, score: str, digits: int) -> str:
    values = choice.scores(moment, score).values()
    return over_seeds(values, partial(written, digits=digits)) if values else "–"


def _signed(value: float) -> str:
    text = written(abs(value), 3)
    return text if not float(text) else f"{'+' if value > 0 else '-'}{text}"

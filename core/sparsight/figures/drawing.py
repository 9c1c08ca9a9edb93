"""All figures of a log directory that were asked for."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from matplotlib.figure import Figure

from ..errors import RunError, UsageError, nearest
from ..runs.logdir import NamedRun, choose_layers, find_runs
from ..schema import Kind
from .colours import DASHES, Limits
from .comparison import Base, kind_of
from .correlations import draw_correlations
from .curves import check_spread, draw_curves
from .maps import Probe, check_maps, draw_maps, first_probe
from .overview import draw_overview
from .page import style
from .statistics import Statistic, statistic_of

__all__ = ["View", "Wanted", "draw"]

View = Literal["overview", "maps", "curves", "correlations"]

Named = Iterator[tuple[str, Figure]]
"""Names of files, without an ending, and what is to be in them."""


@dataclass(frozen=True)
class Wanted:
    """What is to be drawn."""

    views: tuple[View, ...] = ("overview", "maps", "curves", "correlations")
    statistics: tuple[str, ...] = ("relative_entropy",)
    layers: tuple[str, ...] = ()
    """Names or globs; all unless given."""
    runs: tuple[str, ...] = ()
    """Names or globs; all unless given."""
    probe: Probe | None = None
    """The first shown one unless given."""
    epochs: tuple[int, ...] = ()
    """Of the maps; some, evenly spread, unless given."""
    change: bool = False
    """Also overview and maps less the first record."""
    difference: str | None = None
    """Also overview and maps of the other runs less this one."""
    limits: Limits | None = None
    """Of the colours of overview and maps; those of the values unless given."""
    spread: bool = False
    logarithmic: bool = False
    """Of the correlations' colours."""
    width: float = 7.0
    """Inches."""


def draw(logdir: Path, wanted: Wanted) -> Named:
    """Read the runs below a directory and draw them, one figure at a time.

    Raises RunError where there is no such directory or run, TargetError for an unknown layer, and
    UsageError for an unknown statistic, probe or epoch; before the first figure is drawn.
    """
    statistics = [statistic_of(name) for name in dict.fromkeys(wanted.statistics)]
    runs = find_runs(logdir, wanted.runs, without=_unneeded(wanted))
    layers = choose_layers(runs, wanted.layers)
    runs = [run for run in runs if layers[run.name]]
    _check(runs, statistics, wanted)
    with style():
        if "overview" in wanted.views:
            yield from _overviews(runs, layers, statistics, wanted)
        if "maps" in wanted.views:
            yield from _maps(runs, layers, wanted)
        if "curves" in wanted.views:
            for statistic in statistics:
                figure = draw_curves(runs, layers, statistic, wanted.width, wanted.spread)
                yield f"curves-{statistic.name}", figure
        if "correlations" in wanted.views:
            found = draw_correlations(runs, layers, wanted.width, wanted.logarithmic)
            if not found:
                warnings.warn(f"no filter correlations are recorded in {logdir}", stacklevel=2)
            yield from _numbered("correlations", found)


def _unneeded(wanted: Wanted) -> tuple[Kind, ...]:
    """What need not be read: the maps of a large run hold gigabytes."""
    needed: dict[Kind, View] = {"maps": "maps", "correlation": "correlations"}
    return tuple(kind for kind, view in needed.items() if view not in wanted.views)


def _check(runs: Sequence[NamedRun], statistics: Sequence[Statistic], wanted: Wanted) -> None:
    _check_probe_sets(runs)
    if wanted.spread and "curves" in wanted.views:
        for statistic in statistics:
            check_spread(statistic)
    if "curves" in wanted.views and len(runs) > DASHES:
        warnings.warn(
            f"curves of {len(runs)} runs share {DASHES} line styles, which repeat from run "
            f"{runs[DASHES].name!r} on: choose fewer with --runs",
            stacklevel=2,
        )
    if "maps" in wanted.views and (wanted.probe is not None or wanted.epochs):
        check_maps(runs, "mean" if wanted.probe is None else wanted.probe, wanted.epochs)
    if wanted.difference is not None:
        _reference(runs, wanted.difference)


def _check_probe_sets(runs: Sequence[NamedRun]) -> None:
    digests = {run.name: run.run.probes.digest for run in runs if run.run.probes}
    first, *others = digests or [""]
    other = next((name for name in others if digests[name] != digests[first]), None)
    if other is not None:
        warnings.warn(
            f"runs {first!r} and {other!r} were measured on different probe sets: their entropies "
            "are not comparable number by number",
            stacklevel=2,
        )


def _overviews(
    runs: Sequence[NamedRun],
    layers: dict[str, list[str]],
    statistics: Sequence[Statistic],
    wanted: Wanted,
) -> Named:
    for statistic in statistics:
        for base, compared in _comparisons(runs, wanted):
            found = draw_overview(compared, layers, statistic, wanted.width, base, wanted.limits)
            yield from _numbered(f"overview-{statistic.name}{_suffix(base)}", found)


def _comparisons(
    runs: Sequence[NamedRun], wanted: Wanted
) -> Iterator[tuple[Base, Sequence[NamedRun]]]:
    """What is subtracted in turn, and from which runs."""
    yield None, runs
    if wanted.change:
        yield "start", runs
    if wanted.difference is not None:
        reference = _reference(runs, wanted.difference)
        yield reference, [run for run in runs if run.name != reference.name]


def _suffix(base: Base) -> str:
    kind = kind_of(base)
    return f"-{kind}" if kind else ""


def _reference(runs: Sequence[NamedRun], name: str) -> NamedRun:
    found = next((run for run in runs if run.name == name), None)
    if found is None:
        hint = nearest(name, [run.name for run in runs])
        raise RunError(f"no run {name!r} to compare with is among those drawn: {hint}")
    if len(runs) < 2:
        raise UsageError(f"--difference {name} needs another run to compare it with")
    return found


def _maps(runs: Sequence[NamedRun], layers: dict[str, list[str]], wanted: Wanted) -> Named:
    probe = first_probe(runs) if wanted.probe is None else wanted.probe
    if probe is None:
        warnings.warn("no entropy maps are recorded: none are drawn", stacklevel=2)
        return
    names = _file_names([run.name for run in runs])
    for base, compared in _comparisons(runs, wanted):
        drawn = draw_maps(
            compared, layers, probe, wanted.width, wanted.epochs or None, base, wanted.limits
        )
        for run in compared:
            if run.name not in drawn:
                less = f" at epochs of {base.name!r}" if isinstance(base, NamedRun) else ""
                warnings.warn(f"run {run.name!r} has no maps of probe {probe}{less}", stacklevel=2)
        which = "mean" if probe == "mean" else f"probe{probe}"
        for name, found in drawn.items():
            yield from _numbered(f"maps-{which}{names[name]}{_suffix(base)}", found)


def _file_names(runs: Sequence[str]) -> dict[str, str]:
    """What tells the files of runs apart: letters, digits, dots and dashes of their names."""
    if len(runs) == 1:
        return {runs[0]: ""}
    names: dict[str, str] = {}
    for run in runs:
        plain = re.sub(r"[^A-Za-z0-9._-]+", "-", run).strip("-.")[:80] or "run"
        taken = {name.casefold() for name in names.values()}  # some file systems take a for A
        candidates = (f"-{plain}" + (f"-{i}" if i else "") for i in range(len(runs) + 1))
        names[run] = next(name for name in candidates if name.casefold() not in taken)
    return names


def _numbered(name: str, found: Sequence[Figure]) -> Named:
    for number, figure in enumerate(found, start=1):
        yield (name if len(found) == 1 else f"{name}-{number}"), figure

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
from ..schema import Kind, Statistic
from .colours import DASHES, Limits
from .comparison import Base, kind_of
from .correlations import draw_correlations
from .curves import check_spread, draw_curves
from .maps import Probe, check_maps, draw_maps, first_probe
from .overview import draw_overview
from .page import style
from .statistics import statistic_of

__all__ = ["FigureOptions", "View", "draw"]

View = Literal["overview", "maps", "curves", "correlations"]

Named = Iterator[tuple[str, Figure]]
"""Names of files, without an ending, and what goes into them."""


@dataclass(frozen=True)
class FigureOptions:
    """What to draw, and how."""

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


def draw(logdir: Path, options: FigureOptions) -> Named:
    """Read the runs below a directory and draw them, one figure at a time.

    Raises RunError where there is no such directory or run, TargetError for an unknown layer, and
    UsageError for an unknown statistic, probe or epoch; before the first figure is drawn.
    """
    statistics = [statistic_of(name) for name in dict.fromkeys(options.statistics)]
    runs = find_runs(logdir, options.runs, without=_unneeded(options))
    layers = choose_layers(runs, options.layers)
    runs = [run for run in runs if layers[run.name]]
    _check(runs, statistics, options)
    with style():
        if "overview" in options.views:
            yield from _overviews(runs, layers, statistics, options)
        if "maps" in options.views:
            yield from _maps(runs, layers, options)
        if "curves" in options.views:
            for statistic in statistics:
                figure = draw_curves(runs, layers, statistic, options.width, options.spread)
                yield f"curves-{statistic.name}", figure
        if "correlations" in options.views:
            found = draw_correlations(runs, layers, options.width, options.logarithmic)
            if not found:
                warnings.warn(f"no filter correlations are recorded in {logdir}", stacklevel=2)
            yield from _numbered("correlations", found)


def _unneeded(options: FigureOptions) -> tuple[Kind, ...]:
    """What need not be read: the maps of a large run hold gigabytes."""
    needed: dict[Kind, View] = {"maps": "maps", "correlation": "correlations"}
    return tuple(kind for kind, view in needed.items() if view not in options.views)


def _check(
    runs: Sequence[NamedRun], statistics: Sequence[Statistic], options: FigureOptions
) -> None:
    _check_probe_sets(runs)
    if options.spread and "curves" in options.views:
        for statistic in statistics:
            check_spread(statistic)
    if "curves" in options.views and len(runs) > DASHES:
        warnings.warn(
            f"the curves of {len(runs)} runs share {DASHES} line styles, which repeat from "
            f"run {runs[DASHES].name!r} on; choose fewer with --runs",
            stacklevel=2,
        )
    if "maps" in options.views and (options.probe is not None or options.epochs):
        check_maps(runs, "mean" if options.probe is None else options.probe, options.epochs)
    if options.difference is not None:
        _reference(runs, options.difference)


def _check_probe_sets(runs: Sequence[NamedRun]) -> None:
    digests = {run.name: run.run.probes.digest for run in runs if run.run.probes}
    first, *others = digests or [""]
    other = next((name for name in others if digests[name] != digests[first]), None)
    if other is not None:
        warnings.warn(
            f"runs {first!r} and {other!r} were measured on different probe sets, so their "
            "values cannot be compared directly",
            stacklevel=2,
        )


def _overviews(
    runs: Sequence[NamedRun],
    layers: dict[str, list[str]],
    statistics: Sequence[Statistic],
    options: FigureOptions,
) -> Named:
    for statistic in statistics:
        for base, compared in _comparisons(runs, options):
            found = draw_overview(compared, layers, statistic, options.width, base, options.limits)
            yield from _numbered(f"overview-{statistic.name}{_suffix(base)}", found)


def _comparisons(
    runs: Sequence[NamedRun], options: FigureOptions
) -> Iterator[tuple[Base, Sequence[NamedRun]]]:
    """What is subtracted in turn, and from which runs."""
    yield None, runs
    if options.change:
        yield "start", runs
    if options.difference is not None:
        reference = _reference(runs, options.difference)
        yield reference, [run for run in runs if run.name != reference.name]


def _suffix(base: Base) -> str:
    kind = kind_of(base)
    return f"-{kind}" if kind else ""


def _reference(runs: Sequence[NamedRun], name: str) -> NamedRun:
    found = next((run for run in runs if run.name == name), None)
    if found is None:
        hint = nearest(name, [run.name for run in runs])
        raise RunError(f"--difference: run {name!r} is not among those drawn; {hint}")
    if len(runs) < 2:
        raise UsageError(f"--difference {name} needs another run to compare it with")
    return found


def _maps(runs: Sequence[NamedRun], layers: dict[str, list[str]], options: FigureOptions) -> Named:
    probe = first_probe(runs) if options.probe is None else options.probe
    if probe is None:
        warnings.warn("no entropy maps are recorded, so none are drawn", stacklevel=2)
        return
    names = _file_names([run.name for run in runs])
    for base, compared in _comparisons(runs, options):
        drawn = draw_maps(
            compared, layers, probe, options.width, options.epochs or None, base, options.limits
        )
        for run in compared:
            if run.name not in drawn:
                less = f" at the epochs of {base.name!r}" if isinstance(base, NamedRun) else ""
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

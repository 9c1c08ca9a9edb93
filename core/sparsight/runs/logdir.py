"""The runs below a log directory, named by their paths as TensorBoard names them."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import RunError, TargetError, nearest
from ..globs import matching
from ..maths.onset import (
    Clock,
    Names,
    Onset,
    curve_names,
    find_accuracy,
    find_onset,
    find_training_loss,
    find_validation_loss,
    line_up,
    related,
    smooth,
)
from ..schema import Kind, LayerInfo
from .events import is_event_file
from .reader import Run, read_run

__all__ = ["Loss", "NamedRun", "Scalar", "choose_layers", "find_runs"]


@dataclass(frozen=True)
class Scalar:
    """A scalar that was logged, lined up with a run's epochs."""

    name: str
    epochs: NDArray[np.float64]
    values: NDArray[np.float64]


@dataclass(frozen=True)
class Loss:
    """A run's validation loss, lined up with its epochs."""

    name: str
    epochs: NDArray[np.float64]
    values: NDArray[np.float64]
    smoothed: NDArray[np.float64]
    """Under a Gaussian of 2 epochs."""
    onset: Onset | None


@dataclass(frozen=True)
class NamedRun:
    """A run with Sparsight's data."""

    name: str
    run: Run
    layers: tuple[LayerInfo, ...]
    """In graph order: those of the newest table, and the others behind what they followed."""
    loss: Loss | None
    training_loss: Scalar | None = None
    accuracy: Scalar | None = None
    """On held-out samples."""

    @cached_property
    def channels(self) -> dict[str, int]:
        """D of each layer, by name."""
        return {layer.name: layer.channels for layer in self.layers}

    @property
    def onset(self) -> int | None:
        """The epoch after which validation loss only got worse, where there was one."""
        return self.loss.onset.epoch if self.loss and self.loss.onset else None


class _Directory:
    """The directories with event files below one; each is read once, when it is needed."""

    def __init__(self, logdir: Path, without: Collection[Kind]) -> None:
        if not logdir.is_dir():
            raise RunError(f"no such directory: {logdir}; give the one that holds the runs")
        self._paths = {
            Path(folder).relative_to(logdir).as_posix(): Path(folder)
            for folder, _, files in os.walk(logdir, followlinks=True)
            if any(is_event_file(Path(name)) for name in files)
        }
        self.names = sorted(self._paths)
        self._without = without
        self._read: dict[str, Run] = {}

    def read(self, name: str) -> Run:
        if name not in self._read:
            self._read[name] = read_run(self._paths[name], without=self._without)
        return self._read[name]


def find_runs(
    logdir: Path, globs: Sequence[str] = (), without: Collection[Kind] = ()
) -> list[NamedRun]:
    """The runs with Sparsight's data in and below a directory, those that match the globs.

    Kinds of records that are not drawn may be left out, which saves memory.

    Raises RunError where there is no such directory, no such run, or no run at all.
    """
    directory = _Directory(logdir, without)
    if not directory.names:
        raise RunError(f"{logdir} holds no event files; {_HOW}")
    try:
        chosen = _matching(directory.names, globs)
    except KeyError as error:
        hint = nearest(error.args[0], directory.names)
        raise RunError(f"{logdir} holds no run {error.args[0]!r}; {hint}") from None
    ours = [name for name in chosen if directory.read(name).tables]
    if not ours:
        where = logdir if not globs else f"the chosen runs of {logdir}"
        raise RunError(f"the event files in {where} hold no Sparsight data; {_HOW}")
    return [
        NamedRun(
            name,
            run,
            _graph_order(run),
            _validation_loss(name, directory),
            _scalar(name, directory, find_training_loss),
            _scalar(name, directory, find_accuracy),
        )
        for name in ours
        for run in (directory.read(name),)
    ]


_HOW = (
    "`sparsight analyze CHECKPOINTS --probes FILE --logdir DIR` records checkpoints, "
    "sparsight_torch.Recorder records while you train, `sparsight demo` records an example"
)


def choose_layers(runs: Sequence[NamedRun], globs: Sequence[str] = ()) -> dict[str, list[str]]:
    """The layers of each run that match the globs, in graph order; all of them without globs.

    Raises TargetError for a glob that matches no layer of any run.
    """
    known = list(dict.fromkeys(layer.name for run in runs for layer in run.layers))
    try:
        chosen = set(_matching(known, globs))
    except KeyError as error:
        hint = nearest(error.args[0], known)
        raise TargetError(f"the runs have no layer {error.args[0]!r}; {hint}") from None
    return {run.name: [layer.name for layer in run.layers if layer.name in chosen] for run in runs}


def _matching(names: Iterable[str], globs: Sequence[str]) -> list[str]:
    """The names that a glob matches or that are one; KeyError with a glob that matches nothing."""
    known = list(names)
    found: set[str] = set(() if globs else known)
    for glob in globs:
        matches = matching(known, glob)
        if not matches:
            raise KeyError(glob)
        found.update(matches)
    return [name for name in known if name in found]


def _graph_order(run: Run) -> tuple[LayerInfo, ...]:
    infos: dict[str, LayerInfo] = {}
    order: list[str] = []
    for layers in dict.fromkeys(table.layers for table in reversed(run.tables.values())):
        at = 0
        for layer in layers:
            if layer.name in infos:
                at = order.index(layer.name) + 1
            else:
                infos[layer.name] = layer
                order.insert(at, layer.name)
                at += 1
    return tuple(infos[name] for name in order)


def _validation_loss(name: str, directory: _Directory) -> Loss | None:
    found = _scalar(name, directory, find_validation_loss, say=True)
    if found is None:
        return None
    epochs, values = found.epochs, found.values
    return Loss(found.name, epochs, values, smooth(epochs, values), find_onset(epochs, values))


_Find = Callable[[str, Names, Collection[str]], str | None]


def _scalar(name: str, directory: _Directory, find: _Find, say: bool = False) -> Scalar | None:
    """A curve of a run or of those beside it; `say` warns where it cannot be lined up."""
    near = [other for other in directory.names if other == name or related(name, other)]
    scalars = {other: directory.read(other).scalars for other in near}
    names = curve_names(name, scalars)
    measured = [other for other in near if directory.read(other).tables]
    guess = find(name, names, measured)
    if guess is None:
        return None
    owner, tag = names[guess]
    points = scalars[owner][tag]
    run = directory.read(name)
    steps = np.array([*points], np.float64)
    times = np.array([*directory.read(owner).scalar_times[tag].values()], np.float64)
    aligned_by, epochs = line_up(steps, times, _clock(run))
    if aligned_by is None:
        if say:
            warnings.warn(
                f"{guess!r} of run {name!r} is left out: its steps go up to {max(points)} and the "
                f"epochs up to {run.steps[-1]}, no global_step is recorded to line them up, and "
                "they were written at other times",
                stacklevel=2,
            )
        return None
    return Scalar(guess, epochs, np.array(list(points.values()), np.float64))


def _clock(run: Run) -> Clock:
    counts = [run.global_steps.get(step, np.nan) for step in run.steps]
    times = [run.wall_times[step] for step in run.steps]
    return Clock(*(np.array(values, np.float64) for values in (run.steps, counts, times)))

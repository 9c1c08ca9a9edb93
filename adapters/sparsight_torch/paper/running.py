"""Running many cells: one after another or several at a time; with the time left."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from .cells import Cell
from .experiments import Experiment
from .jobs import run_jobs
from .results import read_result

__all__ = ["run_all"]

_WORK = {"s": 1.0, "m": 14.0, "xxl": 210.0, "": 30.0}  # multiplications of a forward, roughly
_PIXELS = {"cifar-10": 1.0, "cifar-100": 1.0, "tiny-imagenet": 4.0}


def run_all(experiments: Sequence[Experiment], jobs: int, console: Console) -> None:
    """Run what is not finished, `jobs` at a time, and say how far it is and how long it will take.

    With several jobs on CUDA each takes the next GPU in turn; on a CPU they share its threads.
    Raises what the first cell that fails raises; the others are ended and can be resumed.
    """
    for experiment in experiments:
        console.print(f"{experiment.cell.name}: {_state(experiment)}", soft_wrap=True)
    waiting = [experiment for experiment in experiments if not experiment.is_finished()]
    with _progress(waiting, console) as advance:
        try:
            if jobs == 1 or len(waiting) < 2:
                for experiment in waiting:
                    experiment.run(partial(advance, experiment))
            else:
                run_jobs(waiting, jobs, advance)
        except KeyboardInterrupt:
            console.print("Stopped: the same command goes on after each cell's last epoch.")
            raise
    for experiment in waiting:
        console.print(_outcome(experiment), soft_wrap=True)


def _outcome(experiment: Experiment) -> str:
    result = read_result(experiment.result_path)
    onset = "no onset" if result["onset"] is None else f"onset of epoch {result['onset']}"
    return f"{experiment.folder}: best accuracy {result['best_accuracy']:.4f}, {onset}"


def _state(experiment: Experiment) -> str:
    done, epochs = experiment.epochs_done(), experiment.protocol.epochs
    if experiment.is_finished():
        return "finished"
    return f"goes on after {done} of {epochs} epochs" if done else "to run"


@dataclass
class _Clock:
    """Time left, by the work of an epoch of each cell."""

    total: float
    done: float = 0.0
    began: float = field(default_factory=time.monotonic)

    def left(self) -> str:
        passed = time.monotonic() - self.began
        seconds = passed * (self.total - self.done) / self.done if self.done else 0
        minutes = round(seconds / 60)
        return f"{minutes // 60} h {minutes % 60:02d} min left" if minutes else "under 1 min left"


@dataclass
class _Advance:
    console: Console
    clock: _Clock
    bar: Progress
    task: Any

    def __call__(self, experiment: Experiment, epoch: int, scalars: dict[str, float]) -> None:
        self.clock.done += _work_of_epoch(experiment)
        line = (
            f"{experiment.cell.name}: epoch {epoch + 1}/{experiment.protocol.epochs}, "
            f"validation loss {scalars['loss/validation']:.3f}, "
            f"accuracy {scalars['accuracy/validation']:.3f}, {self.clock.left()}"
        )
        if self.console.is_terminal:
            self.bar.update(self.task, completed=self.clock.done, description=line)
        else:
            self.console.print(line, soft_wrap=True)


@contextmanager
def _progress(waiting: list[Experiment], console: Console) -> Iterator[_Advance]:
    epochs = [e.protocol.epochs - e.epochs_done() for e in waiting]
    total = sum(
        number * _work_of_epoch(experiment)
        for number, experiment in zip(epochs, waiting, strict=True)
    )
    columns = (TextColumn("{task.description}", markup=False), BarColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("starting", total=total)
        yield _Advance(console, _Clock(total), bar, task)


def _work_of_epoch(experiment: Experiment) -> float:
    cell: Cell = experiment.cell
    images = experiment.protocol.training or 50_000
    return images * _WORK[cell.size] * _PIXELS[cell.data]

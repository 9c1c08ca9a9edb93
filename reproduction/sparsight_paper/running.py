"""Running many cells: one after another or several at a time; with the time left."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from .clock import Clock, in_words
from .experiments import Experiment
from .jobs import run_jobs
from .results import read_result

__all__ = ["run_all"]


def run_all(experiments: Sequence[Experiment], jobs: int, console: Console) -> None:
    """Run what is not finished, `jobs` at a time, and say how far it is and how long it will take.

    With several jobs on CUDA each takes the next GPU in turn; on a CPU they share its threads.
    Raises what the first cell that fails raises; the others are ended and can be resumed.
    """
    waiting, clock = [], Clock(jobs)
    for experiment in experiments:
        done, seconds = experiment.timed()
        clock.expect(experiment.cell, experiment.protocol, done, seconds)
        state = "finished"
        if not experiment.result_path.exists():  # all epochs may be done, and no result written
            waiting.append(experiment)
            epochs = experiment.protocol.epochs
            state = f"resumes after {done} of {epochs} epochs" if done else "to run"
        console.print(f"{experiment.cell.name}: {state}", soft_wrap=True)
    with _progress(clock, console) as advance:
        try:
            if jobs == 1 or len(waiting) < 2:
                for experiment in waiting:
                    experiment.run(partial(advance, experiment))
            else:
                run_jobs(waiting, jobs, advance)
        except KeyboardInterrupt:
            console.print("Stopped: the same command resumes after each cell's last epoch.")
            raise
    for experiment in waiting:
        console.print(_outcome(experiment), soft_wrap=True)


def _outcome(experiment: Experiment) -> str:
    result = read_result(experiment.result_path)
    onset = "no onset" if result["onset"] is None else f"onset of epoch {result['onset']}"
    return f"{experiment.folder}: best accuracy {result['best_accuracy']:.4f}, {onset}"


@dataclass
class _Advance:
    console: Console
    clock: Clock
    bar: Progress
    task: Any

    def __call__(
        self, experiment: Experiment, epoch: int, scalars: dict[str, float], seconds: float
    ) -> None:
        self.clock.tick(experiment.cell, seconds)
        left = self.clock.left
        line = (
            f"{experiment.cell.name}: epoch {epoch + 1}/{experiment.protocol.epochs}, "
            f"validation loss {scalars['loss/validation']:.3f}, "
            f"accuracy {scalars['accuracy/validation']:.3f}, {in_words(left)} left"
        )
        if self.console.is_terminal:
            passed = self.clock.passed
            self.bar.update(self.task, completed=passed, total=passed + left, description=line)
        else:
            self.console.print(line, soft_wrap=True)


@contextmanager
def _progress(clock: Clock, console: Console) -> Iterator[_Advance]:
    columns = (TextColumn("{task.description}", markup=False), BarColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        yield _Advance(console, clock, bar, bar.add_task("starting", total=None))

"""Running many cells: one after another, several at a time, one a GPU; with the time left."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import queue
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from .cells import Cell
from .experiments import Experiment

__all__ = ["run_all"]

_WORK = {"s": 1.0, "m": 14.0, "xxl": 210.0, "": 30.0}  # multiplications of a forward, roughly
_PIXELS = {"cifar-10": 1.0, "cifar-100": 1.0, "tiny-imagenet": 4.0}


def run_all(experiments: Sequence[Experiment], jobs: int, console: Console) -> None:
    """Run what is not finished, `jobs` at a time, and say how far it is and how long it will take.

    With several jobs on CUDA each takes the next GPU in turn; on a CPU they share its threads.
    Raises what the first cell that fails raises; the others are ended and can be resumed.
    """
    for experiment in experiments:
        console.print(f"{experiment.cell.name}: {_state(experiment)}")
    waiting = [experiment for experiment in experiments if not experiment.is_finished()]
    with _progress(waiting, console) as advance:
        if jobs == 1 or len(waiting) < 2:
            for experiment in waiting:
                experiment.run(lambda epoch, scalars, e=experiment: advance(e, epoch, scalars))  # type: ignore[misc]
        else:
            _run_jobs(waiting, jobs, advance)


def _state(experiment: Experiment) -> str:
    done, epochs = experiment.epochs_done(), experiment.protocol.epochs
    if experiment.is_finished():
        return "finished"
    return f"goes on after {done} of {epochs} epochs" if done else "to run"


def _run_jobs(waiting: list[Experiment], jobs: int, advance: _Advance) -> None:
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager:
        reports, slots = manager.Queue(), manager.Queue()
        for slot in range(jobs):
            slots.put(slot)
        with ProcessPoolExecutor(jobs, context, _take_slot, (slots,)) as pool:
            futures = [pool.submit(_run_one, e, at, jobs, reports) for at, e in enumerate(waiting)]
            try:
                while not _all_done(futures):
                    with _patience():
                        at, epoch, scalars = reports.get(timeout=0.5)
                        advance(waiting[at], epoch, scalars)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                for process in multiprocessing.active_children():
                    if process.pid != manager._process.pid:  # type: ignore[attr-defined]
                        process.terminate()
                raise


@contextmanager
def _patience() -> Iterator[None]:
    try:
        yield
    except queue.Empty:
        return


def _all_done(futures: list[Future[None]]) -> bool:
    for future in futures:
        if future.done():
            future.result()  # raises what the cell raised
    return all(future.done() for future in futures)


_slot = 0


def _take_slot(slots: Any) -> None:
    global _slot
    _slot = slots.get()


def _run_one(experiment: Experiment, at: int, jobs: int, reports: Any) -> None:
    execution = experiment.execution
    if execution.device == "cuda":
        device = f"cuda:{_slot % torch.cuda.device_count()}"
        execution = dataclasses.replace(execution, device=device)
    elif execution.threads is None:
        threads = max(1, (os.cpu_count() or 1) // jobs)
        execution = dataclasses.replace(execution, threads=threads)
    placed = dataclasses.replace(experiment, execution=execution)
    placed.run(lambda epoch, scalars: reports.put((at, epoch, scalars)))


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

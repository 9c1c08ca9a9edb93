"""Several cells at a time, each in a process of its own, which ends when its parent is gone."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import Connection
from typing import Any

import torch

from sparsight.errors import RunError
from sparsight.system.child_processes import end_with_parent

from .execution import Execution
from .experiments import Experiment

__all__ = ["Advance", "begin_worker", "gpus_in_turn", "run_jobs"]

Advance = Callable[[Experiment, int, dict[str, float], float], None]
"""Called after each epoch of an experiment: its number, what was measured, seconds."""

_PATIENCE = 0.5  # seconds without a report after which the processes are looked at

_send: Callable[[Any], None]
"""A worker's way to its parent: pipes go into a process when it starts, but not with a task."""


def run_jobs(waiting: Sequence[Experiment], jobs: int, advance: Advance) -> None:
    """Run experiments, `jobs` at a time; on CUDA each takes the next GPU in turn.

    Raises what the first one that fails raises, and RunError where a process was killed; the others
    are ended then, and can be resumed.
    """
    context = multiprocessing.get_context("spawn")  # CUDA does not survive a fork
    gpus: Any = context.SimpleQueue()
    for gpu in _gpus(waiting[0].execution, jobs):
        gpus.put(gpu)
    reader, writer = context.Pipe(duplex=False)
    begin = (gpus, writer, context.Lock())
    before = set(multiprocessing.active_children())
    with ProcessPoolExecutor(jobs, context, begin_worker, begin) as pool:
        placed = [_sharing_threads(experiment, jobs) for experiment in waiting]
        futures = [pool.submit(_run_one, each, at) for at, each in enumerate(placed)]
        try:
            while not all(future.done() for future in futures):
                _hear(reader, waiting, advance, _PATIENCE)
                _raise_failure(futures)
            _hear(reader, waiting, advance, 0)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in set(multiprocessing.active_children()) - before:
                process.terminate()
            raise


def _hear(
    reader: Connection, waiting: Sequence[Experiment], advance: Advance, patience: float
) -> None:
    """Pass on what the workers have said since, or say within `patience` seconds."""
    while reader.poll(patience):
        said, patience = reader.recv(), 0
        if isinstance(said, str):
            warnings.warn(said, stacklevel=2)
        else:
            at, *report = said
            advance(waiting[at], *report)


def _raise_failure(futures: Sequence[Future[None]]) -> None:
    for future in futures:
        if future.done():
            try:
                future.result()
            except BrokenProcessPool:
                raise RunError(
                    "a process that trained a cell was killed, probably because memory ran "
                    "out; the same command resumes after each cell's last epoch, and fewer "
                    "--jobs need less memory"
                ) from None


def begin_worker(gpus: Any, writer: Connection, lock: Any) -> None:
    """Set a worker up: it ends with its parent, has a GPU of its own, and can report.

    The GPU is taken before CUDA is started, so that none keeps memory on another.
    """
    end_with_parent()  # one that trained on would keep its cell's folder locked
    gpu = gpus.get()
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu

    def send(message: Any) -> None:
        with lock:
            writer.send(message)

    def show(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
        if issubclass(category, UserWarning):
            send(str(message))

    global _send
    _send, warnings.showwarning = send, show
    warnings.simplefilter("default", UserWarning)


def _run_one(experiment: Experiment, at: int) -> None:
    experiment.run(lambda *report: _send((at, *report)))


def _gpus(execution: Execution, jobs: int) -> list[str | None]:
    """What each job may see; None: all, where it runs on the CPU or on a GPU that was named."""
    if execution.device != "cuda":
        return [None] * jobs
    return list(gpus_in_turn(jobs, os.environ, torch.cuda.device_count()))


def gpus_in_turn(jobs: int, environment: Mapping[str, str], number: int) -> list[str]:
    """Values of CUDA_VISIBLE_DEVICES, one a job: the GPUs that this process sees, in turn."""
    named = environment.get("CUDA_VISIBLE_DEVICES")
    seen = named.split(",") if named else [str(gpu) for gpu in range(number)]
    return [seen[job % number] for job in range(jobs)]


def _sharing_threads(experiment: Experiment, jobs: int) -> Experiment:
    execution = experiment.execution
    if execution.cuda or execution.threads is not None:
        return experiment
    threads = max(1, torch.get_num_threads() // jobs)
    execution = dataclasses.replace(execution, threads=threads)
    return dataclasses.replace(experiment, execution=execution)

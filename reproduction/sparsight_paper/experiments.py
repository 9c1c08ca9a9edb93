"""Running one cell: every epoch recorded and checkpointed; a killed run goes on where it was.

A cell's folder holds its event files and, while it is trained, `checkpoint.pt`: everything that the
next epoch depends on. Once it is finished, `result.json` and `weights.pt` (a plain state_dict, on
the CPU) take the checkpoint's place. All are written beside and moved, so that a process killed at
any moment leaves the last epoch or this one, and nothing in between.
"""

from __future__ import annotations

import dataclasses
import json
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor

from sparsight.errors import RunError, UsageError
from sparsight.system.file_locks import FileLock
from sparsight_torch.recording.recorder import Recorder

from .cells import Cell, Protocol
from .checkpoints import read_state, write_bytes, write_state
from .data import ExperimentData, load_data, scaled
from .execution import Execution
from .held_out import archive, judge, outcomes
from .history import (
    changed,
    epochs_in,
    fresh_history,
    note_epoch,
    note_layers,
    note_place,
    note_start,
    onset_of,
)
from .results import difference, read_result
from .training import Training, train_epoch, validate

__all__ = ["Experiment"]

Report = Callable[[int, dict[str, float], float], None]
"""Called after each epoch with its number, what was measured, and the seconds it took."""


@dataclasses.dataclass(frozen=True)
class Experiment:
    """A cell under a protocol, in a folder of its own within `runs`."""

    cell: Cell
    protocol: Protocol
    runs: Path
    data_root: Path
    execution: Execution = dataclasses.field(default_factory=Execution)

    @property
    def folder(self) -> Path:
        """Where events, checkpoint and result are."""
        return self.runs / self.cell.name

    @property
    def result_path(self) -> Path:
        """Where the result is, once finished."""
        return self.folder / "result.json"

    def identity(self) -> dict[str, Any]:
        """What a result depends on, but for machine and versions."""
        return {
            "cell": self.cell.settings(),
            "protocol": dataclasses.asdict(self.protocol),
            "arithmetic": [self.execution.precision, self.execution.compile],
        }

    def result(self) -> dict[str, Any] | None:
        """The result; None: not finished. Raises UsageError where it is one of other settings."""
        if not self.result_path.exists():
            return None
        result = read_result(self.result_path)
        self._check(result, self.result_path)
        return result

    def timed(self) -> tuple[int, float]:
        """Epochs that need not be run again, and the seconds that they took."""
        result = self.result()
        if result is not None:
            return self.protocol.epochs, result["seconds"]
        state = self._checkpoint(mapped=True)
        if state is None:
            return 0, 0.0
        return epochs_in(state["history"]), sum(state["history"]["seconds"])

    def run(self, report: Report = lambda epoch, scalars, seconds: None) -> dict[str, Any]:
        """Train to the end, from the last checkpoint where there is one; the result.

        Raises UsageError where another process runs the same cell in the same folder, RunError
        where the folder cannot be written or locked, OutOfMemoryError where the cell does not fit.
        """
        result = self.result()
        if result is not None:
            return result
        with _alone(self.folder), self.execution.memory_for(self.cell.name):
            return self._run(report)

    def _run(self, report: Report) -> dict[str, Any]:
        self.execution.prepare()
        data = load_data(
            self.cell.data,
            self.data_root,
            training=self.protocol.training,
            validation=self.protocol.validation,
            probes=self.protocol.probes,
            device=self.execution.device,
        )
        training = Training(self.cell, self.protocol, data, self.execution)
        state = self._checkpoint()
        if state is not None:
            training.load_state_dict(state["training"])
        history = fresh_history() if state is None else state["history"]
        logits: list[Tensor] = [] if state is None else state.get("logits", [])
        self._note_place(history)
        with Recorder(training.model, scaled(data.probes), self.folder) as recorder:
            self._continue(training, recorder, history, logits, report)
        result = self._result(history, data)
        self._finish(training, result, logits)
        return result

    def _note_place(self, history: dict[str, Any]) -> None:
        if epochs_in(history) == self.protocol.epochs:  # killed before the result was written
            return
        described = self.execution.described()
        other = changed(history, described)
        if other:
            warnings.warn(
                f"{self.folder} resumes under different conditions ({other}): its results may "
                "differ in the last digits from those of an uninterrupted run",
                stacklevel=2,
            )
        note_place(history, described)

    def _continue(
        self,
        training: Training,
        recorder: Recorder,
        history: dict[str, Any],
        logits: list[Tensor],
        report: Report,
    ) -> None:
        steps = -(-len(training.data.images) // self.protocol.batch)
        if not history["layers"]:
            scalars = self._validated(training, logits)
            note_start(history, scalars)
            note_layers(history, recorder.record(-1, scalars=scalars, global_step=0))
        for epoch in range(epochs_in(history), self.protocol.epochs):
            start = time.perf_counter()
            scalars = _named("training", train_epoch(training))
            scalars |= self._validated(training, logits)
            measured = recorder.record(epoch, scalars=scalars, global_step=(epoch + 1) * steps)
            note_layers(history, measured)
            seconds = time.perf_counter() - start
            note_epoch(history, scalars, seconds)
            state = {"training": training.state_dict(), "history": history}
            self._save({**state, "logits": logits} if logits else state)
            report(epoch, scalars, seconds)

    def _validated(self, training: Training, logits: list[Tensor]) -> dict[str, float]:
        """Scalars of the validation; of treated cells both splits, and the logits are kept."""
        if self.cell.treatment is None:
            return _named("validation", validate(training.model, training.data))
        scalars, now = judge(training.model, training.data)
        logits.append(now)
        return scalars

    def _checkpoint(self, *, mapped: bool = False) -> dict[str, Any] | None:
        path = self._checkpoint_path
        state = read_state(path, mapped=mapped)
        if state is None:
            return None
        self._check(state, path)
        if ("random_cuda" in state["training"]) != self.execution.cuda:
            begun = "the CPU" if self.execution.cuda else "CUDA"
            raise UsageError(f"{path} was started on {begun}; continue there, or remove it")
        return state

    @property
    def _checkpoint_path(self) -> Path:
        return self.folder / "checkpoint.pt"

    def _save(self, state: dict[str, Any]) -> None:
        write_state(self._checkpoint_path, {**self.identity(), **state})

    def _finish(self, training: Training, result: dict[str, Any], logits: Sequence[Tensor]) -> None:
        """The checkpoint goes last: what is not finished yet can be gone on with."""
        weights = {name: value.cpu() for name, value in training.model.state_dict().items()}
        write_state(self.folder / "weights.pt", weights)
        if logits:
            write_bytes(self.folder / "logits.npz", archive(logits))
        content = json.dumps(result, indent=1, allow_nan=False).encode() + b"\n"
        write_bytes(self.result_path, content)
        try:
            self._checkpoint_path.unlink(missing_ok=True)
        except OSError as error:
            raise RunError(
                f"cannot remove {self._checkpoint_path}: {error.strerror or error}; the cell "
                "is finished and no longer needs it"
            ) from None

    def _check(self, found: dict[str, Any], path: Path) -> None:
        for part, wanted in self.identity().items():
            other = difference(found.get(part), wanted)
            if other:
                raise UsageError(
                    f"{path} belongs to a run with other settings ({other}); choose another "
                    "--runs folder, or remove it"
                )

    def _result(self, history: dict[str, Any], data: ExperimentData) -> dict[str, Any]:
        accuracies = [x for x in history["epochs"]["accuracy/validation"] if x is not None]
        onset = onset_of(history)
        *earlier, last = history.get("ran_on") or [self.execution.described()]
        return {
            **self.identity(),
            **last,
            **({"resumed_on": earlier} if earlier else {}),
            "data": {
                "training_images": len(data.images),
                "validation_images": len(data.validation_images),
                "probe_indices": list(data.probe_indices),
            },
            "best_accuracy": max(accuracies),
            "last_accuracy": accuracies[-1],
            "onset": onset.epoch if onset else None,
            "seconds": round(sum(history["seconds"]), 1),
            **({"outcomes": outcomes(history["epochs"])} if self.cell.treatment else {}),
            "start": history.get("start", {}),
            "epochs": history["epochs"],
            "layers": history["layers"],
        }


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Two processes in one folder would overwrite each other's checkpoints."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / "lock")
    except BlockingIOError as error:
        raise UsageError(f"another process is running {folder} ({error}); wait for it") from None
    except OSError as error:
        raise RunError(f"cannot write to {folder}: {error.strerror or error}") from None
    with lock:
        if lock.problem is not None:
            raise RunError(
                f"cannot lock {folder} against other processes ({lock.problem}); choose a "
                "--runs folder on a file system that supports locks"
            )
        yield


def _named(split: str, values: dict[str, float]) -> dict[str, float]:
    """Tags as they appear in TensorBoard: loss/validation, accuracy/training, penalty/sparsity."""
    of_network = ("loss", "accuracy")
    return {
        f"{name}/{split}" if name in of_network else f"penalty/{name}": value
        for name, value in values.items()
    }

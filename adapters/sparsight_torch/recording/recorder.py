"""Recording a probe set's measurements while a network trains."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from sparsight.errors import RunError, UsageError, nearest
from sparsight.maths.calibration import calibrate, flat_logits, loss_at, sampled
from sparsight.maths.correlation import Centre
from sparsight.measure.measurement import LayerMeasurement
from sparsight.probes.probe_set import shown_positions, shown_probes
from sparsight.runs.writer import RunWriter
from sparsight.schema.evaluation import TRAINING_LOSS, evaluation_scalars
from sparsight.warning import warn

from .distributed import rank
from .onnx_export import OnnxExporter
from .probe_set import Probes, ProbeSet, Samples
from .probing import Statistics, measure

__all__ = ["Recorder"]


class Recorder:
    """Measures a fixed probe set after each epoch, and writes it for TensorBoard's Sparsity tab.

        with Recorder(model, probes, "runs/first") as recorder:
            recorder.record(-1)                       # before training
            for epoch in range(epochs):
                ...
                recorder.record(epoch, scalars={"loss/validation": loss})

    `probes` are held-out samples, [N, ...], of the network's input, or a sequence of such, or a
    mapping by keyword, for several inputs; or a Dataset, or a DataLoader that does not shuffle, of
    which at most 1,000 samples are drawn, without their labels. Events go into `logdir`, or into
    the file of `writer`, the SummaryWriter that you already have: prefer that, since a second file
    in a directory can hold up its curves in TensorBoard. `layers` chooses what is measured, `shown`
    how many probes' maps are kept (spread over the set), or which. `every` measures each n-th epoch
    only. `also_export` writes ONNX checkpoints, each n-th epoch if it is a number, into
    `logdir`/checkpoints. `mask` leaves padding out: the name of an input, [N, L], that is 0 there.
    See `measure` for the other options.

    In distributed training every rank makes a Recorder and calls `record`: each measures its share
    of the probes, and rank 0 writes. A failed write never ends a training run: a warning says so,
    what a full disk kept from being written waits in memory, and a further warning tells when it is
    written. One process at a time records into a directory: raises RunError where another does. In
    one process the Recorder that was made last has the run, as when a notebook's cell is run again.
    """

    def __init__(
        self,
        model: nn.Module,
        probes: Probes,
        logdir: str | Path | None = None,
        *,
        writer: Any = None,
        layers: Sequence[str] | None = None,
        shown: int | Sequence[int] = 8,
        every: int = 1,
        also_export: bool | int = False,
        statistics: Statistics = "all",
        centre: Centre = "own",
        batch_size: int = 64,
        mask: str | Samples | None = None,
    ) -> None:
        if (logdir is None) == (writer is None):
            raise UsageError("a Recorder needs either a logdir or a writer")
        if not isinstance(every, int) or every < 1:
            raise UsageError(f"every={every!r}: expected a number of epochs, at least 1")
        self._model = model
        self._probes = probe_set = ProbeSet.of(probes)  # drawn once: a Dataset may be random
        _check_shown(shown)
        arrays = [tensor.numpy(force=True) for tensor in probe_set.tensors]
        self._shown = shown_probes(arrays, shown_positions(shown, len(probe_set)))
        self._options: dict[str, Any] = {
            "layers": layers,
            "statistics": statistics,
            "centre": centre,
            "batch_size": batch_size,
            "mask": mask,
        }
        self._every, self._export_every = every, int(also_export)
        self.logdir = Path(writer.log_dir if logdir is None else logdir)
        sink = None if writer is None else writer._get_file_writer()
        self._writer = RunWriter(self.logdir, sink)
        self._exporter = OnnxExporter(model, self._probes) if also_export else None
        self._writes = rank() == 0
        self._failing: set[str] = set()
        if self._writes:
            self._writer.claim()

    def record(
        self,
        epoch: int,
        *,
        scalars: Mapping[str, float] | None = None,
        global_step: int | None = None,
        train_loss: float | Tensor | None = None,
        validation_logits: Tensor | None = None,
        validation_labels: Tensor | None = None,
    ) -> list[LayerMeasurement]:
        """Measure and write one epoch; -1 is "before training".

        `scalars` are written beside it, also in the epochs that `every` leaves out, and appear in
        TensorBoard's Scalars tab. `global_step` is your trainer's own step count: with it our
        epochs are lined up with losses that are logged by batch.

        What `sparsight diagnose` needs: `train_loss`, the epoch's mean without penalties, and of
        single-label classification `validation_logits`, [N, classes, ...], and
        `validation_labels`, [N, ...], of held-out samples, the same each epoch; -100 counts for
        nothing. Loss, accuracy, best temperature, calibrated loss and calibration error are
        recorded from them; scalars of the same names win. In distributed training rank 0's are
        taken. Raises UsageError where they do not fit.

        Returns what was measured, which
        is nothing in an epoch left out.
        """
        epoch = _integer("epoch", epoch)
        global_step = None if global_step is None else _integer("global_step", global_step)
        scalars = {name: _number(name, value) for name, value in (scalars or {}).items()}
        scalars = _evaluation(train_loss, validation_logits, validation_labels) | scalars
        due = epoch < 0 or epoch % self._every == 0
        measurements = (
            measure(self._model, self._probes, shown=self._shown.indices, **self._options)
            if due
            else []
        )
        if not self._writes:
            return measurements
        with self._reporting("records"):
            self._writer.write(
                epoch,
                measurements,
                probes=self._shown if due else None,
                scalars=scalars,
                global_step=global_step,
            )
        if self._exporter is not None and (epoch < 0 or epoch % self._export_every == 0):
            with self._reporting("checkpoints"):
                self._exporter.export(self.logdir / "checkpoints" / _checkpoint_name(epoch))
        return measurements

    def close(self) -> None:
        """Close the event file, unless it is a SummaryWriter's, and leave the run to others."""
        try:
            self._writer.close()
        except RunError as error:
            lost = _epochs(self._writer.lost)
            warn(f"{error}; {lost} could not be written")

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def _reporting(self, what: str) -> Iterator[None]:
        """Say when writing something begins to fail, and when it works again; each once."""
        waited = self._writer.waiting
        try:
            yield
        except RunError as error:
            if what not in self._failing:
                self._failing.add(what)
                waiting = _epochs(self._writer.waiting) if what == "records" else ""
                kept = f"with {waiting} kept in memory until there is room" if waiting else ""
                warn(f"{error}; training continues, {kept or 'with an incomplete record'}")
        else:
            if what in self._failing:
                self._failing.remove(what)
                late = f", including {_epochs(waited)}" if waited else ""
                lost = f"; lost: {_epochs(self._writer.lost)}" if self._writer.lost else ""
                warn(f"{what} can be written to {self.logdir} again{late}{lost}")


def _epochs(steps: Sequence[int]) -> str:
    """Nothing, "epoch 3", or "epochs 3, 4, 5"."""
    shown = [*map(str, steps[:10]), *(["…", str(steps[-1])] if len(steps) > 10 else [])]
    return f"epoch{'s' if len(steps) > 1 else ''} {', '.join(shown)}" if steps else ""


def _check_shown(shown: object) -> None:
    if isinstance(shown, str):
        raise UsageError(
            f"shown={shown!r}: expected a number of probes, or a list of their positions"
        )


def _integer(name: str, value: Any) -> int:
    try:
        return operator.index(value)
    except TypeError:
        raise UsageError(f"{name}={value!r}: expected an integer") from None


def _number(name: str, value: Any) -> float:
    try:
        return float(value.detach() if isinstance(value, Tensor) else value)
    except (TypeError, ValueError, RuntimeError):
        raise UsageError(f"the scalar {name!r} is {value!r}; expected a number") from None


def _evaluation(
    train_loss: float | Tensor | None, logits: Tensor | None, labels: Tensor | None
) -> dict[str, float]:
    """The scalars of an evaluation, by their tags."""
    found = {} if train_loss is None else {TRAINING_LOSS: _number("train_loss", train_loss)}
    if (logits is None) != (labels is None):
        missing = "validation_logits" if logits is None else "validation_labels"
        raise UsageError(f"validation_logits and validation_labels go together; {missing} is None")
    if logits is None or labels is None:
        return found
    rows, known = flat_logits(_array(logits), _array(labels))
    chosen = sampled(len(known), rows.shape[1])
    whole = calibrate(rows[chosen], known[chosen])
    if not whole.count:
        return found
    loss, right = loss_at(1.0, rows, known), rows.argmax(axis=1) == known
    return found | evaluation_scalars(whole, loss, float(right.mean()))


def _array(values: Any) -> Any:
    """A tensor, or what numpy takes, as an array."""
    if not isinstance(values, Tensor):
        return values
    values = values.detach()
    return (values.float() if values.is_floating_point() else values).numpy(force=True)


def _checkpoint_name(epoch: int) -> str:
    return f"epoch_{epoch:04d}.onnx" if epoch >= 0 else f"epoch_{epoch}.onnx"


def check_options(owner: str, options: Mapping[str, Any]) -> None:
    """Raises UsageError for what `owner`, a trainer's callback, cannot pass on to its Recorder."""
    chosen_by_trainer = ("model", "probes", "logdir", "writer")
    known = [x for x in inspect.signature(Recorder).parameters if x not in chosen_by_trainer]
    for name in options:
        if name not in known:
            raise UsageError(
                f"{owner} has no option {name!r} (options of a penalty go to the penalty, as "
                f"in SparsityReg(model, targets, reduction='mean')); {nearest(name, known)}"
            )

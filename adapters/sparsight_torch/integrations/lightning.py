"""SparsityCallback: penalties and recording for Lightning's Trainer."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from sparsight.errors import MissingExtraError, UsageError

from ..penalties.penalty_set import Penalties, PenaltySet
from ..recording.probe_set import Probes
from ..recording.recorder import Recorder, check_options

try:
    from lightning.pytorch import Callback, LightningModule, Trainer
    from lightning.pytorch.loggers import TensorBoardLogger
except ImportError:
    raise MissingExtraError("lightning", "lightning", "SparsityCallback") from None

__all__ = ["SparsityCallback"]


class SparsityCallback(Callback):
    """Adds penalties to the training loss, and records a probe set after each epoch.

        def penalties(module):
            return [SparsityReg(module, {"net.conv3": 1e-3}), DecorrReg(module, {"net.conv1": 1.0})]

        Trainer(callbacks=[SparsityCallback(penalties, probes=probes)])

    `penalties` are penalties, or a function that makes them for the LightningModule when `fit`
    starts, and whose penalties are detached when it ends, also after an exception or Ctrl-C. They
    are added to the loss that `training_step` returns, and logged as "penalty/sparsity",
    "penalty/decorrelation", or by the names that a mapping gives them. How far their schedules
    have come is kept in Lightning's checkpoints.

    `probes` are samples that the LightningModule's `forward` takes; without them nothing is
    recorded. Recording goes through the trainer's TensorBoardLogger where it has one, else into
    `logdir`, else into "sparsight" in the trainer's default directory. Further options are
    Recorder's.

    Raises UsageError for options that do not exist, and under manual optimisation, where a penalty
    on the returned loss does nothing.
    """

    def __init__(
        self,
        penalties: Penalties | None = None,
        *,
        probes: Probes | None = None,
        logdir: str | Path | None = None,
        **options: Any,
    ) -> None:
        check_options("SparsityCallback", options)
        if penalties is None and probes is None:
            raise UsageError("SparsityCallback needs penalties to add, probes to record, or both")
        unused = [*options, *(["logdir"] if logdir is not None else [])]
        if probes is None and unused:
            raise UsageError(f"{unused[0]} is an option for recording, which needs probes")
        self._penalties = None if penalties is None else PenaltySet(penalties)
        self._probes, self._logdir, self._options = probes, logdir, options
        self._recorder: Recorder | None = None
        self._undo = ExitStack()

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Attach the penalties to the module, and its training step to them."""
        self._undo.close()
        if self._penalties is None:
            return
        if not pl_module.automatic_optimization:
            raise UsageError(
                "under manual optimisation Lightning does not train on the returned loss: "
                "add the penalties to your own loss instead of passing them to "
                "SparsityCallback"
            )
        self._undo.callback(self._penalties.detach)
        self._penalties.attach(pl_module)
        self._undo.callback(_restore, pl_module, vars(pl_module).get("training_step"))
        step = _penalised(pl_module, pl_module.training_step, self._penalties)
        pl_module.training_step = step  # type: ignore[method-assign]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record epoch -1, before training, unless training resumes."""
        if self._probes is None:
            return
        loggers = [x for x in trainer.loggers if isinstance(x, TensorBoardLogger)]
        if loggers and trainer.is_global_zero:
            place: dict[str, Any] = {"writer": loggers[0].experiment}
        else:
            logdir = self._logdir or Path(trainer.default_root_dir) / "sparsight"
            place = {"logdir": logdir}
        self._recorder = Recorder(pl_module, self._probes, **place, **self._options)
        self._undo.callback(self._close)
        if trainer.current_epoch == 0:
            self._recorder.record(-1, global_step=trainer.global_step)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record the epoch."""
        if self._recorder is not None:
            self._recorder.record(trainer.current_epoch, global_step=trainer.global_step)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Leave the module as it was."""
        self._undo.close()

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Leave the module as it was: after an exception Lightning calls no `teardown`."""
        self._undo.close()

    def state_dict(self) -> dict[str, Any]:
        """How far the schedules of strengths have come; part of Lightning's checkpoints."""
        return {} if self._penalties is None else self._penalties.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue where a checkpoint was taken."""
        if self._penalties is not None:
            self._penalties.load_state_dict(state_dict)

    def _close(self) -> None:
        recorder, self._recorder = self._recorder, None
        if recorder is not None:
            recorder.close()


def _penalised(
    module: LightningModule, original: Callable[..., Any], penalties: PenaltySet
) -> Callable[..., Any]:
    """A training step with the penalties added to the loss that it returns."""

    @functools.wraps(original)
    def training_step(*inputs: Any, **keywords: Any) -> Any:
        with penalties.accumulate():  # the step may call parts of the module on their own
            output = original(*inputs, **keywords)
        loss = output.get("loss") if isinstance(output, Mapping) else output
        if loss is None:  # the step is skipped
            penalties.forget()
            return output
        for name, value in penalties().items():
            module.log(f"penalty/{name}", value.detach())
            loss = loss + value.to(loss.device)
        return {**output, "loss": loss} if isinstance(output, Mapping) else loss

    return training_step


def _restore(module: LightningModule, own: Callable[..., Any] | None) -> None:
    """Give a module its training step back: the one of its class, or its own."""
    if own is None:
        vars(module).pop("training_step", None)
    else:
        module.training_step = own  # type: ignore[method-assign]

"""SparsityCallback: penalties and recording for Lightning's Trainer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from sparsight.errors import MissingExtraError, UsageError

from .penalties import DecorrReg, SparsityReg
from .probe_set import Probes
from .recorder import Recorder
from .targets import Selection

try:
    from lightning.pytorch import Callback, LightningModule, Trainer
    from lightning.pytorch.loggers import TensorBoardLogger
except ImportError:
    raise MissingExtraError("lightning", "lightning", "SparsityCallback") from None

__all__ = ["SparsityCallback"]


class SparsityCallback(Callback):
    """Adds penalties to the training loss, and records a probe set after each epoch.

        Trainer(callbacks=[SparsityCallback(probes, sparsity={"model.conv3": 1e-3})])

    `sparsity` and `decorrelation` are the targets of SparsityReg and DecorrReg, by their names in
    the LightningModule; the loss that `training_step` returns is penalised, and the penalties are
    logged as "penalty/sparsity" and "penalty/decorrelation". `probes` are samples that the
    LightningModule's `forward` takes; without them nothing is recorded. Recording goes through the
    trainer's TensorBoardLogger where it has one, else into `logdir`, else into "sparsight" in the
    trainer's default directory. Further options are Recorder's.

    Raises UsageError under manual optimisation, where a penalty on the returned loss does nothing.
    """

    def __init__(
        self,
        probes: Probes | None = None,
        *,
        sparsity: Selection | None = None,
        decorrelation: Selection | None = None,
        logdir: str | Path | None = None,
        **options: Any,
    ) -> None:
        if probes is None and sparsity is None and decorrelation is None:
            raise UsageError("a SparsityCallback needs probes to record, or targets to penalise")
        self._probes, self._sparsity, self._decorrelation = probes, sparsity, decorrelation
        self._logdir, self._options = logdir, options
        self._penalties: dict[str, SparsityReg | DecorrReg] = {}
        self._states: dict[str, Any] = {}
        self._recorder: Recorder | None = None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Attach the penalties to the module, and its training step to them."""
        if self._sparsity is not None:
            self._penalties["sparsity"] = SparsityReg(pl_module, self._sparsity)
        if self._decorrelation is not None:
            self._penalties["decorrelation"] = DecorrReg(pl_module, self._decorrelation)
        for name, state in self._states.items():
            self._penalties[name].load_state_dict(state)
        if self._penalties:
            if not pl_module.automatic_optimization:
                raise UsageError(
                    "under manual optimisation the returned loss is not trained on: add "
                    "SparsityReg to your own loss instead of passing targets to SparsityCallback"
                )
            original = pl_module.training_step
            pl_module.training_step = self._penalised(pl_module, original)  # type: ignore[method-assign]

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
        if trainer.current_epoch == 0:
            self._recorder.record(-1, global_step=trainer.global_step)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record the epoch."""
        if self._recorder is not None:
            self._recorder.record(trainer.current_epoch, global_step=trainer.global_step)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Leave the module as it was."""
        if self._penalties:
            self._states = self.state_dict()
            vars(pl_module).pop("training_step", None)
        for penalty in self._penalties.values():
            penalty.detach()
        self._penalties = {}
        if self._recorder is not None:
            self._recorder.close()
            self._recorder = None

    def state_dict(self) -> dict[str, Any]:
        """How far the schedules of strengths have come; part of Lightning's checkpoints."""
        current = {name: penalty.state_dict() for name, penalty in self._penalties.items()}
        return {**self._states, **current}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue where a checkpoint was taken."""
        self._states = dict(state_dict)

    def _penalised(
        self, module: LightningModule, original: Callable[..., Any]
    ) -> Callable[..., Any]:
        """The module's training step with the penalties added to what it returns."""

        def training_step(*inputs: Any, **keywords: Any) -> Any:
            sparsity = self._penalties.get("sparsity")
            if isinstance(sparsity, SparsityReg):
                with sparsity.accumulate():  # the step may call parts of the module on their own
                    output = original(*inputs, **keywords)
            else:
                output = original(*inputs, **keywords)
            loss = output["loss"] if isinstance(output, Mapping) else output
            if loss is None:  # the step is skipped
                return output
            for name, penalty in self._penalties.items():
                value = penalty()
                module.log(f"penalty/{name}", value.detach())
                loss = loss + value
            return _with_loss(output, loss)

        return training_step


def _with_loss(output: Any, loss: Tensor) -> Any:
    return {**output, "loss": loss} if isinstance(output, Mapping) else loss

"""Recording and penalties for the Trainer of Hugging Face's transformers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from sparsight.errors import MissingExtraError, UsageError

from .penalties import DecorrReg, SparsityReg
from .probe_set import Probes
from .recorder import Recorder
from .targets import Selection

try:
    from transformers import Trainer, TrainerCallback
    from transformers.integrations.integration_utils import TensorBoardCallback
except ImportError:
    raise MissingExtraError("transformers", "transformers", "RecorderCallback") from None

__all__ = ["PenaltyMixin", "RecorderCallback"]

if TYPE_CHECKING:
    _Base = Trainer
else:
    _Base = object


class RecorderCallback(TrainerCallback):
    """Records a probe set before training and after each epoch.

        trainer = Trainer(...)
        trainer.add_callback(RecorderCallback(trainer, probes))

    `probes` are what the model takes, by keyword: `{"pixel_values": images}`. Recording goes
    through the trainer's own TensorBoard writer where it has one (`report_to="tensorboard"`), else
    into `logdir`, else into "sparsight" in the trainer's output directory. Further options are
    Recorder's.
    """

    def __init__(
        self, trainer: Trainer, probes: Probes, *, logdir: str | Path | None = None, **options: Any
    ) -> None:
        self._trainer, self._probes = trainer, probes
        self._logdir, self._options = logdir, options
        self._recorder: Recorder | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Record epoch -1, before training, unless training resumes."""
        if self._trainer.model is None:
            raise UsageError("the trainer has no model to record")
        writer = self._writer()
        logdir = self._logdir or Path(args.output_dir) / "sparsight"
        place: dict[str, Any] = {"logdir": logdir} if writer is None else {"writer": writer}
        self._recorder = Recorder(self._trainer.model, self._probes, **place, **self._options)
        if state.global_step == 0:
            self._recorder.record(-1, global_step=0)

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Record the epoch."""
        if self._recorder is not None:
            self._recorder.record(round(state.epoch) - 1, global_step=state.global_step)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Close the event file, unless it is the trainer's."""
        if self._recorder is not None:
            self._recorder.close()
            self._recorder = None

    def _writer(self) -> Any:
        for callback in self._trainer.callback_handler.callbacks:
            if isinstance(callback, TensorBoardCallback):
                return callback.tb_writer
        return None


class PenaltyMixin(_Base):
    """Adds SparsityReg and DecorrReg to a Trainer's training loss.

        class MyTrainer(PenaltyMixin, Trainer): ...

        MyTrainer(..., sparsity={"vit.*.intermediate.dense": 1e-3}).train()

    `sparsity` and `decorrelation` are their targets, by their names in the model. Evaluation
    losses are left as they are. The penalties are logged as "penalty_sparsity" and
    "penalty_decorrelation".
    """

    def __init__(
        self,
        *args: Any,
        sparsity: Selection | None = None,
        decorrelation: Selection | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        if self.model is None:
            raise UsageError(
                "PenaltyMixin needs a model when the trainer is made, not a model_init"
            )
        self.sparsity = None if sparsity is None else SparsityReg(self.model, sparsity)
        self.decorrelation = None if decorrelation is None else DecorrReg(self.model, decorrelation)

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor | tuple[Tensor, Any]:
        """The trainer's loss, and in training the penalties."""
        training = torch.is_grad_enabled()
        loss, outputs = super().compute_loss(model, inputs, True, num_items_in_batch)
        penalties = [p for p in (self.sparsity, self.decorrelation) if p is not None]
        if training:
            share = self._share(num_items_in_batch)
            for penalty in penalties:
                loss = loss + penalty().to(loss.device) / share
        return (loss, outputs) if return_outputs else loss

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """Log, and the penalties' last values with the training loss."""
        if "loss" in logs:
            for name in ("sparsity", "decorrelation"):
                penalty = getattr(self, name, None)
                if penalty is not None:
                    logs[f"penalty_{name}"] = penalty.value
        super().log(logs, *args, **kwargs)

    def _share(self, items: Tensor | int | None) -> int:
        """What the trainer does not divide by any more, under gradient accumulation.

        It leaves losses alone that are sums over the items of all micro-batches already; the
        penalty of a micro-batch is a mean, and all of them are to count as one.
        """
        scaled = getattr(self, "loss_is_scaled_for_ga", None)
        if scaled is None:
            scaled = (self.model_accepts_loss_kwargs and items is not None) or (
                self.compute_loss_func is not None
            )
        return int(self.current_gradient_accumulation_steps) if scaled else 1

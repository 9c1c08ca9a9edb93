"""Recording and penalties for the Trainer of Hugging Face's transformers."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from sparsight.errors import MissingExtraError, UsageError

from ..penalties.penalty_set import Penalties, PenaltySet
from ..recording.probe_set import Probes
from ..recording.recorder import Recorder, check_options

try:
    from transformers import Trainer, TrainerCallback
    from transformers.integrations.integration_utils import TensorBoardCallback
    from transformers.trainer_utils import get_last_checkpoint
except ImportError:
    raise MissingExtraError("transformers", "transformers", "RecorderCallback") from None

__all__ = ["PenaltyMixin", "RecorderCallback"]

_STATE = "sparsight_penalties.pt"  # beside the optimiser's state in the Trainer's checkpoints

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
    Recorder's. Raises UsageError for options that do not exist.
    """

    def __init__(
        self, trainer: Trainer, probes: Probes, *, logdir: str | Path | None = None, **options: Any
    ) -> None:
        check_options("RecorderCallback", options)
        self._trainer, self._probes = trainer, probes
        self._logdir, self._options = logdir, options
        self._recorder: Recorder | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Record epoch -1, before training, unless training resumes."""
        if self._trainer.model is None:
            raise UsageError("the trainer has no model to record")
        self.on_train_end(args, state, control)  # where an exception has ended training before
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
    """Adds penalties to a Trainer's training loss.

        class MyTrainer(PenaltyMixin, Trainer): ...

        def penalties(model):
            return [SparsityReg(model, {"vit.*.intermediate.dense": 1e-3})]

        MyTrainer(..., penalties=penalties).train()

    `penalties` are penalties, or a function that makes them for the model when `train` starts, and
    whose penalties are detached when it ends, also after an exception. They are added to whatever
    `compute_loss` returns, your own too, and logged as "penalty_sparsity", "penalty_decorrelation",
    or by the names that a mapping gives them; evaluation losses are left as they are. Under
    gradient accumulation a step's penalty is the mean over its micro-batches, however the Trainer
    scales the loss. How far the schedules have come is kept in the Trainer's checkpoints.

    Raises UsageError at the first step if `training_step` was overridden and calls no
    `compute_loss`.
    """

    _in_train = False

    def __init__(self, *args: Any, penalties: Penalties | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._penalties = None if penalties is None else PenaltySet(penalties)
        if self._penalties is not None:
            # On the instance, so that it lies over every class's own, above and below this one.
            loss = self._penalised(self.compute_loss, self._penalties)
            self.compute_loss = loss  # type: ignore[method-assign]
            self._counter = _PenalisedSteps()
            self.add_callback(self._counter)

    def train(
        self, resume_from_checkpoint: str | bool | None = None, *args: Any, **kwargs: Any
    ) -> Any:
        """Train, with the penalties attached to the model meanwhile."""
        if self._penalties is None:
            return super().train(resume_from_checkpoint, *args, **kwargs)
        if resume_from_checkpoint:
            self._resume(self._penalties, resume_from_checkpoint)
        self._in_train = True
        try:
            if getattr(self, "model_init", None) is None and self.model is not None:
                self._penalties.attach(self.model)
            return super().train(resume_from_checkpoint, *args, **kwargs)
        finally:
            self._in_train = False
            self._penalties.detach()

    def call_model_init(self, trial: Any = None) -> Any:
        """Make a model; in training the penalties are attached to it."""
        model = super().call_model_init(trial)
        if self._in_train and self._penalties is not None:
            self._penalties.attach(model)
        return model

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """Log, and the penalties' last values with the training loss."""
        if "loss" in logs and self._penalties is not None:
            values = self._penalties.values.items()
            logs.update({f"penalty_{name}": value for name, value in values})
        super().log(logs, *args, **kwargs)

    def _penalised(self, original: Callable[..., Any], penalties: PenaltySet) -> Callable[..., Any]:
        """The trainer's loss, with the penalties added in training."""

        @functools.wraps(original)
        def compute_loss(model: nn.Module, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            if not (self._in_train and torch.is_grad_enabled()):
                return original(model, inputs, *args, **kwargs)
            with penalties.accumulate():  # it may run the model twice, or parts of it
                result = original(model, inputs, *args, **kwargs)
            loss, *others = result if isinstance(result, tuple) else (result,)
            items = args[1] if len(args) > 1 else kwargs.get("num_items_in_batch")
            share = self._share(items)
            for value in penalties().values():
                loss = loss + value.to(loss.device) / share
            self._counter.count += 1
            return (loss, *others) if isinstance(result, tuple) else loss

        return compute_loss

    def _share(self, items: Any) -> int:
        """What the trainer will not divide the loss by, of the number of micro-batches of a step.

        It leaves losses alone that are sums over the items of all micro-batches already; the
        penalty of a micro-batch is a mean, and all of them are to count as one.
        """
        scaled = getattr(self, "loss_is_scaled_for_ga", None)
        if scaled is None:
            scaled = (self.model_accepts_loss_kwargs and items is not None) or (
                self.compute_loss_func is not None
            )
        return int(self.current_gradient_accumulation_steps) if scaled else 1

    def _resume(self, penalties: PenaltySet, checkpoint: str | bool) -> None:
        if checkpoint is True:
            checkpoint = get_last_checkpoint(self.args.output_dir)  # type: ignore[no-untyped-call]
        path = Path(str(checkpoint)) / _STATE
        penalties.load_state_dict(torch.load(path, weights_only=True) if path.exists() else {})

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        super()._save_optimizer_and_scheduler(output_dir)
        if self._penalties is not None and self.args.should_save:
            torch.save(self._penalties.state_dict(), Path(output_dir) / _STATE)


class _PenalisedSteps(TrainerCallback):
    """Sees to it that no step goes by without the penalties."""

    def __init__(self) -> None:
        self.count = 0  # losses that were penalised
        self._before = 0

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._before = self.count

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._check()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._check()  # in versions that know no event before the optimiser's step

    def _check(self) -> None:
        if self.count == self._before:
            raise UsageError(
                "a training step did not add the penalties, which happens in compute_loss: "
                "let your own training_step call self.compute_loss, and do not replace that "
                "method after the trainer was made"
            )

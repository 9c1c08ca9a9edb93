"""The base of penalties on activations: on what chosen layers return while a network runs."""

from __future__ import annotations

import sys
import weakref
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, ClassVar, Literal

import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import Optimizer

from sparsight.errors import UsageError
from sparsight.warning import warn

from ..functional import Reduction
from ..kernels.backends import widened
from ..layers.capture import Capture, Weakly, in_backward
from ..layers.channel_axes import ChannelAxes, channels_of
from ..layers.targets import Selection, Target, has_lazy
from ..padding_mask import MaskInput, as_mask
from .output_checks import check_output, check_term, without_gradients
from .penalty import Penalty, changes
from .pending import PendingTerm, summed

__all__ = ["ActivationPenalty"]


class ActivationPenalty(Penalty):
    """A penalty on the activations of layers: of each target, strength times the sum of its `term`.

    A subclass gives `term`, its `kind`, what its strength is called (`strength_name`), and perhaps
    `without_effect`. Options of its own are set before `super().__init__`, and named by `options`.

    The sum is over positions, the mean over the batch. Each forward of `model` with gradients
    replaces what the one before left, and calling the penalty takes it; forwards without gradients
    change nothing. The first time that what a forward in training mode left is lost in this way, a
    warning says so, unless `forget` was called after it.

    `targets` gives the strength, or a schedule of it, by layer name, glob or module type, or is the
    path of a targets.toml. `reduction="mean"` averages over positions instead of summing.
    `at="activation"` takes targets of any type, activation modules for one, and measures their
    output. `axis` is the channel axis; by default that of the layer: 1, and the last of dense
    layers. An activation has that of the layer that ran before it. `copy` measures a copy of each
    output, for networks that overwrite it in place; by default that is done where a module of the
    network has `inplace=True`.

    `mask` names an input of the model's forward, [N, *map], that is 0 at padded positions: in
    layers whose maps have its shape they count for nothing. Where it is left out of a forward, or
    None, all positions count. For a model that takes no mask, give it at the call:
    `penalty(mask=...)`.

    The hooks are gone with the penalty, when nothing refers to it any more, or after `detach`. A
    new one with the same `at` and `reduction` detaches an older one on a common target, and warns.

    Raises TargetError for targets that do not exist or where it would do nothing, and UsageError,
    on use, wherever the penalty could do nothing: no forward before the call, targets without
    gradients or no longer in the network, DataParallel replicas, a mask of the shape of no target's
    maps.
    """

    in_float32: ClassVar[bool] = True
    """Whether `term` gets half-precision activations in float32, and runs without autocast."""

    def __init__(
        self,
        model: nn.Module,
        targets: Selection,
        *,
        reduction: Reduction = "sum",
        at: Literal["linear", "activation"] = "linear",
        axis: int | None = None,
        copy: bool | None = None,
        mask: str | None = None,
    ) -> None:
        if reduction not in ("sum", "mean"):
            raise UsageError(f"reduction={reduction!r}: expected 'sum' or 'mean'")
        if at not in ("linear", "activation"):
            raise UsageError(f"at={at!r}: expected 'linear' or 'activation'")
        if axis is not None and not isinstance(axis, int):
            raise UsageError(f"axis={axis!r}: expected the number of an axis")
        super().__init__(model, targets, any_module=at == "activation")
        self._at, self._reduction = at, reduction
        self._modules = {target.name: target.module for target in self.targets}
        in_place = any(getattr(module, "inplace", False) is True for module in self._root.modules())
        self._copy = in_place if copy is None else copy
        self._mask_input = None if mask is None else MaskInput(self._root, mask)
        self._mask: Tensor | None = None
        self._pending: list[PendingTerm] = []
        self._several = False  # whether what is pending comes from several forwards
        self._kept = 0  # terms that were there before the forward that runs
        self._running = False
        self._accumulating = False
        self._lazy = has_lazy(self._root)  # the first forward may serve to give them weights only
        self._training = False
        self._dropped = self._warned = False
        self._axes = ChannelAxes(axis)
        producers = _producers(self._root) if at == "activation" and axis is None else {}
        passed = Weakly(self._axes.passed)
        self._capture = Capture(
            self._modules,
            Weakly(self._receive),
            self._root,
            Weakly(self._before),
            Weakly(self._after),
            {module: partial(passed, *channels) for module, channels in producers.items()},
        )
        weakref.finalize(self, self._capture.detach).atexit = False
        self._attach()

    @abstractmethod
    def term(self, activation: Tensor, axis: int) -> Tensor:
        """The penalty of each position at strength 1, [N, *map], of what a target returned.

        `activation` is [N, *map] with the D channels along `axis`, which may be negative.
        """

    def without_effect(self, name: str, channels: int) -> str | None:
        """Why it would do nothing at a layer of so many channels; None where it does something."""
        return None

    @property
    def options(self) -> tuple[object, ...]:
        """Where it measures, and how it reduces."""
        return self._at, self._reduction

    def __call__(self, mask: Tensor | NDArray[Any] | None = None) -> Tensor:
        """The penalty, a scalar to be added to the loss. Also counts as a step of the schedules.

        `mask` is that of the one forward before, unless an input of the model is named as the mask.
        """
        if mask is not None:
            self._give(as_mask(mask))
        return super().__call__()

    @contextmanager
    def accumulate(self) -> Iterator[None]:
        """Within it, forwards add up: two crops, a GAN's two passes, parts of a model."""
        self._drop()
        self._several = False
        self._axes.begin()
        self._accumulating = True
        try:
            yield
        except BaseException:
            self._pending.clear()
            raise
        finally:
            self._accumulating = False

    def forget(self) -> None:
        """Forget forwards that are not to be penalised; harmless where there were none.

        For one, those by which a GAN's generator is trained through its discriminator.
        """
        self._pending.clear()
        self._dropped = False

    def detach(self) -> None:
        """Remove the hooks and forget what is pending; the model is as it was."""
        super().detach()
        self._capture.detach()
        self._pending.clear()

    def terms(self) -> Mapping[str, Tensor]:
        """The penalty of each target at strength 1, by name; nothing is pending any more."""
        if self._dropped:
            self._warn_dropped()
        if not self._pending:
            raise UsageError(
                f"{type(self).__name__} has nothing to penalise: since its last call, no forward "
                f"of the model with gradients has run a target ({', '.join(self._modules)})"
            )
        pending, self._pending = self._pending, []
        sums = summed(pending, self._reduction, type(self).__name__)
        missing = [target.name for target in self.targets if target.name not in sums]
        if missing:
            names = ", ".join(map(repr, missing))
            raise UsageError(f"the forward did not run all targets: {names} did not run")
        return sums

    def _give(self, mask: Tensor) -> None:
        """Apply a mask to all pending terms."""
        if self._mask_input is not None:
            name = self._mask_input.name
            raise UsageError(
                f"the model's input {name!r} is the mask already; pass only one of them"
            )
        if self._several:
            raise UsageError(
                "one mask was given for several forwards; name the model's input that is the mask: "
                f"{type(self).__name__}(model, targets, mask='attention_mask')"
            )
        self._pending = [term._replace(mask=mask) for term in self._pending]

    def _without_effect(self, target: Target) -> str | None:
        _, channels = channels_of(target.module) or (0, 0)  # as far as its type tells
        return self.without_effect(target.name, channels) if channels else None

    def _is_expected(self, optimizer: Optimizer) -> bool:
        forward = bool(self._pending) or self._dropped
        return forward and self._training and changes(optimizer, self._root.parameters())

    def _before(self, inputs: Sequence[Any], keywords: Mapping[str, Any]) -> None:
        if not torch.is_grad_enabled() or in_backward():
            return
        if not self._accumulating:
            self._drop()
            self._axes.begin()
        self._kept = len(self._pending)
        self._several = self._kept > 0
        self._running = True
        self._training = self._root.training and not self._lazy
        self._lazy = False
        if self._mask_input is not None:
            self._mask = self._mask_input.of(inputs, keywords)

    def _after(self, output: Any) -> None:
        self._running = False
        self._mask = None
        if output is None and not torch.compiler.is_compiling() and sys.exc_info()[0] is not None:
            del self._pending[self._kept :]  # the forward raised

    def _drop(self) -> None:
        """Forget what nobody asked for: a warning where a forward in training mode left it."""
        # A forward that was interrupted, by Ctrl-C for one, is still running.
        if self._pending and self._training and not self._running:
            self._dropped = True
            if not torch.compiler.is_compiling():
                self._warn_dropped()
        self._pending.clear()

    def _warn_dropped(self) -> None:
        self._dropped = False
        if not self._warned:
            self._warned = True
            warn(
                f"the network ran again before {type(self).__name__} was called, so the penalty of "
                "the earlier forward is lost. Run several forwards of one loss in `with "
                "penalty.accumulate():`, and forwards that are not trained on under "
                "torch.no_grad(). After any other forward without penalty, call penalty.forget()",
            )

    def _receive(self, name: str, output: Tensor) -> None:
        if not torch.is_grad_enabled() or not output.requires_grad:
            if self._running:
                raise without_gradients(name)
            return
        measured = output.clone() if self._copy else output
        axis = self._axes.of(name, self._modules[name], output)
        check_output(name, output, axis)
        reason = self.without_effect(name, output.shape[axis])
        if reason is not None:
            raise UsageError(f"{type(self).__name__} would do nothing: {reason}")
        value = self._checked_term(name, measured, axis)
        if in_backward():
            return  # a checkpoint runs the layer again: it must save the same tensors, no more
        if not self._running:
            self._check_outside(name)
        guarded = not self._copy and not torch.compiler.is_compiling()
        kept = (output, output._version) if guarded else (None, 0)
        self._pending.append(PendingTerm(name, value, self._mask, *kept))

    def _checked_term(self, name: str, activation: Tensor, axis: int) -> Tensor:
        """The term of an output, in float32 or better; raises UsageError for anything else."""
        if self.in_float32:
            with torch.autocast(activation.device.type, enabled=False):
                value = self.term(widened(activation), axis)
        else:
            value = self.term(activation, axis)
        check_term(type(self).__name__, name, value, activation.shape, axis)
        return value

    def _check_outside(self, name: str) -> None:
        """Check a target that runs outside a forward of the model."""
        if not self._accumulating:
            raise UsageError(
                f"target {name!r} ran outside a forward of the model; run it in "
                "`with penalty.accumulate():`"
            )
        if self._mask_input is not None:
            raise UsageError(
                f"target {name!r} ran outside a forward of the model, so its mask, the input "
                f"{self._mask_input.name!r}, is unknown; make the penalty for the part of the "
                f"model that takes this input: {type(self).__name__}(model.part, targets, mask=...)"
            )


def _producers(root: nn.Module) -> dict[nn.Module, tuple[int, int]]:
    """Modules whose type fixes the channel axis and the number of channels of their output."""
    known = {module: channels_of(module) for module in root.modules()}
    return {module: channels for module, channels in known.items() if channels is not None}

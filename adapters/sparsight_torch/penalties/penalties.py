"""SparsityReg and DecorrReg: penalties on chosen layers, to be added to a training loss.

Source: Huesmann, Klemm, Linsen, Risse, arXiv 2002.09237, Eq. 5-8: L = L* + L_s + L_c.
"""

from __future__ import annotations

import sys
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, ClassVar, Literal, NamedTuple, Self

import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import Optimizer

from sparsight.errors import TargetError, UsageError
from sparsight.maths.correlation import Centre
from sparsight.warning import warn

from ..functional import Form, Reduction, decorrelation_penalty, reduced, rfav_entropy
from ..layers.capture import Capture, Weakly, in_backward
from ..layers.channel_axes import ChannelAxes, channels_of
from ..layers.targets import (
    Selection,
    Target,
    filter_shape,
    filters,
    has_lazy,
    select_targets,
    unwrapped,
    weights_of,
)
from ..padding_mask import MaskInput, as_mask, unfitting
from .reminders import expect_call, expect_no_call

__all__ = ["DecorrReg", "Penalty", "SparsityReg"]


class Penalty(ABC):
    """What all penalties share: targets, strengths over time, values for logging, an end."""

    kind: ClassVar[str] = "penalty"
    """What trainers call it in logs and checkpoints."""

    def __init__(self, root: nn.Module, targets: list[Target], options: tuple[str, ...]) -> None:
        self.targets = targets
        self.step = 0
        """How often the penalty was called: what schedules of strengths are called with."""
        self._root = root
        self._options = options
        self._last: dict[str, Tensor] = {}
        self._attached = False

    def __call__(self) -> Tensor:
        """The penalty, a scalar to be added to the loss. Also counts as a step of the schedules."""
        if not self._attached:
            raise UsageError(f"this {type(self).__name__} is detached; make a new one")
        if not torch.compiler.is_compiling():
            expect_no_call(self)
            self._check_replaced()
        terms = self._terms()
        strengths = {target.name: target.strength_at(self.step) for target in self.targets}
        parts = {name: strengths[name] * term for name, term in terms.items()}
        self._last = {name: part.detach() for name, part in parts.items()}
        self.step += 1
        total, *others = parts.values()
        for other in others:
            total = total + other.to(total.device)
        return total

    def stepped(self, optimizer: Optimizer) -> bool:
        """Warn where an optimiser stepped before the first call; whether it did."""
        expected = self._is_expected(optimizer)
        if expected:
            warn(
                f"an optimiser has stepped, and the {type(self).__name__} on {self._names()} was "
                "never called: nothing is penalised unless what it returns is added to the loss, "
                "as in `loss = criterion(model(x), y) + penalty()`",
            )
        return expected

    @abstractmethod
    def _terms(self) -> Mapping[str, Tensor]:
        """The penalty of each target at strength 1, by name."""

    @abstractmethod
    def _is_expected(self, optimizer: Optimizer) -> bool:
        """Whether a call was to be expected before this optimiser's step."""

    def _attach(self) -> None:
        """Take the place of an older penalty of the same kind, and wait for the first call."""
        mine = {target.module for target in self.targets}
        for other in list(_penalties):
            same = type(other) is type(self) and other._options == self._options
            if same and not mine.isdisjoint(target.module for target in other.targets):
                other.detach()
                warn(
                    f"an older {type(self).__name__} on {other._names()} is detached: the new one "
                    "takes its place. Call detach() on one that is not needed any more",
                )
        self._attached = True
        _penalties.add(self)
        expect_call(self)

    def _check_replaced(self) -> None:
        """That the network still holds the targets."""
        for target in self.targets:
            if not _holds(self._root, target):
                raise UsageError(
                    f"target {target.name!r} was replaced in the network by another module after "
                    f"this {type(self).__name__} was made, which would do nothing; detach it, and "
                    "make a new one"
                )

    def _names(self) -> str:
        return ", ".join(repr(target.name) for target in self.targets)

    @property
    def value(self) -> float:
        """The value of the last call; NaN before the first."""
        return sum(self.parts.values()) if self._last else float("nan")

    @property
    def parts(self) -> dict[str, float]:
        """The last value of each target, by name, strength included."""
        return {name: float(part) for name, part in self._last.items()}

    @contextmanager
    def accumulate(self) -> Iterator[None]:
        """Within it, forwards add up, for penalties that look at what a forward computes."""
        yield

    def forget(self) -> None:  # noqa: B027
        """Forget forwards that are not to be penalised, for penalties that look at these."""

    def state_dict(self) -> dict[str, Any]:
        """What a resumed training run needs: how far the schedules of strengths have come."""
        return {"step": self.step}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where `state_dict` was taken."""
        step = state.get("step") if isinstance(state, Mapping) else None
        if not isinstance(step, int) or isinstance(step, bool) or step < 0:
            raise UsageError("this is no state of a penalty: an integer 'step' is missing")
        self.step = step

    def detach(self) -> None:
        """Leave the model as it was before. Harmless when repeated."""
        self._last = {}
        self._attached = False
        _penalties.discard(self)
        expect_no_call(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.detach()


_penalties: weakref.WeakSet[Penalty] = weakref.WeakSet()  # those that are attached


class _Term(NamedTuple):
    name: str
    entropy: Tensor  # summed only when the penalty is called, outside of any checkpoint
    mask: Tensor | None
    output: Tensor | None  # for telling whether it was overwritten in place
    version: int


class SparsityReg(Penalty):
    """Rewards dense activations (paper, Eq. 5): minus lambda times the entropy of all RFAVs.

    L_s = - sum over targets of lambda * (sum over positions, mean over the batch) of H. Each
    forward of `model` with gradients replaces what the one before left, and calling the penalty
    takes it; forwards without gradients change nothing. The first time that what a forward in
    training mode left is lost in this way, a warning says so, unless `forget` was called after it.

    `targets` gives lambda, or a schedule of it, by layer name, glob or module type, or is the path
    of a targets.toml. `reduction="mean"` averages over positions instead of summing.
    `at="activation"` takes targets of any type, activation modules for one, and measures their
    output. `axis` is the channel axis; by default that of the layer: 1, and the last of dense
    layers. An activation has that of the layer that ran before it. `copy` measures a copy of each
    output, for networks that overwrite it in place; by default that is done where a module of the
    network has `inplace=True`.

    `mask` names an input of the model's forward, [N, *map], that is 0 at padded positions: in
    layers whose maps have its shape they count for nothing. Where it is left out of a forward, or
    None, all positions count. For a model that takes no mask, give it at the call:
    `sparsity(mask=...)`.

    The hooks are gone with the penalty, when nothing refers to it any more, or after `detach`. A
    new one with the same `at` and `reduction` detaches an older one on a common target, and warns.

    Raises TargetError for targets that do not exist or have one channel, and UsageError, on use,
    wherever the penalty could do nothing: no forward before the call, targets without gradients or
    no longer in the network, DataParallel replicas, a mask of the shape of no target's maps.
    """

    kind = "sparsity"

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
            raise UsageError(f"reduction={reduction!r}: 'sum' or 'mean' was wanted")
        if at not in ("linear", "activation"):
            raise UsageError(f"at={at!r}: 'linear' or 'activation' was wanted")
        if axis is not None and not isinstance(axis, int):
            raise UsageError(f"axis={axis!r}: the number of an axis was wanted")
        root = unwrapped(model)
        chosen = select_targets(root, targets, "lambda", any_module=at == "activation")
        super().__init__(root, _useful(chosen, _without_entropy), (at, reduction))
        self._reduction: Reduction = reduction
        self._modules = {target.name: target.module for target in self.targets}
        in_place = any(getattr(module, "inplace", False) is True for module in root.modules())
        self._copy = in_place if copy is None else copy
        self._mask_input = None if mask is None else MaskInput(root, mask)
        self._mask: Tensor | None = None
        self._pending: list[_Term] = []
        self._several = False  # whether what is pending comes from several forwards
        self._kept = 0  # terms that were there before the forward that runs
        self._running = False
        self._accumulating = False
        self._lazy = has_lazy(root)  # the first forward may serve to give them weights only
        self._training = False
        self._dropped = self._warned = False
        self._axes = ChannelAxes(axis)
        producers = _producers(root) if at == "activation" and axis is None else {}
        passed = Weakly(self._axes.passed)
        self._capture = Capture(
            self._modules,
            Weakly(self._receive),
            root,
            Weakly(self._before),
            Weakly(self._after),
            {module: partial(passed, *channels) for module, channels in producers.items()},
        )
        weakref.finalize(self, self._capture.detach).atexit = False
        self._attach()

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

    def _terms(self) -> Mapping[str, Tensor]:
        if self._dropped:
            self._warn_dropped()
        if not self._pending:
            raise UsageError(
                "SparsityReg was called without a forward of the model before it (one with "
                f"gradients, since the last call), or it ran no target: {', '.join(self._modules)}"
            )
        pending, self._pending = self._pending, []
        _check_masks(pending)
        sums: dict[str, Tensor] = {}
        for name, entropy, mask, output, version in pending:
            if output is not None and output._version != version:
                raise UsageError(
                    f"the output of {name!r} was overwritten in place after it was measured; "
                    "pass copy=True to SparsityReg, or do without the in-place operation"
                )
            fitting = mask is not None and mask.shape == entropy.shape
            value = -reduced(entropy, self._reduction, mask if fitting else None)
            sums[name] = sums[name] + value if name in sums else value
        missing = [target.name for target in self.targets if target.name not in sums]
        if missing:
            raise UsageError(f"the forward did not run {', '.join(map(repr, missing))}, a target")
        return sums

    def _give(self, mask: Tensor) -> None:
        """Make a mask that of all that is pending."""
        if self._mask_input is not None:
            name = self._mask_input.name
            raise UsageError(f"the mask is the model's input {name!r} already; give one of the two")
        if self._several:
            raise UsageError(
                "one mask was given for several forwards; name the model's input that is the mask: "
                "SparsityReg(model, targets, mask='attention_mask')"
            )
        self._pending = [term._replace(mask=mask) for term in self._pending]

    def _is_expected(self, optimizer: Optimizer) -> bool:
        forward = bool(self._pending) or self._dropped
        return forward and self._training and _steps(optimizer, self._root.parameters())

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
                "the network ran again before SparsityReg was called, so that the penalty of the "
                "earlier forward is lost: for several forwards in one loss, run them within `with "
                "sparsity.accumulate():`; those that are not trained on, under torch.no_grad(); "
                "after others that are not to be penalised, call sparsity.forget()",
            )

    def _receive(self, name: str, output: Tensor) -> None:
        if not torch.is_grad_enabled() or not output.requires_grad:
            if self._running:
                raise UsageError(_without_gradients(name))
            return
        measured = output.clone() if self._copy else output
        axis = self._axes.of(name, self._modules[name], output)
        _check_output(name, output, axis)
        if measured.ndim < 2:
            raise UsageError(
                f"the output of {name!r} has the shape {tuple(output.shape)}; a batch of at least "
                "two axes was wanted"
            )
        entropy = rfav_entropy(measured, axis)
        if in_backward():
            return  # a checkpoint runs the layer again: it must save the same tensors, no more
        if not self._running:
            self._check_outside(name)
        if self._copy or torch.compiler.is_compiling():
            self._pending.append(_Term(name, entropy, self._mask, None, 0))
        else:
            self._pending.append(_Term(name, entropy, self._mask, output, output._version))

    def _check_outside(self, name: str) -> None:
        """Of a target that runs outside a forward of the model."""
        if not self._accumulating:
            raise UsageError(
                f"target {name!r} ran outside a forward of the model; wrap what runs it into "
                "`with sparsity.accumulate():`"
            )
        if self._mask_input is not None:
            raise UsageError(
                f"target {name!r} ran outside a forward of the model, so that its input "
                f"{self._mask_input.name!r}, the mask, is not known; make the penalty for the part "
                "that takes this input: SparsityReg(model.part, targets, mask=...)"
            )


class DecorrReg(Penalty):
    """Rewards filters that differ (paper, Eq. 7): kappa times the sum of their correlations.

    L_c = sum over targets of kappa * sum over e < d of c[d, e]. It looks at weights alone, and
    needs no forward. `targets` gives kappa as SparsityReg's gives lambda. `form` is "signed" (the
    sum as printed, in O(D K)), "squared" or "positive"; `centre` is that of `filter_correlations`:
    with `"filters"`, the paper's literal wording, the signed sum is almost constant.

    A new one with the same options detaches an older one on a common target, and warns. Raises
    TargetError for targets that do not exist, or where the penalty could do nothing: frozen
    weights, one filter, filters of so few weights that their correlations cannot change.
    """

    kind = "decorrelation"

    def __init__(
        self,
        model: nn.Module,
        targets: Selection,
        *,
        form: Form = "signed",
        centre: Centre = "own",
    ) -> None:
        if form not in ("signed", "squared", "positive"):
            raise UsageError(f"form={form!r}: 'signed', 'squared' or 'positive' was wanted")
        if centre not in ("own", "filters"):
            raise UsageError(f"centre={centre!r}: 'own' or 'filters' was wanted")
        root = unwrapped(model)
        without_effect = partial(_without_correlations, centre)
        chosen = _useful(select_targets(root, targets, "kappa"), without_effect)
        super().__init__(root, chosen, (form, centre))
        self._form: Form = form
        self._centre: Centre = centre
        self._without_effect = without_effect
        self._attach()

    def _terms(self) -> Mapping[str, Tensor]:
        for target in () if torch.compiler.is_compiling() else self.targets:
            reason = self._without_effect(target)
            if reason is not None:
                raise UsageError(f"DecorrReg would do nothing: {reason}")
        return {
            target.name: decorrelation_penalty(
                filters(target.module), 1.0, self._form, self._centre
            )
            for target in self.targets
        }

    def _is_expected(self, optimizer: Optimizer) -> bool:
        weights = [weight for target in self.targets for weight in weights_of(target.module)]
        return _steps(optimizer, weights)


def _useful(targets: list[Target], without_effect: Callable[[Target], str | None]) -> list[Target]:
    """The targets, less those of strength 0 where a penalty could do nothing.

    Raises TargetError for any other where it could not: a glob or a type that fits too much can be
    corrected by a strength of 0.
    """
    useful = []
    for target in targets:
        reason = without_effect(target)
        if reason is None:
            useful.append(target)
        elif callable(target.strength) or target.strength != 0:
            raise TargetError(
                f"a penalty would do nothing: {reason}. Choose other targets, or give this one the "
                "strength 0"
            )
    if targets and not useful:
        raise TargetError("a penalty would do nothing at any of the targets")
    return useful


def _without_entropy(target: Target) -> str | None:
    """Why SparsityReg would do nothing at a target, as far as its type tells."""
    _, channels = channels_of(target.module) or (0, 0)
    return _one_channel(target.name) if channels == 1 else None


def _without_correlations(centre: Centre, target: Target) -> str | None:
    """Why DecorrReg would do nothing at a target.

    What is centred has one degree of freedom less: of two weights a filter, or of two filters about
    their mean, the coefficients can only be 1 or -1.
    """
    weights = weights_of(target.module)
    if not any(weight.requires_grad for weight in weights):
        return f"the weights of {target.name!r} are frozen"
    if has_lazy(target.module):
        return None
    number, size = filter_shape(target.module)
    least_number, least_size = (2, 3) if centre == "own" else (3, 2)
    if number < least_number or size < least_size:
        return (
            f"{target.name!r} has {number} filters of {size} weights, whose correlations cannot "
            f'change with centre="{centre}": it takes {least_number} filters of {least_size}'
        )
    return None


def _producers(root: nn.Module) -> dict[nn.Module, tuple[int, int]]:
    """Modules whose type tells the channel axis of what they return, and how many channels."""
    known = {module: channels_of(module) for module in root.modules()}
    return {module: channels for module, channels in known.items() if channels is not None}


def _check_output(name: str, output: Tensor, axis: int) -> None:
    if output.numel() == 0:
        raise UsageError(
            f"target {name!r} returned {tuple(output.shape)}, an empty batch, whose penalty is not "
            "a number; leave empty batches out"
        )
    if -output.ndim <= axis < output.ndim and output.shape[axis] == 1:
        raise UsageError(f"SparsityReg would do nothing: {_one_channel(name)}")


def _one_channel(name: str) -> str:
    return f"{name!r} has one channel, whose entropy is always 0"


def _holds(root: nn.Module, target: Target) -> bool:
    """Whether a network still holds a target, wrapped by a compiler or a checkpoint perhaps."""
    try:
        if root.get_submodule("" if target.module is root else target.name) is target.module:
            return True
    except AttributeError:
        pass
    return any(module is target.module for module in root.modules())


def _steps(optimizer: Optimizer, parameters: Iterable[Tensor]) -> bool:
    """Whether an optimiser changes one of the parameters."""
    own = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    return any(id(parameter) in own for parameter in parameters)


def _check_masks(pending: Sequence[_Term]) -> None:
    """Raises UsageError where masks fit nothing: padding would count after all."""
    masks = [term.mask for term in pending if term.mask is not None]
    fits = any(term.mask is not None and term.mask.shape == term.entropy.shape for term in pending)
    if masks and not fits:
        raise unfitting(masks[-1], {term.name: term.entropy.shape for term in pending})


def _without_gradients(name: str) -> str:
    return (
        f"target {name!r} ran without gradients inside a forward with gradients, so that its "
        "penalty would do nothing: under gradient checkpointing pass use_reentrant=False; a frozen "
        "layer cannot be a target"
    )

"""SparsityReg and DecorrReg: penalties on chosen layers, to be added to a training loss.

Source: Huesmann, Klemm, Linsen, Risse, arXiv 2002.09237, Eq. 5-8: L = L* + L_s + L_c.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, Literal, NamedTuple, Self

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sparsight.correlation import Centre
from sparsight.errors import TargetError, UsageError

from .capture import Capture, in_backward
from .functional import Form, Reduction, decorrelation_penalty, reduced, rfav_entropy
from .mask import MaskInput, as_mask, unfitting
from .targets import Selection, Target, channel_axis, filters, select_targets, unwrapped

__all__ = ["DecorrReg", "Penalty", "SparsityReg"]


class Penalty(ABC):
    """What all penalties share: targets, strengths over time, values for logging, an end."""

    kind: ClassVar[str] = "penalty"
    """What trainers call it in logs and checkpoints."""

    def __init__(self, targets: list[Target]) -> None:
        self.targets = targets
        self.step = 0
        """How often the penalty was called: what schedules of strengths are called with."""
        self._last: dict[str, Tensor] = {}

    def __call__(self) -> Tensor:
        """The penalty, a scalar to be added to the loss. Also counts as a step of the schedules."""
        terms = self._terms()
        strengths = {target.name: target.strength_at(self.step) for target in self.targets}
        parts = {name: strengths[name] * term for name, term in terms.items()}
        self._last = {name: part.detach() for name, part in parts.items()}
        self.step += 1
        total, *others = parts.values()
        for other in others:
            total = total + other.to(total.device)
        return total

    @abstractmethod
    def _terms(self) -> Mapping[str, Tensor]:
        """The penalty of each target at strength 1, by name."""

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

    def state_dict(self) -> dict[str, Any]:
        """What a resumed training run needs: how far the schedules of strengths have come."""
        return {"step": self.step}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where `state_dict` was taken."""
        if not isinstance(state.get("step"), int):
            raise UsageError("this is no state of a penalty: an integer 'step' is missing")
        self.step = state["step"]

    def detach(self) -> None:
        """Leave the model as it was before. Harmless when repeated."""
        self._last = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.detach()


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
    takes it; forwards without gradients change nothing.

    `targets` gives lambda, or a schedule of it, by layer name, glob or module type, or is the path
    of a targets.toml. `reduction="mean"` averages over positions instead of summing.
    `at="activation"` takes targets of any type, activation modules for one, and measures their
    output. `axis` is the channel axis, where it is not 1 (dense layers: the last). `copy` measures
    a copy of each output, for networks that overwrite it in place; by default that is done where a
    module of the network has `inplace=True`.

    `mask` names an input of the model's forward, [N, *map], that is 0 at padded positions: in
    layers whose maps have its shape they count for nothing. Where it is left out of a forward, or
    None, all positions count. For a model that takes no mask, give it at the call:
    `sparsity(mask=...)`.

    Raises TargetError for targets that do not exist, and UsageError, on use, wherever the penalty
    could do nothing: no forward before the call, targets without gradients, DataParallel replicas,
    a mask of the shape of no target's maps.
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
        root = unwrapped(model)
        super().__init__(select_targets(root, targets, "lambda", any_module=at == "activation"))
        self._reduction: Reduction = reduction
        self._axes = {
            t.name: channel_axis(t.module) if axis is None else axis for t in self.targets
        }
        in_place = any(getattr(module, "inplace", False) is True for module in root.modules())
        self._copy = in_place if copy is None else copy
        self._mask_input = None if mask is None else MaskInput(root, mask)
        self._mask: Tensor | None = None
        self._pending: list[_Term] = []
        self._several = False  # whether what is pending comes from several forwards
        self._running = False
        self._accumulating = False
        modules = {target.name: target.module for target in self.targets}
        self._capture = Capture(modules, self._receive, root, self._before, self._after)

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
        self._pending.clear()
        self._several = False
        self._accumulating = True
        try:
            yield
        finally:
            self._accumulating = False

    def detach(self) -> None:
        """Remove the hooks and forget what is pending; the model is as it was."""
        super().detach()
        self._capture.detach()
        self._pending.clear()

    def _terms(self) -> Mapping[str, Tensor]:
        if not self._capture.attached:
            raise UsageError("this SparsityReg is detached; make a new one")
        if not self._pending:
            raise UsageError(
                "SparsityReg was called without a forward of the model before it (one with "
                f"gradients, since the last call), or it ran no target: {', '.join(self._axes)}"
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

    def _before(self, inputs: Sequence[Any], keywords: Mapping[str, Any]) -> None:
        if not torch.is_grad_enabled() or in_backward():
            return
        self._running = True
        if self._mask_input is not None:
            self._mask = self._mask_input.of(inputs, keywords)
        if self._accumulating:
            self._several = bool(self._pending)
        else:
            self._pending.clear()
            self._several = False

    def _after(self) -> None:
        self._running = False
        self._mask = None

    def _receive(self, name: str, output: Tensor) -> None:
        if not torch.is_grad_enabled() or not output.requires_grad:
            if self._running:
                raise UsageError(_without_gradients(name))
            return
        measured = output.clone() if self._copy else output
        if measured.ndim < 2:
            raise UsageError(
                f"the output of {name!r} has the shape {tuple(output.shape)}; a batch of at least "
                "two axes was wanted"
            )
        entropy = rfav_entropy(measured, self._axes[name])
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
        super().__init__(select_targets(unwrapped(model), targets, "kappa"))
        for target in self.targets:
            if not any(parameter.requires_grad for parameter in target.module.parameters()):
                raise TargetError(
                    f"the weights of {target.name!r} are frozen; a penalty does nothing"
                )
        self._form: Form = form
        self._centre: Centre = centre

    def _terms(self) -> Mapping[str, Tensor]:
        return {
            target.name: decorrelation_penalty(
                filters(target.module), 1.0, self._form, self._centre
            )
            for target in self.targets
        }


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

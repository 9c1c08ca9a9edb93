"""What all penalties share: targets, strengths over time, values for logging, an end.

Source: Huesmann, Klemm, Linsen, Risse, arXiv 2002.09237, Eq. 8: L = L* + L_s + L_c.
"""

from __future__ import annotations

import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from sparsight.errors import TargetError, UsageError
from sparsight.warning import warn

from ..layers.targets import Selection, Target, select_targets, unwrapped, weights_of
from .reminders import expect_call, expect_no_call

__all__ = ["Penalty"]

_strength_names = {"lambda"}  # of all classes: one targets.toml may serve them all


class Penalty(ABC):
    """A penalty on chosen layers, to be added to a training loss.

    A subclass gives `terms`, and ends its `__init__` with `self._attach()`. ActivationPenalty and
    WeightPenalty do most of it already: a penalty of your own is best derived from one of these.

    `targets` gives the strengths by layer name, glob or module type, or is the path of a
    targets.toml; with `any_module`, modules of any type can be targets. Raises TargetError for
    targets that do not exist, or where the penalty would do nothing.
    """

    kind: ClassVar[str] = "penalty"
    """What trainers call it in logs and checkpoints."""

    strength_name: ClassVar[str] = "lambda"
    """What its strength is called in a targets.toml."""

    def __init__(self, model: nn.Module, targets: Selection, *, any_module: bool = False) -> None:
        self._root = unwrapped(model)
        chosen = select_targets(
            self._root, targets, self.strength_name, any_module, _strength_names
        )
        self.targets = _effective(chosen, self._without_effect)
        self.step = 0
        """How often the penalty was called: what schedules of strengths are called with."""
        self._last: dict[str, Tensor] = {}
        self._attached = False

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        _strength_names.add(cls.strength_name)

    def __call__(self) -> Tensor:
        """The penalty, a scalar to be added to the loss. Also counts as a step of the schedules."""
        if not self._attached:
            raise UsageError(f"this {type(self).__name__} is detached; make a new one")
        if not torch.compiler.is_compiling():
            expect_no_call(self)
            self._check_replaced()
        terms = self.terms()
        strengths = {target.name: target.strength_at(self.step) for target in self.targets}
        parts = {name: strengths[name] * term for name, term in terms.items()}
        self._last = {name: part.detach() for name, part in parts.items()}
        self.step += 1
        total, *others = parts.values()
        for other in others:
            total = total + other.to(total.device)
        return total

    @abstractmethod
    def terms(self) -> Mapping[str, Tensor]:
        """The penalty of each target at strength 1, by name: scalars."""

    @property
    def options(self) -> tuple[object, ...]:
        """What tells it from other penalties of its class, which it leaves alone on its targets."""
        return ()

    def stepped(self, optimizer: Optimizer) -> bool:
        """Warn if an optimiser stepped before the first call. Returns whether it did."""
        expected = self._is_expected(optimizer)
        if expected:
            warn(
                f"an optimiser has stepped, but the {type(self).__name__} on {self._names()} was "
                "never called, so nothing is penalised; add its result to the loss, as in "
                "`loss = criterion(model(x), y) + penalty()`",
            )
        return expected

    def _without_effect(self, target: Target) -> str | None:
        """Why the penalty would do nothing at a target; None where it does something."""
        return None

    def _is_expected(self, optimizer: Optimizer) -> bool:
        """Whether a call was to be expected before this optimiser's step."""
        weights = [weight for target in self.targets for weight in weights_of(target.module)]
        return changes(optimizer, weights)

    def _attach(self) -> None:
        """Take the place of an older penalty of the same kind, and wait for the first call."""
        mine = {target.module for target in self.targets}
        for other in list(_penalties):
            same = type(other) is type(self) and other.options == self.options
            if same and not mine.isdisjoint(target.module for target in other.targets):
                other.detach()
                warn(
                    f"an older {type(self).__name__} on {other._names()} is detached: the new one "
                    "takes its place; call detach() on penalties that you no longer need",
                )
        self._attached = True
        _penalties.add(self)
        expect_call(self)

    def _check_replaced(self) -> None:
        """That the network still holds the targets."""
        for target in self.targets:
            if not _holds(self._root, target):
                raise UsageError(
                    f"target {target.name!r} of this {type(self).__name__} is no longer in the "
                    "network, another module has replaced it; detach the penalty and make a new one"
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
            raise UsageError(
                "cannot load the state of a penalty: expected an integer 'step', 0 or more"
            )
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


def changes(optimizer: Optimizer, parameters: Iterable[Tensor]) -> bool:
    """Whether an optimiser changes one of the parameters."""
    own = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    return any(id(parameter) in own for parameter in parameters)


def _effective(
    targets: list[Target], without_effect: Callable[[Target], str | None]
) -> list[Target]:
    """The targets on which the penalty has an effect.

    A target without effect is left out if its strength is 0, which corrects a glob or a type that
    matches too much, and raises TargetError otherwise.
    """
    effective = []
    for target in targets:
        reason = without_effect(target)
        if reason is None:
            effective.append(target)
        elif callable(target.strength) or target.strength != 0:
            raise TargetError(
                f"a penalty would do nothing: {reason}. Choose other targets, or give this one the "
                "strength 0"
            )
    if targets and not effective:
        raise TargetError("a penalty would do nothing at any of the targets")
    return effective


def _holds(root: nn.Module, target: Target) -> bool:
    """Whether a network still holds a target, wrapped by a compiler or a checkpoint perhaps."""
    try:
        if root.get_submodule("" if target.module is root else target.name) is target.module:
            return True
    except AttributeError:
        pass
    return any(module is target.module for module in root.modules())

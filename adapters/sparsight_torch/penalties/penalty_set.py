"""The penalties of a training run: made for its model, added to its loss, kept with its state."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, TypeAlias

from torch import Tensor, nn

from sparsight.errors import UsageError
from sparsight.warning import warn

from .penalty import Penalty
from .reminders import expect_no_call

__all__ = ["Penalties", "PenaltySet"]

_Made: TypeAlias = Penalty | Sequence[Penalty] | Mapping[str, Penalty]

Penalties: TypeAlias = _Made | Callable[[nn.Module], _Made]
"""A penalty, several, or several by name; or a function that makes these for a model."""


class PenaltySet:
    """What a trainer adds to its loss, between `attach` and `detach`.

    Penalties that a function makes are made by `attach` and detached by `detach`, and the next ones
    go on where they stopped. Penalties that were made before are the user's: they stay attached.

    Raises UsageError for what is no penalty, and for penalties of another model.
    """

    def __init__(self, penalties: Penalties) -> None:
        self._make: Callable[[nn.Module], _Made] | None = None
        self._penalties: dict[str, Penalty] = {}
        self._states: Mapping[str, Any] | None = None
        if callable(penalties) and not isinstance(penalties, Penalty | type):
            self._make = penalties
        else:
            self._penalties = _named(penalties)

    def attach(self, model: nn.Module) -> None:
        """Make the penalties for a model, or check that they are of it."""
        if self._make is not None:
            self.detach()
            self._penalties = _named(self._make(model))
        try:
            self._check(model)
        except UsageError:
            self.detach()
            raise
        for penalty in self._penalties.values():
            expect_no_call(penalty)  # the trainer sees to it; a step that it skips is no loss
        if self._states is not None:
            self.load_state_dict(self._states)
        self._states = None

    def detach(self) -> None:
        """Leave the model as it was before `attach`. Harmless when repeated."""
        if self._make is None or not self._penalties:
            return
        self._states = self.state_dict()
        while self._penalties:
            self._penalties.popitem()[1].detach()

    @contextmanager
    def accumulate(self) -> Iterator[None]:
        """Within it, forwards add up, and parts of the model may be called on their own."""
        with ExitStack() as contexts:
            for penalty in self._penalties.values():
                contexts.enter_context(penalty.accumulate())
            yield

    def __call__(self) -> dict[str, Tensor]:
        """The value of each penalty, by name; also a step of their schedules."""
        return {name: penalty() for name, penalty in self._penalties.items()}

    def forget(self) -> None:
        """Forget forwards that are not trained on: a step that the trainer skips."""
        for penalty in self._penalties.values():
            penalty.forget()

    @property
    def values(self) -> dict[str, float]:
        """The values of the last call, by name; NaN before the first."""
        return {name: penalty.value for name, penalty in self._penalties.items()}

    def state_dict(self) -> dict[str, Any]:
        """How far the schedules of strengths have come, by name."""
        if not self._penalties:
            return dict(self._states or {})
        return {name: penalty.state_dict() for name, penalty in self._penalties.items()}

    def load_state_dict(self, states: Mapping[str, Any]) -> None:
        """Continue where `state_dict` was taken; at `attach`, where the penalties are made there.

        Warns of states without a penalty, and of schedules without a state.
        """
        if not self._penalties:
            self._states = dict(states)
            return
        for name, penalty in self._penalties.items():
            if name in states:
                penalty.load_state_dict(states[name])
            elif any(callable(target.strength) for target in penalty.targets):
                warn(f"no state of penalty {name!r} was saved; its schedule starts again at step 0")
        lost = ", ".join(repr(name) for name in states if name not in self._penalties)
        if lost:
            known = ", ".join(self._penalties)
            warn(f"the saved state of penalty {lost} is not used; the penalties are: {known}")

    def _check(self, model: nn.Module) -> None:
        modules = set(model.modules())
        for name, penalty in self._penalties.items():
            for target in penalty.targets:
                if target.module not in modules:
                    raise UsageError(
                        f"target {target.name!r} of penalty {name!r} is not a layer of the model "
                        "in training; pass a function that makes the penalties: "
                        "lambda model: [SparsityReg(model, ...)]"
                    )


def _named(penalties: object) -> dict[str, Penalty]:
    """Penalties by name: their own kind, numbered where it repeats, or what the user calls them."""
    if isinstance(penalties, Mapping):
        named = {str(name): penalty for name, penalty in penalties.items()}
    else:
        named = {}
        for penalty in penalties if isinstance(penalties, list | tuple) else [penalties]:
            kind = penalty.kind if isinstance(penalty, Penalty) else ""
            same = sum(getattr(other, "kind", "") == kind for other in named.values())
            named[f"{kind}_{same + 1}" if same else kind] = penalty
    if not named:
        raise UsageError("penalties is empty; leave it out to train without penalties")
    for name, penalty in named.items():
        if not isinstance(penalty, Penalty):
            where = f"penalty {name!r}" if name else "penalties"
            is_class = isinstance(penalty, type)
            found = f"the class {penalty.__name__}" if is_class else f"a {type(penalty).__name__}"
            raise UsageError(
                f"{where} is {found}; expected penalties, such as "
                "[SparsityReg(model, {'conv3': 1e-3})], or a function that makes them for a model"
            )
    return named

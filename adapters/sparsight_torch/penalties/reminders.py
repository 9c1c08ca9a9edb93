"""Who waits for the first call of a penalty: it is told when an optimiser steps without it."""

from __future__ import annotations

from typing import Any, Protocol
from weakref import WeakSet

from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.utils.hooks import RemovableHandle

__all__ = ["expect_call", "expect_no_call"]


class Expected(Protocol):
    """What waits for its first call, and is told of every optimiser's steps until then."""

    def stepped(self, optimizer: Optimizer) -> bool:
        """Whether it need not be told again."""

    def __hash__(self) -> int: ...


# One hook for all, in place while somebody waits. An optimiser walks over the hooks, so that none
# may be removed meanwhile, as a hook of each penalty's own would be when the penalty is collected.
_waiting: WeakSet[Expected] = WeakSet()
_handles: list[RemovableHandle] = []


def expect_call(expected: Expected) -> None:
    """Tell it of every optimiser's steps from here on."""
    _waiting.add(expected)
    if not _handles:
        _handles.append(register_optimizer_step_post_hook(_tell))


def expect_no_call(expected: Expected) -> None:
    """It was called, or is gone."""
    _waiting.discard(expected)
    while _handles and not _waiting:
        _handles.pop().remove()


def _tell(optimizer: Optimizer, args: Any, kwargs: Any) -> None:
    _waiting.difference_update([each for each in _waiting if each.stepped(optimizer)])

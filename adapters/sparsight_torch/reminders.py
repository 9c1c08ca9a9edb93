"""What warns of a lost penalty: at the line that lost it, or when an optimiser steps without it."""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path
from typing import Any, Protocol
from weakref import WeakSet

import torch
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.utils.hooks import RemovableHandle

__all__ = ["expect_call", "expect_no_call", "warn"]

_INSIDE = tuple(f"{Path(file).parent}{os.sep}" for file in (torch.__file__, __file__))


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


def warn(message: str) -> None:
    """A warning at the line of the user's own code that led to it, not at PyTorch's hooks."""
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_INSIDE):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, stacklevel=level)


def _tell(optimizer: Optimizer, args: Any, kwargs: Any) -> None:
    _waiting.difference_update([each for each in _waiting if each.stepped(optimizer)])

"""Which positions of a padded batch count: masks, [N, *map], that are 0 at padded positions."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sparsight.errors import UsageError, nearest

__all__ = ["MaskInput", "as_mask", "mask_mismatch"]


class MaskInput:
    """An input of a network's forward that is a mask, found by its name.

    Raises UsageError for a name that the forward cannot take.
    """

    def __init__(self, network: nn.Module, name: str) -> None:
        if not isinstance(name, str):
            raise UsageError(
                f"the mask is a {type(name).__name__}; expected the name of an input of the "
                "network's forward (pass a mask itself when you call the penalty)"
            )
        parameters = inspect.signature(network.forward).parameters.values()
        known = [p.name for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
        by_position = [
            p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
        ]
        self._required = name not in known  # a keyword among others: it may be misspelt
        if self._required and not any(p.kind is p.VAR_KEYWORD for p in parameters):
            raise UsageError(
                f"the network's forward has no input {name!r} to use as the mask; "
                f"{nearest(name, known)}"
            )
        self.name = name
        self._position = by_position.index(name) if name in by_position else None

    def of(self, inputs: Sequence[Any], keywords: Mapping[str, Any]) -> Tensor | None:
        """The mask among the arguments of a forward; None where it was left out, or is None."""
        if self.name in keywords:
            mask = keywords[self.name]
        elif self._position is not None and self._position < len(inputs):
            mask = inputs[self._position]
        elif self._required:
            raise UsageError(
                f"the network was called without the input {self.name!r}, which is its mask; "
                f"its inputs by keyword were: {', '.join(keywords) or 'none'}"
            )
        else:
            return None
        if mask is not None and not isinstance(mask, Tensor):
            raise UsageError(
                f"the mask {self.name!r} is a {type(mask).__name__}; expected a tensor"
            )
        return mask


def as_mask(mask: Any) -> Tensor:
    """A mask that was given as a tensor, an array or nested lists. Raises UsageError for others."""
    try:
        return torch.as_tensor(mask)
    except (TypeError, ValueError, RuntimeError):
        raise UsageError(
            f"the mask is a {type(mask).__name__}; expected a tensor or array of 0 and 1"
        ) from None


def mask_mismatch(mask: Tensor, maps: Mapping[str, Sequence[int]]) -> UsageError:
    """The error for a mask that has the shape of no layer's maps."""
    shapes = ", ".join(f"{name} {tuple(shape)}" for name, shape in maps.items())
    return UsageError(
        f"a mask of shape {tuple(mask.shape)} matches no layer's positions, so it would have "
        f"no effect; the layers have: {shapes}"
    )

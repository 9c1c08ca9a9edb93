"""Checks of what a target returned, and of the term that a penalty makes of it."""

from __future__ import annotations

import torch
from torch import Tensor

from sparsight.errors import UsageError

__all__ = ["check_output", "check_term", "without_gradients"]


def check_output(name: str, output: Tensor, axis: int) -> None:
    """Raises UsageError unless an output is [N, ...] of at least one sample with channels along
    `axis`."""
    shape = tuple(output.shape)
    if output.numel() == 0:
        raise UsageError(
            f"target {name!r} returned {shape}, an empty batch, whose penalty is not "
            "a number; leave empty batches out"
        )
    if output.ndim < 2:
        raise UsageError(
            f"the output of {name!r} has the shape {shape}; expected a batch with at least two axes"
        )
    if not -output.ndim <= axis < output.ndim or axis % output.ndim == 0:
        raise UsageError(
            f"axis={axis} cannot be the channel axis of the output of {name!r}, {shape}, whose "
            "first axis is the batch"
        )


def check_term(penalty: str, name: str, term: object, shape: torch.Size, axis: int) -> None:
    """Raises UsageError unless a term is one number a position, with a gradient.

    `shape` is that of the output of `name`; `penalty` is the class that messages name.
    """
    positions = list(shape)
    del positions[axis]
    if not isinstance(term, Tensor) or list(term.shape) != positions:
        found = tuple(term.shape) if isinstance(term, Tensor) else type(term).__name__
        raise UsageError(
            f"{penalty}.term returned {found} for the output of {name!r}, "
            f"{tuple(shape)} with its channels along axis {axis}; expected one number "
            f"per position, {tuple(positions)}"
        )
    if not term.requires_grad:
        raise UsageError(
            f"{penalty}.term returned a tensor without gradient for the output of {name!r}, "
            "so the penalty would do nothing; compute it with operations that autograd can follow"
        )


def without_gradients(name: str) -> UsageError:
    """The error of a target that ran without gradients inside a forward with gradients."""
    return UsageError(
        f"target {name!r} ran without gradients inside a forward with gradients, so that its "
        "penalty would do nothing: under gradient checkpointing pass use_reentrant=False; a frozen "
        "layer cannot be a target"
    )

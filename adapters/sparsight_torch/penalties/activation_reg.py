"""ActivationReg: keeps activations small, whatever their pattern.

Near 0 the entropy of D activations is ln D minus half of their variance over the channels: so
SparsityReg acts on small activations as a penalty on their variance. This one penalises their mean
square, and tells how much of SparsityReg's effect is a matter of scale.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..kernels.backends import chunks, entropy_backend, widened
from .activation_penalty import ActivationPenalty

__all__ = ["ActivationReg"]


class ActivationReg(ActivationPenalty):
    """Keeps activations small: lambda / 2 times their mean square over the channels.

    Sum over targets of lambda / 2 * (sum over positions, mean over the batch) of mean_d a_d^2.
    Options, what counts as a forward, and errors are those of ActivationPenalty.
    """

    kind = "activation"
    in_float32 = False  # the mean square widens them itself, and keeps no copy

    def term(self, activation: Tensor, axis: int) -> Tensor:
        """Half the mean square of each position over its channels, [N, *map]."""
        if entropy_backend(activation) == "plain":
            return widened(activation).square().mean(axis) / 2
        function: type[torch.autograd.Function] = _HalfMeanSquare
        result: Tensor = function.apply(activation, axis)
        return result


class _HalfMeanSquare(torch.autograd.Function):
    """sum_d a_d^2 / (2 D), whose gradient is a / D: keeps only the activation itself."""

    @staticmethod
    def forward(ctx: Any, activation: Tensor, axis: int) -> Tensor:
        ctx.axis = axis
        ctx.save_for_backward(activation)
        parts = [widened(chunk).square().mean(axis) for chunk in chunks(activation, axis)]
        return torch.cat(parts).div_(2)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (activation,) = ctx.saved_tensors
        weight = gradient.unsqueeze(ctx.axis) / activation.shape[ctx.axis]
        return (activation * weight).to(activation.dtype), None

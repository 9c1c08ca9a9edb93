"""The slow and obvious: float64, no hooks, straight from the paper's equations."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping

from torch import Tensor, nn


def entropy(activations: Tensor, axis: int = 1) -> Tensor:
    """Eq. 2-4, with autograd's own gradient."""
    probabilities = activations.double().softmax(axis)
    logarithms = activations.double().log_softmax(axis)
    return -(probabilities * logarithms).sum(axis)


def mean_square(activations: Tensor, axis: int = 1) -> Tensor:
    """Mean of the squares over the channels."""
    return (activations.double() * activations.double()).mean(axis)


def penalised_gradients(
    model: nn.Module,
    forward: Callable[[nn.Module, list[Tensor]], Tensor],
    loss: Callable[[Tensor], Tensor],
    strengths: Mapping[str, float],
    term: Callable[[Tensor, int], Tensor] = lambda output, axis: -entropy(output, axis),
) -> dict[str, Tensor]:
    """Gradients of loss + a penalty for a float64 copy of `model`; by default SparsityReg.

    `forward(model, outputs)` runs the copy and appends the target layers' outputs, in the order of
    `strengths`, to `outputs`: by hand, since hooks are what is to be tested.
    """
    reference = copy.deepcopy(model).double()
    outputs: list[Tensor] = []
    total = loss(forward(reference, outputs))
    for output, strength in zip(outputs, strengths.values(), strict=True):
        axis = -1 if output.ndim in (2, 3) else 1
        total = total + strength * term(output, axis).sum() / len(output)
    total.backward()
    return gradients(reference)


def gradients(model: nn.Module) -> dict[str, Tensor]:
    """Gradients by parameter name."""
    return {
        name: parameter.grad.detach().clone()
        for name, parameter in model.named_parameters()
        if parameter.grad is not None
    }

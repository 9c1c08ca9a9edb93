"""What the two readings of Eq. 6 do to filters: the literal one hardly anything."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

import torch
from torch import Tensor

from sparsight.maths.correlation import Centre
from sparsight_torch.functional import decorrelation_penalty, filter_correlations

from .networks import WIDTHS, build
from .tables import Table

__all__ = ["Filters", "conv1", "descended", "equation6"]

_SEEDS = 5
_STEPS, _RATE = 100, 0.01  # the paper's rate


@dataclass(frozen=True)
class Filters:
    """Filters as DecorrReg, signed and at kappa = 1, sees them."""

    value: float
    """The sum of their coefficients, at least -D / 2."""
    pull: float
    """|dL/dw| |w|: the gradient, free of the weights' scale."""
    correlation: float
    """Mean of |c| over the pairs, each filter centred by its own mean."""


def descended(weights: Tensor, centre: Centre) -> tuple[Filters, Filters]:
    """Filters [D, ...], and what gradient descent on the penalty alone makes of them."""
    moved = weights.detach().clone().requires_grad_()
    descent = torch.optim.SGD([moved], lr=_RATE)
    before = _seen(moved, centre)
    for _ in range(_STEPS):
        descent.zero_grad()
        decorrelation_penalty(moved, 1.0, centre=centre).backward()
        descent.step()
    return before, _seen(moved, centre)


def equation6() -> Table:
    """Both readings on conv1 as it is initialised, at each size: means over five seeds."""
    rows = []
    for size, (number, *_) in WIDTHS.items():
        layers = [conv1(size, seed) for seed in range(_SEEDS)]
        for centre in get_args(Centre):
            pairs = [descended(weights, centre) for weights in layers]
            cells = (_moved(pairs, name, digits) for name, digits in _COLUMNS)
            rows.append((f"conv1, {size}", centre, f"{-number / 2:.0f}", *cells))
    header = ("layer", "centre", "lowest sum", "sum", "gradient", "mean of abs c")
    title = f"Eq. 6: before and after {_STEPS} steps of SGD, {_RATE}, on DecorrReg alone"
    return Table(title, header, tuple(rows))


_COLUMNS = (("value", 1), ("pull", 2), ("correlation", 3))


def _moved(pairs: Sequence[tuple[Filters, Filters]], name: str, digits: int) -> str:
    """Means over seeds, before and after."""
    means = (statistics.fmean(getattr(f, name) for f in side) for side in zip(*pairs, strict=True))
    return " -> ".join(f"{mean:.{digits}f}" for mean in means)


def _seen(weights: Tensor, centre: Centre) -> Filters:
    penalty = decorrelation_penalty(weights, 1.0, centre=centre)
    (gradient,) = torch.autograd.grad(penalty, weights)
    with torch.no_grad():
        pull, coefficients = gradient.norm() * weights.norm(), filter_correlations(weights)
    rows, columns = torch.tril_indices(len(weights), len(weights), -1)
    return Filters(penalty.item(), pull.item(), coefficients[rows, columns].abs().mean().item())


def conv1(size: str, seed: int) -> Tensor:
    """The filters of conv1 before training."""
    torch.manual_seed(seed)
    return build("vanillaNet", size).conv1.weight

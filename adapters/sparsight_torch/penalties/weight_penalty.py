"""The base of penalties on the weights of layers, one filter a row."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from sparsight.errors import UsageError

from ..kernels.backends import widened
from ..layers.targets import Selection, Target, filter_shape, filters, has_lazy, weights_of
from .penalty import Penalty

__all__ = ["WeightPenalty"]


class WeightPenalty(Penalty):
    """A penalty on the weights of layers: of each target, strength times its `term`.

    A subclass gives `term`, its `kind`, what its strength is called (`strength_name`), and perhaps
    `without_effect`. Options of its own are set before `super().__init__`, and named by `options`.

    It needs no forward. A new one with the same options detaches an older one on a common target,
    and warns. Raises TargetError for targets that do not exist, whose weights are frozen, or where
    the penalty would do nothing.
    """

    def __init__(self, model: nn.Module, targets: Selection) -> None:
        super().__init__(model, targets)
        self._attach()

    @abstractmethod
    def term(self, filters: Tensor) -> Tensor:
        """The penalty of one layer at strength 1: a scalar, of its filters [D, K], one a row."""

    def without_effect(self, name: str, filters: int, weights: int) -> str | None:
        """Why it would do nothing at a layer of so many filters of so many weights; else None."""
        return None

    def terms(self) -> Mapping[str, Tensor]:
        """The penalty of each target at strength 1, by name."""
        for target in () if torch.compiler.is_compiling() else self.targets:
            reason = self._without_effect(target)
            if reason is not None:
                raise UsageError(f"{type(self).__name__} would do nothing: {reason}")
        return {target.name: self._term(filters(target.module)) for target in self.targets}

    def _term(self, weights: Tensor) -> Tensor:
        """The term, in float32 or better, also under autocast."""
        with torch.autocast(weights.device.type, enabled=False):
            return self.term(widened(weights))

    def _without_effect(self, target: Target) -> str | None:
        if not any(weight.requires_grad for weight in weights_of(target.module)):
            return f"the weights of {target.name!r} are frozen"
        if has_lazy(target.module):
            return None
        return self.without_effect(target.name, *filter_shape(target.module))

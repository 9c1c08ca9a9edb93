"""The terms that forwards left, until the penalty is called: masked, summed, guarded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from sparsight.errors import UsageError

from ..functional import Reduction, reduced
from ..padding_mask import mask_mismatch

__all__ = ["PendingTerm", "summed"]


class PendingTerm(NamedTuple):
    """What one target left in one forward."""

    name: str
    value: Tensor  # [N, *map]: summed only when the penalty is called, outside of any checkpoint
    mask: Tensor | None
    output: Tensor | None  # for telling whether it was overwritten in place
    version: int

    def check_unchanged(self, penalty: str) -> None:
        """Raises UsageError where the output was overwritten: its gradient would be wrong."""
        if self.output is not None and self.output._version != self.version:
            raise UsageError(
                f"the output of {self.name!r} was overwritten in place after it was measured; "
                f"pass copy=True to {penalty}, or avoid the in-place operation"
            )

    def reduced(self, reduction: Reduction) -> Tensor:
        """A scalar; masked positions count for nothing."""
        fits = self.mask is not None and self.mask.shape == self.value.shape
        return reduced(self.value, reduction, self.mask if fits else None)


def summed(pending: Sequence[PendingTerm], reduction: Reduction, penalty: str) -> dict[str, Tensor]:
    """The sum of all terms of each target, by name; `penalty` is the class that messages name."""
    _check_masks(pending)
    sums: dict[str, Tensor] = {}
    for term in pending:
        term.check_unchanged(penalty)
        value = term.reduced(reduction)
        sums[term.name] = sums[term.name] + value if term.name in sums else value
    return sums


def _check_masks(pending: Sequence[PendingTerm]) -> None:
    """Raises UsageError where masks fit nothing: padding would count after all."""
    masks = [term.mask for term in pending if term.mask is not None]
    fits = any(term.mask is not None and term.mask.shape == term.value.shape for term in pending)
    if masks and not fits:
        raise mask_mismatch(masks[-1], {term.name: term.value.shape for term in pending})

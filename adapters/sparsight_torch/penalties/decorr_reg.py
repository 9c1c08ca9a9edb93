"""DecorrReg: rewards filters that differ.

Source: Huesmann, Klemm, Linsen, Risse, arXiv 2002.09237, Eq. 6 and 7.
"""

from __future__ import annotations

from torch import Tensor, nn

from sparsight.errors import UsageError
from sparsight.maths.correlation import Centre

from ..functional import Form, decorrelation_penalty
from ..layers.targets import Selection
from .weight_penalty import WeightPenalty

__all__ = ["DecorrReg"]


class DecorrReg(WeightPenalty):
    """Rewards filters that differ (paper, Eq. 7): kappa times the sum of their correlations.

    L_c = sum over targets of kappa * sum over e < d of c[d, e]. It looks at weights alone, and
    needs no forward. `targets` gives kappa as SparsityReg's gives lambda. `form` is "signed" (the
    sum as printed, in O(D K)), "squared" or "positive"; `centre` is that of `filter_correlations`:
    with `"filters"`, the paper's literal wording, the signed sum is almost constant.

    A new one with the same options detaches an older one on a common target, and warns. Raises
    TargetError for targets that do not exist, or where the penalty could do nothing: frozen
    weights, one filter, filters of so few weights that their correlations cannot change.
    """

    kind = "decorrelation"
    strength_name = "kappa"

    def __init__(
        self,
        model: nn.Module,
        targets: Selection,
        *,
        form: Form = "signed",
        centre: Centre = "own",
    ) -> None:
        if form not in ("signed", "squared", "positive"):
            raise UsageError(f"form={form!r}: expected 'signed', 'squared' or 'positive'")
        if centre not in ("own", "filters"):
            raise UsageError(f"centre={centre!r}: expected 'own' or 'filters'")
        self._form: Form = form
        self._centre: Centre = centre
        super().__init__(model, targets)

    @property
    def options(self) -> tuple[object, ...]:
        """Form and centre."""
        return self._form, self._centre

    def term(self, filters: Tensor) -> Tensor:
        """The sum of the correlations of all pairs of filters."""
        return decorrelation_penalty(filters, 1.0, self._form, self._centre)

    def without_effect(self, name: str, filters: int, weights: int) -> str | None:
        """Correlations that can only be 1 or -1 have no gradient.

        What is centred has one degree of freedom less: two weights a filter, or two filters about
        their mean, leave nothing to change.
        """
        least_filters, least_weights = (2, 3) if self._centre == "own" else (3, 2)
        if filters >= least_filters and weights >= least_weights:
            return None
        return (
            f"{name!r} has {filters} filters of {weights} weights, whose correlations cannot "
            f'change with centre="{self._centre}": it takes {least_filters} filters of '
            f"{least_weights}"
        )

"""SparsityReg: rewards dense activations.

Source: Huesmann, Klemm, Linsen, Risse, arXiv 2002.09237, Eq. 5.
"""

from __future__ import annotations

from torch import Tensor

from ..functional import rfav_entropy
from .activation_penalty import ActivationPenalty

__all__ = ["SparsityReg"]


class SparsityReg(ActivationPenalty):
    """Rewards dense activations (paper, Eq. 5): minus lambda times the entropy of all RFAVs.

    L_s = - sum over targets of lambda * (sum over positions, mean over the batch) of H. Options,
    what counts as a forward, and errors are those of ActivationPenalty. Targets of one channel,
    whose entropy is always 0, are refused.
    """

    kind = "sparsity"
    in_float32 = False  # the entropy widens them itself, and keeps no copy

    def term(self, activation: Tensor, axis: int) -> Tensor:
        """-H of each RFAV, in nats, [N, *map]."""
        return -rfav_entropy(activation, axis)

    def without_effect(self, name: str, channels: int) -> str | None:
        """One channel has no entropy."""
        return f"{name!r} has one channel, whose entropy is always 0" if channels == 1 else None

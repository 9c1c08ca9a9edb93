"""Sparsight for PyTorch: penalties on the sparsity of activations, and recording while training."""

from .functional import (
    decorrelation_penalty,
    filter_correlations,
    rfav_entropy,
    sparsity_penalty,
)
from .penalties import DecorrReg, SparsityReg

__all__ = [
    "DecorrReg",
    "SparsityReg",
    "decorrelation_penalty",
    "filter_correlations",
    "rfav_entropy",
    "sparsity_penalty",
]

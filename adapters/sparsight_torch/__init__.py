"""Sparsight for PyTorch: penalties on the sparsity of activations, and recording while training."""

from .export import OnnxExporter
from .functional import (
    decorrelation_penalty,
    filter_correlations,
    rfav_entropy,
    sparsity_penalty,
)
from .penalties import DecorrReg, SparsityReg
from .probing import measure
from .recorder import Recorder

__all__ = [
    "DecorrReg",
    "OnnxExporter",
    "Recorder",
    "SparsityReg",
    "decorrelation_penalty",
    "filter_correlations",
    "measure",
    "rfav_entropy",
    "sparsity_penalty",
]

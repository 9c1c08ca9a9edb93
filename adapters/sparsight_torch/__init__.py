"""Sparsight for PyTorch: penalties on the sparsity of activations, and recording while training."""

from sparsight.errors import MissingExtraError

try:
    import torch  # noqa: F401  # first, so that a missing one is said in a sentence
except ImportError:
    raise MissingExtraError("torch", "torch", "sparsight_torch") from None

from .functional import (
    decorrelation_penalty,
    filter_correlations,
    rfav_entropy,
    sparsity_penalty,
)
from .penalties.penalties import DecorrReg, SparsityReg
from .recording.onnx_export import OnnxExporter
from .recording.probing import measure
from .recording.recorder import Recorder

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

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
from .penalties.activation_penalty import ActivationPenalty
from .penalties.activation_reg import ActivationReg
from .penalties.decorr_reg import DecorrReg
from .penalties.penalty import Penalty
from .penalties.sparsity_reg import SparsityReg
from .penalties.weight_penalty import WeightPenalty
from .recording.onnx_export import OnnxExporter
from .recording.probing import measure
from .recording.recorder import Recorder

__all__ = [
    "ActivationPenalty",
    "ActivationReg",
    "DecorrReg",
    "OnnxExporter",
    "Penalty",
    "Recorder",
    "SparsityReg",
    "WeightPenalty",
    "decorrelation_penalty",
    "filter_correlations",
    "measure",
    "rfav_entropy",
    "sparsity_penalty",
]

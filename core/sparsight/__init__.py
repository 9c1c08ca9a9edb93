"""Sparsight: see overfitting inside neural networks, layer by layer.

    import sparsight
    measurements = sparsight.analyze("checkpoint.onnx", "probes.npz")

Importing this loads nothing heavier than numpy; the rest arrives when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .errors import SparsightError

if TYPE_CHECKING:
    from .analysis import analyze
    from .correlation import correlation_summary, filter_correlations
    from .entropy import relative_entropy, rfav_entropy, rfav_rms, scale_free_entropy
    from .measurement import LayerMeasurement
    from .model import open_model
    from .onset import find_onset
    from .reader import read_run
    from .taps import find_taps
    from .writer import RunWriter

__all__ = [
    "LayerMeasurement",
    "RunWriter",
    "SparsightError",
    "analyze",
    "correlation_summary",
    "filter_correlations",
    "find_onset",
    "find_taps",
    "open_model",
    "read_run",
    "relative_entropy",
    "rfav_entropy",
    "rfav_rms",
    "scale_free_entropy",
]

_HOMES = {
    "LayerMeasurement": "measurement",
    "RunWriter": "writer",
    "analyze": "analysis",
    "correlation_summary": "correlation",
    "filter_correlations": "correlation",
    "find_onset": "onset",
    "find_taps": "taps",
    "open_model": "model",
    "read_run": "reader",
    "relative_entropy": "entropy",
    "rfav_entropy": "entropy",
    "rfav_rms": "entropy",
    "scale_free_entropy": "entropy",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'sparsight' has no attribute {name!r}")
    return getattr(importlib.import_module(f".{home}", __name__), name)


def __dir__() -> list[str]:
    return sorted(__all__)

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
    from .analysis.analyze import analyze
    from .diagnosis.diagnose import Diagnosis, diagnose
    from .graph.model import open_model
    from .graph.taps import find_taps
    from .maths.correlation import correlation_summary, filter_correlations
    from .maths.entropy import relative_entropy, rfav_entropy, rfav_rms, scale_free_entropy
    from .maths.onset import find_onset
    from .measure.measurement import LayerMeasurement
    from .runs.reader import read_run
    from .runs.writer import RunWriter

__all__ = [
    "Diagnosis",
    "LayerMeasurement",
    "RunWriter",
    "SparsightError",
    "analyze",
    "correlation_summary",
    "diagnose",
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
    "Diagnosis": "diagnosis.diagnose",
    "LayerMeasurement": "measure.measurement",
    "RunWriter": "runs.writer",
    "analyze": "analysis.analyze",
    "correlation_summary": "maths.correlation",
    "diagnose": "diagnosis.diagnose",
    "filter_correlations": "maths.correlation",
    "find_onset": "maths.onset",
    "find_taps": "graph.taps",
    "open_model": "graph.model",
    "read_run": "runs.reader",
    "relative_entropy": "maths.entropy",
    "rfav_entropy": "maths.entropy",
    "rfav_rms": "maths.entropy",
    "scale_free_entropy": "maths.entropy",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'sparsight' has no attribute {name!r}")
    return getattr(importlib.import_module(f".{home}", __name__), name)


def __dir__() -> list[str]:
    return sorted(__all__)

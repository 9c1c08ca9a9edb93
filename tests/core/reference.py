"""The slow and obvious: what of a layer is measured, in float64 and in loops."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray


def entropy(rfav: NDArray) -> float:
    """Eq. 2-4: entropy of the softmax of one RFAV, nats."""
    if not np.isfinite(rfav).all():
        return math.nan
    values = [float(value) for value in rfav]
    highest = max(values)
    weights = [math.exp(value - highest) for value in values]
    total = sum(weights)
    shares = [weight / total for weight in weights]
    return -sum(share * math.log(share) for share in shares if share > 0)


def rms(rfav: NDArray) -> float:
    values = [float(value) for value in rfav]
    return math.sqrt(sum(value**2 for value in values) / len(values))


def scale_free(rfav: NDArray) -> float:
    if len(rfav) == 1 or not np.isfinite(rfav).all():
        return math.nan
    divisor = rms(rfav) or 1.0
    return entropy(np.asarray(rfav, np.float64) / divisor) / math.log(len(rfav))


def over_rfavs(function, activations: NDArray, axis: int = 1) -> NDArray:
    """A function of one RFAV at every position: [N, D, *map] gives [N, *map]."""
    rows = np.moveaxis(activations, axis, -1)
    values = [function(rfav) for rfav in rows.reshape(-1, rows.shape[-1])]
    return np.array(values).reshape(rows.shape[:-1])


def tensors_of(source: str | Path | bytes, feeds: dict, *names: str) -> list[NDArray]:
    """Tensors within a model, as ONNX Runtime computes them without optimisation."""
    content = source if isinstance(source, bytes) else Path(source).read_bytes()
    model = onnx.ModelProto.FromString(content)
    known = {value.name for value in model.graph.output}
    for name in names:
        if name not in known:
            model.graph.output.append(onnx.ValueInfoProto(name=name))
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session.run(list(names), feeds)

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


def hoyer(rfav: NDArray) -> float:
    if len(rfav) == 1 or not np.isfinite(rfav).all():
        return math.nan
    largest = max(abs(float(value)) for value in rfav) or 1.0
    values = [abs(float(value)) / largest for value in rfav]
    if not any(values):
        return 0.0
    root = math.sqrt(len(values))
    return (root - sum(values) / math.sqrt(sum(v**2 for v in values))) / (root - 1)


OF_EACH_RFAV = {"scale_free_entropy": scale_free, "hoyer_sparsity": hoyer, "rms": rms}
"""By the names of the table: what is measured of each RFAV beside its entropy."""


def channel_mean_share(rfavs: NDArray) -> float:
    """Of [RFAVs, D]: how much of the variance of all values is that of the channels' means."""
    rows = [[float(v) for v in row] for row in rfavs if np.isfinite(row).all()]
    if not rows or len(rows[0]) == 1:
        return math.nan
    count, channels = len(rows), len(rows[0])
    means = [sum(row[d] for row in rows) / count for d in range(channels)]
    mean = sum(means) / channels
    total = sum((value - mean) ** 2 for row in rows for value in row)
    if total <= 1e-6 * sum(value**2 for row in rows for value in row):
        return math.nan
    return count * sum((m - mean) ** 2 for m in means) / total


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

"""A copy of an ONNX graph that also computes the entropy of its layers, inside the graph.

A layer's activations are D x A x B numbers a sample, its entropy map A x B. So H is computed next
to the layer and only that leaves the graph: the host receives kilobytes, and the same nodes run
wherever ONNX Runtime runs.

The nodes are appended to the model's bytes, as a second serialized ModelProto: protobuf merges the
two, and the weights are neither parsed nor written again.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from .model import Model
from .taps import Tap

__all__ = ["Instrumented", "instrument"]


@dataclass(frozen=True)
class Instrumented:
    """The bytes of a model with tap chains, and the names of what they put out."""

    content: bytes
    outputs: Mapping[str, Mapping[str, str]]
    """By layer name, then by what it is: "plogp", the sum of p ln p, which is -H, [N, *map, 1];
    "scaled_plogp", the same of a / rms(a); "rms" [N, *map, 1]; "relu_maximum" [N, ..., D], where
    all axes between are 1; "relu_zeros" [N, 1]; and "shape" of the tapped tensor, where the first
    three are flattened to [N, positions, 1]."""


def instrument(
    model: Model, taps: Sequence[Tap], statistics: Collection[str] | None = None
) -> Instrumented:
    """Append to a copy of the model's bytes what computes the statistics of these taps.

    `statistics` is a subset of "scale_free_entropy", "rms", "dead_fraction" and "zero_fraction"
    (all of them unless given); H is always computed. The model's opset may be 7 or newer.
    """
    wanted = _STATISTICS if statistics is None else frozenset(statistics)
    prefix = _free_prefix(model)
    addition = onnx.ModelProto()
    outputs = {}
    # Deepest layer first: in layer order all chains would run last, and every activation would
    # stay alive until then (ResNet-50, batch 16: 1,438 MB instead of 710).
    for number, tap in reversed(list(enumerate(taps))):
        double = tap.element_type == TensorProto.DOUBLE
        kind = TensorProto.DOUBLE if double else TensorProto.FLOAT
        chain = _Chain(model.opset, f"{prefix}{number}_", kind)
        outputs[tap.name] = _outputs(chain, tap, wanted)
        addition.graph.node.extend(chain.nodes)
        for key, name in outputs[tap.name].items():
            element_type = TensorProto.INT64 if key == "shape" else kind
            addition.graph.output.append(helper.make_tensor_value_info(name, element_type, None))
    return Instrumented(model.content + addition.SerializeToString(), outputs)


_STATISTICS = frozenset({"scale_free_entropy", "rms", "dead_fraction", "zero_fraction"})


class _Chain:
    """Nodes after one tap, written for one opset."""

    def __init__(self, opset: int, prefix: str, element_type: int) -> None:
        self.opset = opset
        self.element_type = element_type
        self.nodes: list[onnx.NodeProto] = []
        self._prefix = prefix

    def add(self, operator: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """Append a node; the name of its output."""
        name = self._prefix + (output or f"{operator}_{len(self.nodes)}")
        node = helper.make_node(operator, inputs, [name], name=name, **attributes)
        self.nodes.append(node)
        return name

    def constant(self, value: NDArray[Any]) -> str:
        """Append a Constant: before IR version 4 an initializer would have to be an input."""
        return self.add("Constant", value=numpy_helper.from_array(value))

    def number(self, value: float) -> str:
        """Append a Constant of the type that the chain computes in."""
        return self.constant(np.array(value, helper.tensor_dtype_to_np_dtype(self.element_type)))

    def reduce(self, operator: str, value: str, axes: Sequence[int], output: str = "") -> str:
        """Append a reduction that keeps `axes`, with length 1; an attribute in older opsets."""
        if self.opset >= (13 if operator == "ReduceSum" else 18):
            inputs = (value, self.constant(np.array(axes, np.int64)))
            return self.add(operator, *inputs, output=output, keepdims=1)
        return self.add(operator, value, output=output, axes=list(axes), keepdims=1)


@dataclass(frozen=True)
class _Rfavs:
    """A tensor with its channels last: [N, D] or [N, ..., D]."""

    name: str
    rank: int

    @property
    def axis(self) -> int:
        return self.rank - 1


def _outputs(chain: _Chain, tap: Tap, wanted: frozenset[str]) -> dict[str, str]:
    outputs = {}
    rfavs = _channels_last(chain, tap, tap.tensor)
    if any(made.op_type == "Reshape" for made in chain.nodes):
        outputs["shape"] = chain.add("Shape", tap.tensor, output="shape")
    outputs["plogp"] = _plogp(chain, rfavs, rfavs.name, "plogp")
    if wanted & {"scale_free_entropy", "rms"}:
        outputs |= _scaled(chain, rfavs, wanted)
    if tap.relu is not None and wanted & {"dead_fraction", "zero_fraction"}:
        inputs = rfavs if tap.relu == tap.tensor else _channels_last(chain, tap, tap.relu)
        outputs |= _relu(chain, inputs, wanted)
    return outputs


def _channels_last(chain: _Chain, tap: Tap, tensor: str) -> _Rfavs:
    """The tensor in float32 (or float64): half-precision arithmetic errs by 4e-3 to 3e-2 nats.

    The CPU provider runs half-precision models in float32, and leaves the rounding to half out
    where a Cast follows at once. The operator in between keeps the numbers those of the model's own
    tensor, on every device; otherwise it costs nothing.
    """
    name, rank = tensor, tap.rank
    if tap.dequantised is not None and tensor == tap.tensor:
        name = chain.add("DequantizeLinear", name, *filter(None, tap.dequantised))
    if rank is not None and tap.channel_axis != -1:
        axes = [axis for axis in range(rank) if axis != tap.channel_axis]
        # ONNX Runtime takes this out again where its convolutions write blocks of channels anyway.
        name = chain.add("Transpose", name, perm=[*axes, tap.channel_axis])
    elif rank is None or tap.element_type != chain.element_type:
        # Without a rank, and before opset 11, an axis cannot be counted from the end.
        rows = chain.constant(np.array([0, -1, tap.channels], np.int64))
        name, rank = chain.add("Reshape", name, rows), 3
    if tap.element_type != chain.element_type:
        name = chain.add("Cast", name, to=chain.element_type)
    return _Rfavs(name, rank)


def _plogp(chain: _Chain, rfavs: _Rfavs, values: str, output: str) -> str:
    """The sum over the channels of p ln p, which is -H.

    LogSoftmax, Exp, Mul, ReduceSum is the fastest form that ONNX Runtime's kernels allow, and an
    exact one: LogSoftmax shifts by the maximum, p ln p is -0 where p vanishes, and a NaN or an
    infinity comes through every one of the four. Before opset 13 LogSoftmax works on the matrix
    [everything before the axis, everything from it on]: with the last axis, the same.
    """
    logarithms = chain.add("LogSoftmax", values, axis=rfavs.axis)
    products = chain.add("Mul", chain.add("Exp", logarithms), logarithms)
    return chain.reduce("ReduceSum", products, [rfavs.axis], output)


def _scaled(chain: _Chain, rfavs: _Rfavs, wanted: frozenset[str]) -> dict[str, str]:
    """RMS, and the sum of p ln p of the RFAV divided by it.

    Divided by the peak first, so that no square overflows or vanishes. The tiny number that is
    added keeps an RFAV of zeros as it is, which is dense; where a peak or an RMS is not zero it is
    lost in rounding, or cancels.
    """
    tiny = chain.number(2.0**-126)  # the smallest normal number of float32
    outputs = {}
    peak = chain.reduce("ReduceMax", chain.add("Abs", rfavs.name), [rfavs.axis])
    peak = chain.add("Add", peak, tiny)
    unit = chain.add("Div", rfavs.name, peak)
    squares = chain.reduce("ReduceMean", chain.add("Mul", unit, unit), [rfavs.axis])
    rms = chain.add("Sqrt", squares)
    if "rms" in wanted:
        outputs["rms"] = chain.add("Mul", peak, rms, output="rms")
    if "scale_free_entropy" in wanted:
        normal = chain.add("Div", unit, chain.add("Add", rms, tiny))
        outputs["scaled_plogp"] = _plogp(chain, rfavs, normal, "scaled_plogp")
    return outputs


def _relu(chain: _Chain, inputs: _Rfavs, wanted: frozenset[str]) -> dict[str, str]:
    """Largest ReLU input a probe and channel, and the count of those <= 0 a probe."""
    outputs = {}
    if "dead_fraction" in wanted:
        outputs["relu_maximum"] = _maximum(chain, inputs)
    if "zero_fraction" in wanted:
        zeros = chain.add("Cast", _at_most_zero(chain, inputs.name), to=chain.element_type)
        flat = chain.add("Flatten", zeros, axis=1)
        outputs["relu_zeros"] = chain.reduce("ReduceSum", flat, [1], "relu_zeros")
    return outputs


def _maximum(chain: _Chain, inputs: _Rfavs) -> str:
    if inputs.rank == 2:
        return chain.add("Identity", inputs.name, output="relu_maximum")
    return chain.reduce("ReduceMax", inputs.name, range(1, inputs.axis), "relu_maximum")


def _at_most_zero(chain: _Chain, value: str) -> str:
    zero = chain.number(0)
    if chain.opset >= 12:
        return chain.add("LessOrEqual", value, zero)
    # Not(x > 0) would also be true of NaN.
    below = chain.add("Less", value, chain.number(1))
    return chain.add("And", chain.add("Not", chain.add("Greater", value, zero)), below)


def _free_prefix(model: Model) -> str:
    """A start of names that no value and no node of the model has."""
    prefix = "sparsight_"
    names = {*model.producers, *model.initializers, *(v.name for v in model.graph.input)}
    names |= {node.name for node in model.graph.node}
    while any(name.startswith(prefix) for name in names):
        prefix += "_"
    return prefix

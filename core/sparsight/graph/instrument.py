"""A copy of an ONNX graph that also computes the entropy of its layers, inside the graph.

A layer's activations are D x A x B numbers a sample, its entropy map A x B. So H is computed next
to the layer and only that leaves the graph: the host receives kilobytes, and the same nodes run
wherever ONNX Runtime runs.

The nodes are appended to the model's bytes, as a second serialized ModelProto: protobuf merges the
two. Large weights go beside the bytes, as arrays, so that nobody copies them.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from ..errors import ModelError
from ..schema import STATISTICS
from .model import Model
from .taps import Tap

__all__ = ["Instrumented", "instrument"]


@dataclass(frozen=True)
class Instrumented:
    """A model with tap chains, in two parts of bytes, and the names of what they put out."""

    model: Model
    chains: bytes
    """The serialized nodes, to be appended to the bytes of the model."""
    map_shapes: Mapping[str, tuple[int, ...]]
    """By layer name, where it is known beforehand; then "plogp" is flattened."""
    outputs: Mapping[str, Mapping[str, str]]
    """By layer name, then by what it is: "plogp", the sum of p ln p, which is -H, [N, *map, 1];
    what is measured of each RFAV beside it, by its name in the table, [N, positions, 1];
    "channel_sums", sums of each channel over the positions, [N, 1, D], or "rfavs", the activations,
    [N, positions, D]; "relu_zeros", at how many positions the ReLU input is <= 0, [N, 1, D], with
    "relu_sums", sums of ReLU inputs that are NaN if one of them is, or else with "relu_above", at
    how many it is > 0; or "relu_at_most_zero" and "relu_above_zero", whether it is, [N, positions,
    D]; and "shape" of the tapped tensor, where "plogp" is flattened, [N, positions, 1], and the
    map's shape is not known beforehand."""
    statistics: frozenset[str] = frozenset()
    """What is computed beside H."""

    @property
    def content(self) -> bytes:
        """The whole as one model, without the numbers in `model.weights`."""
        return self.model.content + self.chains


def instrument(
    model: Model,
    taps: Sequence[Tap],
    statistics: Collection[str] | None = None,
    by_position: bool = False,
    with_nan: bool = False,
) -> Instrumented:
    """Append to a copy of the model's bytes what computes the statistics of these taps.

    `statistics` names what is measured (`schema.Statistic.measured`), all of it unless given; H is
    always computed. `by_position`, for batches of which not all positions count, puts out the
    activations, and whether each ReLU input is <= 0, and > 0: dearer. `with_nan`, where activations
    or ReLU inputs are NaN, leaves those out of sums, and counts those > 0 too. The model's opset
    may be 7 or newer.
    """
    wanted = _STATISTICS if statistics is None else _STATISTICS & frozenset(statistics)
    prefix = _free_prefix(model)
    addition = onnx.ModelProto()
    outputs: dict[str, Mapping[str, str]] = {}
    map_shapes: dict[str, tuple[int, ...]] = {}
    # Deepest layer first: in layer order all chains would run last, and every activation would
    # stay alive until then (ResNet-50, batch 16: 1,438 MB instead of 710).
    for number, tap in reversed(list(enumerate(taps))):
        double = tap.element_type == TensorProto.DOUBLE
        kind = TensorProto.DOUBLE if double else TensorProto.FLOAT
        chain = _Chain(model.opset, f"{prefix}{number}_", kind)
        shape = _map_shape(model, tap, tap.tensor) if wanted else None
        if shape is not None:
            map_shapes[tap.name] = shape
        counting = _Counting(_positions(model, tap), by_position, with_nan)
        bias = _added(model, tap)
        outputs[tap.name] = _outputs(chain, tap, bias, wanted, shape, counting)
        addition.graph.node.extend(chain.nodes)
        # What stands for two things is one output.
        for name, key in {name: key for key, name in outputs[tap.name].items()}.items():
            element_type = _TYPES.get(key, kind)
            addition.graph.output.append(helper.make_tensor_value_info(name, element_type, None))
    return Instrumented(model, addition.SerializeToString(), map_shapes, outputs, wanted)


_ELSEWHERE = {"entropy", "correlation"}  # always computed, and of weights
_STATISTICS = frozenset(s.measured for s in STATISTICS.values()) - _ELSEWHERE
_OF_RELU = {"dead_fraction", "zero_fraction"}

_TYPES = {
    "shape": TensorProto.INT64,
    "relu_at_most_zero": TensorProto.BOOL,
    "relu_above_zero": TensorProto.BOOL,
}

_POSITIONS, _CHANNELS = 1, 2  # axes of flattened RFAVs, [N, positions, D]


def _added(model: Model, tap: Tap) -> NDArray[Any] | None:
    """The bias that the tapped tensor lacks, [D], or None if it lacks no bias. Raises ModelError
    where it cannot be read or computed."""
    if tap.added is None:
        return None
    name, first = tap.added
    numbers = model.constant(name)
    if numbers is None:
        raise ModelError(
            f"{model.source}: the bias of layer {tap.name!r} is too large to compute; leave this "
            "layer out by naming the others"
        )
    return numbers.reshape(-1)[first : first + tap.channels]


_UNKNOWN = 0  # number of positions


@dataclass(frozen=True)
class _Counting:
    """How ReLU inputs are counted."""

    positions: int
    """Over how many, or `_UNKNOWN`."""
    by_position: bool
    with_nan: bool


def _positions(model: Model, tap: Tap) -> int:
    """At how many positions a ReLU input is there, or `_UNKNOWN`."""
    inputs = tap.relu if tap.relu_order is None else tap.tensor  # of as many positions
    shape = _map_shape(model, tap, inputs) if inputs is not None else None
    return _UNKNOWN if shape is None else math.prod(shape)


def _map_shape(model: Model, tap: Tap, tensor: str) -> tuple[int, ...] | None:
    """Shape of a convolution's map, where shape inference knows it."""
    if tap.channel_axis != 1 or tap.rank is None:
        return None
    sides = model.inferred.get(tensor, ())[2:]
    known = tuple(side for side in sides if isinstance(side, int))
    return known if len(known) == tap.rank - 2 else None


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

    def numbers(self, values: float | NDArray[Any]) -> str:
        """Append a Constant of the type that the chain computes in."""
        return self.constant(np.array(values, helper.tensor_dtype_to_np_dtype(self.element_type)))

    def reduce(self, operator: str, value: str, axes: Sequence[int], output: str = "") -> str:
        """Append a reduction that keeps `axes`, with length 1; an attribute in older opsets."""
        if self.opset >= (13 if operator == "ReduceSum" else 18):
            inputs = (value, self.constant(np.array(axes, np.int64)))
            return self.add(operator, *inputs, output=output, keepdims=1)
        return self.add(operator, value, output=output, axes=list(axes), keepdims=1)


def _outputs(
    chain: _Chain,
    tap: Tap,
    bias: NDArray[Any] | None,
    wanted: frozenset[str],
    shape: tuple[int, ...] | None,
    counting: _Counting,
) -> dict[str, str]:
    """`bias` is what the tapped tensor lacks, `shape` that of its map, where it is known."""
    rfavs = _channels_last(chain, tap, tap.tensor, shape is not None, bias)
    outputs = {}
    if rfavs.flattened and shape is None:
        outputs["shape"] = chain.add("Shape", tap.tensor, output="shape")
    if wanted - _OF_RELU:
        outputs |= _companions(chain, tap, rfavs, wanted)
    if "plogp" not in outputs:
        outputs["plogp"] = _plogp(chain, rfavs.name, rfavs.axis, "plogp")
    if "channel_mean_share" in wanted:
        positions = _UNKNOWN if shape is None else math.prod(shape)
        flat, own = _flat(chain, tap, rfavs), replace(counting, positions=positions)
        outputs |= _channel_sums(chain, flat, outputs["plogp"], own)
    if tap.relu is not None and wanted & _OF_RELU:
        same = tap.relu == tap.tensor and bias is None
        inputs = rfavs if same else _channels_last(chain, tap, tap.relu, flatten=True)
        sums = outputs.get("channel_sums") if same else None
        outputs |= _relu(chain, _flat(chain, tap, inputs), counting, sums)
    return outputs


@dataclass(frozen=True)
class _Rfavs:
    """A tensor in float32 (or float64) with its channels last."""

    name: str
    axis: int
    """The last axis: counted from the start where the rank is known, else -1."""
    flattened: bool = False
    """Whether it is [N, positions, D]."""


def _channels_last(
    chain: _Chain, tap: Tap, tensor: str, flatten: bool, bias: NDArray[Any] | None = None
) -> _Rfavs:
    """Half-precision arithmetic errs by 4e-3 to 3e-2 nats, so numbers are made float32 first.

    Where the CPU provider runs a half-precision model in float32, it leaves the rounding to half
    out if a Cast follows at once. The Transpose or Reshape before the Cast keeps the numbers those
    of the model's own tensor, on every device. Quantised numbers, too, are moved first: ONNX
    Runtime carries a DequantizeLinear through what follows it, not always into a sound graph.
    """
    name, axis, flattened = tensor, -1, False
    scaling = tap.dequantised if tensor == tap.tensor else None
    flatten = flatten or scaling is not None
    wide = tap.element_type == chain.element_type
    axes = _channels_last_axes(tap, tensor)
    if axes is not None:
        # Taken out again where ONNX Runtime's convolutions write blocks of channels anyway.
        name, axis = chain.add("Transpose", name, perm=axes), len(axes) - 1
    elif tap.rank is not None and wide:
        axis = tap.rank - 1
    elif chain.opset < 11 or not wide:  # before opset 11 an axis cannot be counted from the end
        flatten = True
    if flatten:
        name, axis, flattened = _reshaped(chain, tap, name), 2, True
    if scaling is not None:
        name = chain.add("DequantizeLinear", name, *filter(None, scaling))
    if not wide:
        name = chain.add("Cast", name, to=chain.element_type)
    if bias is not None:
        name = chain.add("Add", name, chain.numbers(bias))
    return _Rfavs(name, axis, flattened)


def _channels_last_axes(tap: Tap, tensor: str) -> list[int] | None:
    """The axes of a tensor, the channels' last; None where it is there, or nobody knows."""
    order, channels = tap.relu_order, tap.channel_axis
    if tensor != tap.tensor and order is not None:
        return [*(axis for axis in order if axis != order[channels]), order[channels]]
    if tap.rank is None or channels == -1:
        return None
    return [*(axis for axis in range(tap.rank) if axis != channels), channels]


def _flat(chain: _Chain, tap: Tap, rfavs: _Rfavs) -> str:
    """[N, positions, D].

    A Reshape keeps ONNX Runtime from moving the Transpose behind reductions, which are slow over
    any axis but the last. It moves no numbers if nothing else reads what it reads, so that all of a
    chain is flat where the map's shape is known without asking for it.
    """
    return rfavs.name if rfavs.flattened else _reshaped(chain, tap, rfavs.name)


def _reshaped(chain: _Chain, tap: Tap, name: str) -> str:
    rows = chain.constant(np.array([0, -1, tap.channels], np.int64))
    return chain.add("Reshape", name, rows)


def _plogp(chain: _Chain, values: str, axis: int, output: str) -> str:
    """The sum over the channels of p ln p, which is -H.

    LogSoftmax, Exp, Mul, ReduceSum is the fastest form that ONNX Runtime's kernels allow, and an
    exact one: LogSoftmax shifts by the maximum, p ln p is -0 where p vanishes, and a NaN or an
    infinity comes through every one of the four. Before opset 13 LogSoftmax works on the matrix
    [everything before the axis, everything from it on]: with the last axis, the same.
    """
    logarithms = chain.add("LogSoftmax", values, axis=axis)
    products = chain.add("Mul", chain.add("Exp", logarithms), logarithms)
    return chain.reduce("ReduceSum", products, [axis], output)


def _companions(chain: _Chain, tap: Tap, rfavs: _Rfavs, wanted: frozenset[str]) -> dict[str, str]:
    """What is measured of each RFAV beside its entropy; and that, where it comes for less.

    Divided by the peak first, so that no square overflows or vanishes; ReduceMax and ReduceMin take
    a fifth of the time of Abs and ReduceMax, and a division of all numbers half as long again as a
    multiplication by the reciprocal. The tiny number that is added keeps an RFAV of zeros as it is,
    which is dense; where a peak or an RMS is not zero it is lost in rounding, or cancels. The
    softmax of a / rms is that of (a - max a) / rms, whose exponentials are at most 1.
    """
    flat = _flat(chain, tap, rfavs)
    highest = chain.reduce("ReduceMax", flat, [_CHANNELS])
    lowest = chain.reduce("ReduceMin", flat, [_CHANNELS])
    shifted = chain.add("Sub", flat, highest)
    tiny = chain.numbers(2.0**-126)  # the smallest normal number of float32
    peak = chain.add("Add", chain.add("Max", highest, chain.add("Neg", lowest)), tiny)
    unit = chain.add("Mul", flat, chain.add("Reciprocal", peak))
    squares = chain.reduce("ReduceMean", chain.add("Mul", unit, unit), [_CHANNELS])
    root = chain.add("Sqrt", squares)
    rms = chain.add("Mul", peak, root, output="rms")
    outputs = {}
    if wanted & {"rms", "channel_mean_share"}:
        outputs["rms"] = rms
    if "scale_free_entropy" in wanted:
        inverse = chain.add("Reciprocal", chain.add("Add", rms, tiny))
        plogp = _shifted_plogp(chain, chain.add("Mul", shifted, inverse))
        highest_entropy = math.log(tap.channels) or math.nan
        per_highest = chain.numbers(-1 / highest_entropy)
        outputs["scale_free_entropy"] = chain.add("Mul", plogp, per_highest, output="scale_free")
    if "hoyer_sparsity" in wanted:
        outputs["hoyer_sparsity"] = _hoyer(chain, tap.channels, unit, chain.add("Add", root, tiny))
    if rfavs.flattened:  # what is shifted is there, and saves LogSoftmax
        outputs["plogp"] = _shifted_plogp(chain, shifted, "plogp")
    return outputs


def _hoyer(chain: _Chain, channels: int, unit: str, root: str) -> str:
    """Hoyer sparsity, from RFAVs divided by their peak and the root of their mean square.

    |a|_1 / |a|_2 = sqrt(D) * mean|a| / rms(a). Of zeros, mean and root are the same tiny number.
    """
    mean = chain.reduce("ReduceMean", chain.add("Abs", unit), [_CHANNELS])
    ratio = chain.add("Div", chain.add("Add", mean, chain.numbers(2.0**-126)), root)
    largest = math.sqrt(channels)
    factor = chain.numbers(largest / (largest - 1) if channels > 1 else math.nan)
    return chain.add("Mul", chain.add("Sub", chain.numbers(1), ratio), factor, output="hoyer")


def _shifted_plogp(chain: _Chain, values: str, output: str = "") -> str:
    """`_plogp` of flat RFAVs that are shifted by their maximum: three fifths of its time, since the
    exponentials are computed once.

    With S = sum e^a: sum p ln p = sum(e^a a) / S - ln S.
    """
    exponentials = chain.add("Exp", values)
    total = chain.reduce("ReduceSum", exponentials, [_CHANNELS])
    products = chain.add("Mul", exponentials, values)
    weighted = chain.reduce("ReduceSum", products, [_CHANNELS])
    mean = chain.add("Div", weighted, total)
    return chain.add("Sub", mean, chain.add("Log", total), output=output)


def _channel_sums(chain: _Chain, rfavs: str, plogp: str, counting: _Counting) -> dict[str, str]:
    """Sums of each channel over the positions, or what they are made of, [N, positions, D].

    An RFAV without an entropy does not count. That none is, the entropies tell; where one is,
    another graph leaves them out (see `session`).
    """
    if counting.by_position or (counting.with_nan and chain.opset < _WHERE):
        return {"rfavs": rfavs}
    if counting.with_nan:
        rows = chain.add("Reshape", plogp, chain.constant(np.array([0, -1, 1], np.int64)))
        rfavs = chain.add("Where", chain.add("IsNaN", rows), chain.numbers(0), rfavs)
    return {"channel_sums": _sums(chain, rfavs, counting, "channel_sums")}


_WHERE = 9
"""The opset that brings Where and IsNaN."""


def _relu(chain: _Chain, inputs: str, counting: _Counting, sums: str | None) -> dict[str, str]:
    """How often ReLU inputs, [N, positions, D], are <= 0, and what tells of NaN among them.

    Where no input is NaN one count tells dead channels and zeros, and is sure where a NaN in a
    maximum would not be. That none is, their sums tell (`sums`, where they are there), at a part of
    what a second count takes; it is taken for the few networks that need it (see `session`).
    """
    if counting.by_position:
        return {
            "relu_at_most_zero": _at_most_zero(chain, inputs, "relu_at_most_zero"),
            "relu_above_zero": _above_zero(chain, inputs, "relu_above_zero"),
        }
    outputs = {"relu_zeros": _count(chain, _at_most_zero(chain, inputs), counting, "relu_zeros")}
    if counting.with_nan:
        above = _above_zero(chain, inputs)
        return outputs | {"relu_above": _count(chain, above, counting, "relu_above")}
    return outputs | {"relu_sums": sums or _sums(chain, inputs, counting, "relu_sums")}


def _count(chain: _Chain, condition: str, counting: _Counting, output: str) -> str:
    """At how many positions a condition holds, [N, 1, D]."""
    return _sums(chain, chain.add("Cast", condition, to=chain.element_type), counting, output)


def _sums(chain: _Chain, values: str, counting: _Counting, output: str) -> str:
    """Sums over the positions, [N, 1, D].

    Where the number of positions is known, by a product with ones: of one sample, ReduceSum over
    any axis but the last takes ten times as long.
    """
    if counting.positions == _UNKNOWN or chain.opset < 9:
        return chain.reduce("ReduceSum", values, [_POSITIONS], output)
    shape = chain.constant(np.array([1, counting.positions], np.int64))
    one = helper.make_tensor("one", chain.element_type, [1], [1])
    ones = chain.add("ConstantOfShape", shape, value=one)
    return chain.add("MatMul", ones, values, output=output)


def _above_zero(chain: _Chain, value: str, output: str = "") -> str:
    """Whether numbers are > 0; a NaN is not."""
    return chain.add("Greater", value, chain.numbers(0), output=output)


def _at_most_zero(chain: _Chain, value: str, output: str = "") -> str:
    """Whether numbers are <= 0; a NaN is not."""
    zero = chain.numbers(0)
    if chain.opset >= 12:
        return chain.add("LessOrEqual", value, zero, output=output)
    # Not(x > 0) would also be true of NaN.
    below = chain.add("Less", value, chain.numbers(1))
    not_above = chain.add("Not", chain.add("Greater", value, zero))
    return chain.add("And", not_above, below, output=output)


def _free_prefix(model: Model) -> str:
    """A start of names that no value and no node of the model has."""
    prefix = "sparsight_"
    names = {*model.producers, *model.stored.by_name, *(v.name for v in model.graph.input)}
    names |= {node.name for node in model.graph.node}
    while any(name.startswith(prefix) for name in names):
        prefix += "_"
    return prefix

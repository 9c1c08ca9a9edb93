"""How much memory a batch takes, and how large it may be."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import onnx
from onnx import TensorProto

from ..graph.model import Model, Shape
from ..graph.taps import Tap
from ..system.devices import Device
from ..system.memory import free_memory

__all__ = ["activation_bytes", "batch_that_fits", "usual_batch", "weight_bytes"]

_ON_CPU = 16
"""Samples at most: larger batches leave the caches, and cost more a sample."""
_ON_ACCELERATOR = 64
"""Samples at most: a GPU is busy with fewer, and what is wasted when memory ends, or a last batch
is filled up, grows with the batch."""

_COPIES = 6
"""Of a tapped tensor that its chain holds at once: transposed, shifted, exponentials ..."""
_SIZED = frozenset(onnx.helper.get_all_tensor_dtypes()) - {TensorProto.STRING}
_SHARE = 0.5  # of what is free: the rest is for others, cuDNN's workspaces, holes in the arena


def usual_batch(device: Device) -> int:
    """Samples at once where memory is not the question."""
    return _ON_ACCELERATOR if device.accelerator else _ON_CPU


def batch_that_fits(
    device: Device, sample: int | None, weights: int, limit: int | None = None
) -> int:
    """Samples at once, at least 1, that memory lets a device take; at most the usual batch.

    `sample` is `activation_bytes`, `weights` is `weight_bytes`; these are on the device already.
    `limit` is what all may take together. 16, the batch that small devices take as well, where
    the bytes of a sample are not known, or neither a limit nor what is free. A power of two on
    accelerators, so that its half is one too.
    """
    free = free_memory(device)
    room = [] if free is None else [free * _SHARE]
    if limit is not None:
        room.append(limit - 2 * weights)  # as they are, and as the kernels want them
    if sample is None or not room:
        return _ON_CPU
    fitting = max(1, min(usual_batch(device), int(min(room) // max(sample, 1))))
    return 2 ** int(math.log2(fitting)) if device.accelerator else fitting


def activation_bytes(model: Model, taps: Iterable[Tap], shapes: Mapping[str, Shape]) -> int | None:
    """Bytes that one sample takes, instrumented: an estimate from above, or None where the shape of
    a tapped tensor is unknown.

    `shapes` are those of the inputs with one sample. Counted is every value whose shape is known,
    as though none were let go, and what the largest chain holds beside it. ONNX Runtime does let
    them go: eight networks on the CPU all needed less, from 3 parts in 4 to 1 in 15.
    """
    found = model.inferred_with(shapes)
    sides = [found.get(name) for node in model.graph.node for name in node.output if name]
    tapped = [_elements(found.get(tap.tensor)) for tap in taps]
    if not tapped or None in tapped:
        return None
    known = [size for size in map(_elements, sides) if size is not None]
    double = any(tap.element_type == TensorProto.DOUBLE for tap in taps)
    largest = max(size for size in tapped if size is not None)
    return (sum(known) + _COPIES * largest) * (8 if double else 4)


def weight_bytes(model: Model) -> int:
    """Bytes of a model's initializers, wherever they lie."""
    return sum(
        math.prod(tensor.dims) * onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
        for tensor in model.graph.initializer
        if tensor.data_type in _SIZED
    )


def _elements(sides: tuple[int | str, ...] | None) -> int | None:
    if sides is None or not all(isinstance(side, int) for side in sides):
        return None
    return math.prod(int(side) for side in sides)

"""Weights that are stored in a few bits each, unpacked: [D, K], a filter a row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from .nodes import attribute
from .operator_row import Given
from .shape_inference import Shape

__all__ = ["blockwise", "four_bit_blocks", "four_bit_floats", "shape_at", "shape_in_attributes"]

_FP4 = np.array([0, 1 / 192, 2 / 3, 1, 1 / 3, 1 / 2, 1 / 6, 1 / 4], np.float32)
_FP4_SIGNED = np.concatenate([_FP4, -_FP4])

_NF4 = np.array(  # quantiles of the normal distribution (Dettmers et al., QLoRA, appendix E)
    [
        *(-1.0, -0.6961928, -0.52507305, -0.39491749, -0.28444138, -0.18477343, -0.09105004, 0.0),
        *(0.0795803, 0.1609302, 0.2461123, 0.33791524, 0.44070983, 0.562617, 0.72295684, 1.0),
    ],
    np.float32,
)


def shape_in_attributes(node: onnx.NodeProto, _: Given) -> Shape:
    """[D, K], as the attributes N and K say."""
    return int(attribute(node, "N", 0)), int(attribute(node, "K", 0))


def shape_at(position: int) -> Callable[[onnx.NodeProto, Given], Shape | None]:
    """[D, K], from the input that holds [K, D]; None where that is not constant."""

    def shape(_: onnx.NodeProto, given: Given) -> Shape | None:
        sides = given(position)
        if sides is None or sides.size != 2:
            return None
        columns, rows = sides.reshape(-1).tolist()
        return int(rows), int(columns)

    return shape


def blockwise(node: onnx.NodeProto, given: Given) -> NDArray[np.float32] | None:
    """Weights of MatMulNBits: integers of 2 to 8 bits, a scale and a zero point a block of a row.

    None where they were packed once more, for one kind of CPU.
    """
    if attribute(node, "weight_prepacked", 0):
        return None
    rows, columns, bits = (int(attribute(node, name, 4)) for name in ("N", "K", "bits"))
    size = int(attribute(node, "block_size", 32))
    blocks = -(-columns // size)
    integers = _integers(_needed(given(1)).reshape(rows, -1), bits)[:, :columns]
    scales = _needed(given(2)).reshape(rows, blocks).astype(np.float32)
    zeros = _zero_points(given(3), rows, blocks, bits)
    places = given(4)
    block = np.arange(columns) // size if places is None else places
    return np.asarray((integers - zeros[:, block]) * scales[:, block], np.float32)


def four_bit_floats(node: onnx.NodeProto, given: Given) -> NDArray[np.float32]:
    """Weights of MatMulBnb4: indices into sixteen numbers, a scale a block of all of them."""
    rows, columns = (int(attribute(node, name, 0)) for name in ("N", "K"))
    size = int(attribute(node, "block_size", 64))
    table = _NF4 if attribute(node, "quant_type", 1) else _FP4_SIGNED
    packed = _needed(given(1)).reshape(-1)
    numbers = table[np.stack([packed >> 4, packed & 15], axis=-1).reshape(-1)[: rows * columns]]
    scales = np.repeat(_needed(given(2)).astype(np.float32), size)[: rows * columns]
    return np.asarray((numbers * scales).reshape(rows, columns))


def four_bit_blocks(node: onnx.NodeProto, given: Given) -> NDArray[np.float32] | None:
    """Weights of MatMulFpQ4: blocks of 32 numbers of a filter, each a scale, a zero point unless
    that is 8, and 16 bytes, whose low halves come first.

    None where they are packed in another of ONNX Runtime's ways.
    """
    with_zero = attribute(node, "blk_quant_type", 1)
    if with_zero not in (0, 1):
        return None
    columns, rows = _needed(given(2)).reshape(-1).tolist()
    blocks = -(-columns // 32)
    packed = _needed(given(1)).reshape(rows, blocks, 20 + with_zero)
    scales = np.ascontiguousarray(packed[..., :4]).view("<f4")
    zeros = packed[..., 4:5].astype(np.float32) if with_zero else np.float32(8)
    halves = packed[..., -16:]
    integers = np.concatenate([halves & 15, halves >> 4], axis=-1)
    return np.asarray(((integers - zeros) * scales).reshape(rows, -1)[:, :columns], np.float32)


def _zero_points(
    stored: NDArray[Any] | None, rows: int, blocks: int, bits: int
) -> NDArray[np.float32]:
    """[D, blocks]: packed like the weights, or numbers of the scales' type; the middle where there
    are none."""
    if stored is None:
        return np.full((rows, blocks), 2 ** (bits - 1), np.float32)
    if stored.dtype == np.uint8:
        stored = _integers(stored.reshape(rows, -1), bits)[:, :blocks]
    return np.asarray(stored.reshape(rows, blocks), np.float32)


def _integers(packed: NDArray[Any], bits: int) -> NDArray[np.uint8]:
    """Integers that lie in the bytes of each row, the lowest bits first."""
    if not 1 <= bits <= 8:
        raise ValueError(f"weights of {bits} bits")
    if 8 % bits == 0:
        shifts = np.arange(0, 8, bits, dtype=np.uint8)
        found = packed[..., None] >> shifts & (2**bits - 1)
        return np.asarray(found.reshape(len(packed), -1), np.uint8)
    single = np.unpackbits(packed, axis=-1, bitorder="little")
    whole = single.shape[-1] // bits * bits
    groups = single[:, :whole].reshape(len(packed), -1, bits)
    return np.asarray((groups << np.arange(bits, dtype=np.uint8)).sum(-1, dtype=np.uint8))


def _needed(array: NDArray[Any] | None) -> NDArray[Any]:
    if array is None:
        raise ValueError("a part of its packed weights is not constant")
    return array

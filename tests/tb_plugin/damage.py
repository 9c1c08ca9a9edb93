"""Records that our writer would never write."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
from tensorboard.compat.proto import tensor_pb2, tensor_shape_pb2, types_pb2

from sparsight import schema
from sparsight.runs import events
from sparsight.runs.writer import RunWriter


def raw(folder: Path, *steps: tuple[int, list[Any]], start: float = 2e9) -> None:
    """Write values, step by step, into a file that sorts behind what was written before."""
    with RunWriter(folder) as writer:
        for number, (step, values) in enumerate(steps):
            writer.repeat(events.event(step, start + number, values))


def maps_value(layer: str, content: Any) -> Any:
    metadata = schema.encode_metadata(layer=layer, shape=[4, 6])
    tag = schema.tag_of("maps", metadata)
    return events.tensor_value(tag, content, schema.MAPS_PLUGIN, metadata)


def packed(header: dict[str, Any], body: bytes) -> bytes:
    text = json.dumps(header).encode()
    return b"SPRS" + struct.pack("<I", len(text)) + text + body


def map_header(**changes: Any) -> dict[str, Any]:
    header = {"version": 1, "codec": "zlib-uint8", "layer": "conv1", "probe_ids": [], "lo": 0}
    header |= {"hi": 1, "shape": [1, 4, 6], "pooled_from": None, "left_out": 0, "size": 24}
    return header | changes


def huge_tensor(tag: str, plugin: str, metadata: bytes) -> Any:
    """One number that says it is a terabyte of them."""
    value = events.tensor_value(tag, np.zeros(1, np.float32), plugin, metadata)
    dims = [tensor_shape_pb2.TensorShapeProto.Dim(size=2**38)]
    shape = tensor_shape_pb2.TensorShapeProto(dim=dims)
    value.tensor.CopyFrom(
        tensor_pb2.TensorProto(dtype=types_pb2.DT_FLOAT, tensor_shape=shape, float_val=[1.0])
    )
    return value

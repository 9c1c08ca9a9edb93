"""ONNX models to measure on: the paper's networks and ResNet-50, with random weights."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

__all__ = ["WIDTHS", "resnet50", "vanilla_net"]

WIDTHS = {
    "s": (16, 16, 32, 32, 64),
    "m": (64, 64, 128, 128, 256),
    "xxl": (256, 256, 512, 512, 1024),
}
"""Channels of conv1, conv2, conv3, conv4 and fc1 of the paper's networks, by size (Table 1)."""


class _Writer:
    """Nodes and weights, one after another."""

    def __init__(self) -> None:
        self.nodes: list = []
        self.weights: list = []
        self._random = np.random.default_rng(0)

    def add(self, operator: str, *inputs: str, **attributes) -> str:
        output = f"{operator}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def store(self, name: str, array: NDArray) -> str:
        self.weights.append(numpy_helper.from_array(array, name))
        return name

    def layer(self, operator: str, name: str, value: str, shape: tuple, **attributes) -> str:
        """A layer with weights of variance 2 / fan-in and a zero bias."""
        scale = np.sqrt(2 / np.prod(shape[1:]))
        weights = (self._random.normal(size=shape) * scale).astype(np.float32)
        stored = self.store(f"{name}.weight", weights)
        bias = self.store(f"{name}.bias", np.zeros(shape[0], np.float32))
        return self.add(operator, value, stored, bias, **attributes)

    def model(self, side: int, output: str) -> bytes:
        shape = ["batch", 3, side, side]
        graph = helper.make_graph(
            self.nodes,
            "network",
            [helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
            self.weights,
        )
        imports = [helper.make_opsetid("", 18)]
        return helper.make_model(graph, opset_imports=imports, ir_version=8).SerializeToString()


def vanilla_net(size: str, side: int = 32) -> bytes:
    """vanillaNet of Table 1: conv-ReLU-conv-ReLU-maxpool twice, dense-ReLU-dense."""
    made = _Writer()
    widths = WIDTHS[size]
    value, channels = "input", 3
    for number, width in enumerate(widths[:4], start=1):
        shape = (width, channels, 3, 3)
        value = made.add("Relu", made.layer("Conv", f"conv{number}", value, shape, pads=[1] * 4))
        channels = width
        if number in (2, 4):
            value = made.add("MaxPool", value, kernel_shape=[2, 2], strides=[2, 2])
    value = made.add("Flatten", value)
    shape = (widths[4], channels * (side // 4) ** 2)
    value = made.add("Relu", made.layer("Gemm", "fc1", value, shape, transB=1))
    return made.model(side, made.layer("Gemm", "fc2", value, (100, widths[4]), transB=1))


def resnet50(side: int = 224) -> bytes:
    """ResNet-50 with batch normalisation folded, as PyTorch's exporter writes it."""
    made = _Writer()
    value = made.layer("Conv", "conv1", "input", (64, 3, 7, 7), pads=[3] * 4, strides=[2, 2])
    value = made.add("Relu", value)
    value = made.add("MaxPool", value, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    channels = 64
    for stage, (width, blocks) in enumerate([(64, 3), (128, 4), (256, 6), (512, 3)], start=1):
        for block in range(blocks):
            stride = 2 if stage > 1 and block == 0 else 1
            name = f"layer{stage}.{block}"
            value = _bottleneck(made, name, value, channels, width, stride)
            channels = 4 * width
    value = made.add("Flatten", made.add("GlobalAveragePool", value))
    return made.model(side, made.layer("Gemm", "fc", value, (1000, channels), transB=1))


def _bottleneck(
    made: _Writer, name: str, value: str, channels: int, width: int, stride: int
) -> str:
    steps = {"strides": [stride, stride]}
    inner = made.add("Relu", made.layer("Conv", f"{name}.conv1", value, (width, channels, 1, 1)))
    inner = made.layer("Conv", f"{name}.conv2", inner, (width, width, 3, 3), pads=[1] * 4, **steps)
    inner = made.add("Relu", inner)
    inner = made.layer("Conv", f"{name}.conv3", inner, (4 * width, width, 1, 1))
    if channels != 4 * width:
        shape = (4 * width, channels, 1, 1)
        value = made.layer("Conv", f"{name}.downsample.0", value, shape, **steps)
    return made.add("Relu", made.add("Add", inner, value))

"""The networks of the paper's Table 1 and Fig. 2.

vanillaNet is conv3x3-ReLU-conv3x3-ReLU-maxpool2 twice, then dense-ReLU-dense; the other networks
are the same with a dropout or a batch normalisation a conv block, or with penalties on some layers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from sparsight.errors import UsageError, nearest

__all__ = ["NETWORKS", "WIDTHS", "NetworkSpec", "PaperNet", "build", "glorot"]

Block = Literal["plain", "dropout", "norm"]
Placement = Literal["block", "convolution"]
Padding = Literal["same", "valid"]
Initialisation = Literal["glorot", "torch"]

WIDTHS = {
    "s": (16, 16, 32, 32, 64),
    "m": (64, 64, 128, 128, 256),
    "xxl": (256, 256, 512, 512, 1024),
}
"""Channels of conv1, conv2, conv3, conv4 and fc1, by size (Table 1)."""


@dataclass(frozen=True)
class NetworkSpec:
    """One row of the paper's Table 2."""

    block: Block = "plain"
    sparsity: tuple[str, ...] = ()
    """Layers that lambda is on."""
    decorrelation: tuple[str, ...] = ()
    """Layers that kappa is on."""


_DEEP = ("conv3", "conv4", "fc1")

NETWORKS = {
    "vanillaNet": NetworkSpec(),
    "dropNet": NetworkSpec(block="dropout"),
    "normNet": NetworkSpec(block="norm"),
    "sr1Net": NetworkSpec(sparsity=("conv1", "conv2", *_DEEP)),
    "sr2Net": NetworkSpec(sparsity=_DEEP),
    "sr3Net": NetworkSpec(sparsity=_DEEP, decorrelation=("conv1",)),
}


class PaperNet(nn.Module):
    """The paper's baseline network (Fig. 2), with one extension a conv block.

    Takes [N, channels, side, side] and gives logits [N, classes]; `side` is a multiple of 4.
    Weights are Glorot-uniform and biases zero, Keras's defaults, which the paper's wording points
    to. Dropout is .25, and stands after the pooling, as the batch normalisation does.
    """

    def __init__(
        self,
        widths: tuple[int, int, int, int, int],
        channels: int = 3,
        side: int = 32,
        classes: int = 100,
        block: Block = "plain",
        *,
        placement: Placement = "block",
        padding: Padding = "same",
        initialisation: Initialisation = "glorot",
    ) -> None:
        super().__init__()
        if side % 4:
            raise UsageError(f"images of side {side}: expected a multiple of 4, for two poolings")
        first, second, third, fourth, dense = widths
        of_conv: Block = block if placement == "convolution" else "plain"
        of_block: Block = block if placement == "block" else "plain"
        self.conv1 = nn.Conv2d(channels, first, 3, padding=padding)
        self.conv1_extension = _extension(of_conv, first)
        self.conv1_relu = nn.ReLU()
        self.conv2 = nn.Conv2d(first, second, 3, padding=padding)
        self.conv2_extension = _extension(of_conv, second)
        self.conv2_relu = nn.ReLU()
        self.block1 = _extension(of_block, second)
        self.conv3 = nn.Conv2d(second, third, 3, padding=padding)
        self.conv3_extension = _extension(of_conv, third)
        self.conv3_relu = nn.ReLU()
        self.conv4 = nn.Conv2d(third, fourth, 3, padding=padding)
        self.conv4_extension = _extension(of_conv, fourth)
        self.conv4_relu = nn.ReLU()
        self.block2 = _extension(of_block, fourth)
        self.fc1 = nn.Linear(fourth * _side_after(side, padding) ** 2, dense)
        self.fc1_relu = nn.ReLU()
        self.fc2 = nn.Linear(dense, classes)
        if initialisation == "glorot":
            glorot(self)

    def forward(self, images: Tensor) -> Tensor:
        """Logits [N, classes]."""
        features = self.conv1_relu(self.conv1_extension(self.conv1(images)))
        features = self.conv2_relu(self.conv2_extension(self.conv2(features)))
        features = self.block1(F.max_pool2d(features, 2))
        features = self.conv3_relu(self.conv3_extension(self.conv3(features)))
        features = self.conv4_relu(self.conv4_extension(self.conv4(features)))
        features = self.block2(F.max_pool2d(features, 2))
        logits: Tensor = self.fc2(self.fc1_relu(self.fc1(features.flatten(1))))
        return logits


def glorot(network: nn.Module) -> None:
    """Weights Glorot-uniform and biases zero, in place, in the order of definition."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)  # type: ignore[arg-type]  # both have one


def build(
    network: str,
    size: str,
    *,
    channels: int = 3,
    side: int = 32,
    classes: int = 100,
    placement: Placement = "block",
    padding: Padding = "same",
    initialisation: Initialisation = "glorot",
) -> PaperNet:
    """A network by its name and size in the paper: `build("sr2Net", "m")`.

    The layers of its penalties are in `NETWORKS[network]`. `placement` puts dropout or batch
    normalisation after each convolution instead of one a block; `initialisation="torch"` keeps
    PyTorch's own weights. Raises UsageError for unknown names.
    """
    if network not in NETWORKS:
        raise UsageError(f"unknown network {network!r}; {nearest(network, NETWORKS)}")
    if size not in WIDTHS:
        raise UsageError(f"unknown size {size!r}; {nearest(size, WIDTHS)}")
    block = NETWORKS[network].block
    return PaperNet(
        WIDTHS[size],
        channels,
        side,
        classes,
        block,
        placement=placement,
        padding=padding,
        initialisation=initialisation,
    )


def _side_after(side: int, padding: Padding) -> int:
    """Height and width that reach fc1."""
    return side // 4 if padding == "same" else ((side - 4) // 2 - 4) // 2


def _extension(block: str, channels: int) -> nn.Module:
    if block == "dropout":
        return nn.Dropout(0.25)
    if block == "norm":
        return nn.BatchNorm2d(channels)
    return nn.Identity()

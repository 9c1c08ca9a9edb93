"""LeNet and AlexNet of the paper's Table 3, fitted to images of 32 x 32 and 64 x 64.

The paper does not print its variants. Ours: LeNet-5 with ReLU and max pooling, without padding, as
it is for 32 x 32, with a larger fc1 for 64 x 64. AlexNet with torchvision's widths; its first
convolution, 11 x 11 with stride 4 for 224 x 224, is 5 x 5 with stride 1 (64 x 64: 2), and poolings
are 2 x 2, so that 4 x 4 cells reach the dense layers, which keep their dropout of one half.

"-sr" adds the penalties of sr3Net: lambda on the deeper half of the hidden layers, kappa on conv1.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from sparsight.errors import UsageError, nearest

from .networks import Initialisation, NetworkSpec, glorot

__all__ = ["CLASSICS", "AlexNet", "LeNet", "build_classic"]

CLASSICS = {
    "LeNet": NetworkSpec(),
    "LeNet-sr": NetworkSpec(sparsity=("conv2", "fc1", "fc2"), decorrelation=("conv1",)),
    "AlexNet": NetworkSpec(),
    "AlexNet-sr": NetworkSpec(sparsity=("conv4", "conv5", "fc1", "fc2"), decorrelation=("conv1",)),
}


class LeNet(nn.Module):
    """LeNet-5: conv5x5 of 6 and 16 channels, each with ReLU and pooling, then 120, 84, classes."""

    def __init__(self, side: int = 32, classes: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 5)
        self.conv1_relu = nn.ReLU()
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.conv2_relu = nn.ReLU()
        self.fc1 = nn.Linear(16 * (((side - 4) // 2 - 4) // 2) ** 2, 120)
        self.fc1_relu = nn.ReLU()
        self.fc2 = nn.Linear(120, 84)
        self.fc2_relu = nn.ReLU()
        self.fc3 = nn.Linear(84, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits [N, classes]."""
        features = F.max_pool2d(self.conv1_relu(self.conv1(images)), 2)
        features = F.max_pool2d(self.conv2_relu(self.conv2(features)), 2)
        features = self.fc1_relu(self.fc1(features.flatten(1)))
        logits: Tensor = self.fc3(self.fc2_relu(self.fc2(features)))
        return logits


class AlexNet(nn.Module):
    """AlexNet with a smaller first convolution; `side` is 32 or 64."""

    def __init__(self, side: int = 32, classes: int = 10) -> None:
        super().__init__()
        if side not in (32, 64):
            raise UsageError(f"images of side {side}: AlexNet is built for sides of 32 and 64")
        self.conv1 = nn.Conv2d(3, 64, 5, stride=side // 32, padding=2)
        self.conv1_relu = nn.ReLU()
        self.conv2 = nn.Conv2d(64, 192, 5, padding=2)
        self.conv2_relu = nn.ReLU()
        self.conv3 = nn.Conv2d(192, 384, 3, padding=1)
        self.conv3_relu = nn.ReLU()
        self.conv4 = nn.Conv2d(384, 256, 3, padding=1)
        self.conv4_relu = nn.ReLU()
        self.conv5 = nn.Conv2d(256, 256, 3, padding=1)
        self.conv5_relu = nn.ReLU()
        self.dropout = nn.Dropout(0.5)
        self.fc1 = nn.Linear(256 * 4 * 4, 4096)
        self.fc1_relu = nn.ReLU()
        self.fc2 = nn.Linear(4096, 4096)
        self.fc2_relu = nn.ReLU()
        self.fc3 = nn.Linear(4096, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits [N, classes]."""
        features = F.max_pool2d(self.conv1_relu(self.conv1(images)), 2)
        features = F.max_pool2d(self.conv2_relu(self.conv2(features)), 2)
        features = self.conv4_relu(self.conv4(self.conv3_relu(self.conv3(features))))
        features = F.max_pool2d(self.conv5_relu(self.conv5(features)), 2).flatten(1)
        features = self.fc1_relu(self.fc1(self.dropout(features)))
        logits: Tensor = self.fc3(self.fc2_relu(self.fc2(self.dropout(features))))
        return logits


def build_classic(
    network: str, *, side: int = 32, classes: int = 10, initialisation: Initialisation = "glorot"
) -> LeNet | AlexNet:
    """A network of Table 3 by its name; the layers of its penalties are in `CLASSICS[network]`."""
    if network not in CLASSICS:
        raise UsageError(f"unknown network {network!r}; {nearest(network, CLASSICS)}")
    built = (LeNet if network.startswith("LeNet") else AlexNet)(side, classes)
    if initialisation == "glorot":
        glorot(built)
    return built

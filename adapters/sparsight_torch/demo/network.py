"""The demo's network: the paper's baseline (Fig. 2) in its smallest size."""

from __future__ import annotations

from torch import nn

__all__ = ["SPARSITY_TARGETS", "baseline"]

SPARSITY_TARGETS: dict[str, tuple[str, ...]] = {
    "vanillaNet": (),
    "sr2Net": ("conv3", "conv4", "fc1"),
}
"""The layers that a run penalises, by the name that the paper gives its network."""


def baseline(side: int, classes: int) -> nn.Sequential:
    """Logits [N, classes] of grey images [N, 1, side, side]; `side` is a multiple of 4.

    Weights are Glorot-uniform and biases zero.
    """
    network = nn.Sequential()
    for name, module in (
        ("conv1", nn.Conv2d(1, 16, 3, padding="same")),
        ("relu1", nn.ReLU()),
        ("conv2", nn.Conv2d(16, 16, 3, padding="same")),
        ("relu2", nn.ReLU()),
        ("pool1", nn.MaxPool2d(2)),
        ("conv3", nn.Conv2d(16, 32, 3, padding="same")),
        ("relu3", nn.ReLU()),
        ("conv4", nn.Conv2d(32, 32, 3, padding="same")),
        ("relu4", nn.ReLU()),
        ("pool2", nn.MaxPool2d(2)),
        ("flatten", nn.Flatten()),
        ("fc1", nn.Linear(32 * (side // 4) ** 2, 64)),
        ("relu5", nn.ReLU()),
        ("fc2", nn.Linear(64, classes)),
    ):
        network.add_module(name, module)
    for name, parameter in network.named_parameters():
        if name.endswith("weight"):
            nn.init.xavier_uniform_(parameter)
        else:
            nn.init.zeros_(parameter)
    return network

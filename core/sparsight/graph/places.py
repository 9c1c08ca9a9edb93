"""A place in the graph: where a layer is tapped, and which constants fit its channels there."""

from __future__ import annotations

from dataclasses import dataclass

import onnx

from .model import Model

__all__ = ["Place", "by_channel", "other_input"]


@dataclass(frozen=True)
class Place:
    """Where in the graph the linear output of a layer is."""

    tensor: str
    axis: int
    """Of the channels: counted from the start, or -1."""
    rank: int | None
    bias: str = ""
    """What a following Add adds."""
    dequantised: tuple[str, str] | None = None
    added: tuple[str, int] | None = None
    """A bias that is not in the tensor yet, since a following operator adds it inside: the constant
    that has it, and where in that it begins."""
    doubtful: str = ""
    """A following operator that adds a bias inside, of this layer or of another."""

    @property
    def trailing(self) -> int:
        """How many axes follow that of the channels."""
        return 0 if self.axis == -1 or self.rank is None else self.rank - 1 - self.axis


def other_input(node: onnx.NodeProto, tensor: str) -> str:
    """What an operator of two inputs takes beside a tensor, or ""."""
    if len(node.input) != 2:
        return ""
    return str(node.input[1] if node.input[0] == tensor else node.input[0])


def by_channel(model: Model, name: str, channels: int, trailing: int) -> bool:
    """Whether a constant has one number a channel: [D], or [D, 1, 1] after a Conv."""
    shape = model.shape_of(name) if name else None
    if shape is None:
        return False
    wanted = (channels,) + (1,) * trailing
    return shape[-len(wanted) :] == wanted and all(side == 1 for side in shape[: -len(wanted)])

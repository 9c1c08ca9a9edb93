"""Which axis of a module's output holds the channels."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

from sparsight.errors import UsageError

from .capture import in_backward
from .targets import channel_axis, filter_shape, is_measurable

__all__ = ["ChannelAxes", "channels_of"]


class ChannelAxes:
    """Tells the channel axis of targets' outputs.

    A layer or a normalisation knows its own. Anything else, such as an activation, has the axis of
    the layer, normalisation or embedding that ran last before it, among those whose outputs have as
    many axes: `passed` is told of these. Where its channels are not found there, as after a
    transposition, nobody can tell.
    """

    def __init__(self, given: int | None = None) -> None:
        self._given = given
        self._latest: dict[int, tuple[int, int]] = {}  # axis and channels, by number of axes
        self._told: dict[tuple[str, torch.Size], int] = {}

    def begin(self) -> None:
        """A forward begins: nothing has run before."""
        self._latest.clear()

    def passed(self, axis: int, channels: int, output: Tensor) -> None:
        """A layer has run, which has so many channels along an axis of its output."""
        if isinstance(output, Tensor):
            self._latest[output.ndim] = (axis, channels)

    def of(self, name: str, module: nn.Module, output: Tensor) -> int:
        """The channel axis of a target's output. Raises UsageError where it cannot be told."""
        if self._given is not None:
            return self._given
        if is_measurable(module):
            _check_batch(name, module, output)
            return channel_axis(module)
        if torch.compiler.is_compiling():
            return self._found(name, module, output)
        # A checkpoint runs parts of a network again, in another order: it needs the same axes.
        key = (name, output.shape)
        if key not in self._told or not in_backward():
            self._told[key] = self._found(name, module, output)
        return self._told[key]

    def _found(self, name: str, module: nn.Module, output: Tensor) -> int:
        if output.ndim == 2:
            return 1
        axis, channels = channels_of(module) or self._latest.get(output.ndim, (0, 0))
        if axis and output.shape[axis] == channels:
            return axis
        raise UsageError(
            f"cannot tell the channel axis of target {name!r}: it returned "
            f"{tuple(output.shape)}, and the layer before it does not say which of these axes "
            "holds the channels; pass axis=1, axis=-1 or another to the penalty"
        )


def channels_of(module: nn.Module) -> tuple[int, int] | None:
    """Channel axis of a module's output, and how many channels; None where its type does not say.

    Subclasses of LayerNorm often transpose: they do not say.
    """
    if isinstance(module, _ConvNd):
        return 1, module.out_channels
    if is_measurable(module):
        return -1, filter_shape(module)[0]
    if isinstance(module, _NormBase):
        return 1, module.num_features
    if isinstance(module, nn.GroupNorm):
        return 1, module.num_channels
    if isinstance(module, nn.Embedding):
        return -1, module.embedding_dim
    if type(module) in (nn.LayerNorm, nn.RMSNorm) and len(module.normalized_shape) == 1:  # type: ignore[arg-type]
        return -1, int(module.normalized_shape[0])  # type: ignore[index]
    return None


def _check_batch(name: str, module: nn.Module, output: Tensor) -> None:
    if isinstance(module, _ConvNd) and output.ndim != len(module.kernel_size) + 2:
        raise UsageError(
            f"target {name!r} returned {tuple(output.shape)}, which is one sample without a "
            "batch; give the network a batch, even if it is of one sample"
        )

"""What computes the entropy and its gradient: torch operations, Triton kernels, or a compiler."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from typing import Any, Literal

import torch
from torch import Tensor

__all__ = [
    "chunks",
    "compute_entropy",
    "entropy_backend",
    "entropy_of_exponentials",
    "plain_entropy",
    "widened",
]

_CHUNK = 2**18  # values: 1 MiB in float32


def compute_entropy(activations: Tensor, axis: int) -> Tensor:
    """`functional.rfav_entropy`, by the backend that fits."""
    function = _FUNCTIONS.get(entropy_backend(activations))
    if function is None:
        return plain_entropy(widened(activations), axis)
    result: Tensor = function.apply(activations, axis)
    return result


def entropy_backend(activations: Tensor) -> Literal["plain", "torch", "triton"]:
    """What `rfav_entropy` computes with.

    "plain" operations that a compiler fuses, an autograd function of "torch" operations, or one of
    "triton" kernels: on CUDA, where triton is installed.
    """
    if torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active():
        return "plain"
    return "triton" if activations.is_cuda and _has_triton() else "torch"


class TorchEntropy(torch.autograd.Function):
    """Entropy with its analytic gradient, dH/da = -p (ln p + H)."""

    @staticmethod
    def forward(ctx: Any, activations: Tensor, axis: int) -> Tensor:
        parts = [_chunk_entropy(chunk, axis) for chunk in chunks(activations, axis)]
        maximum, log_total, entropy = (torch.cat(part) for part in zip(*parts, strict=True))
        ctx.axis = axis
        ctx.save_for_backward(activations, maximum, log_total, entropy)
        return entropy.squeeze(axis)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        activations, *saved = ctx.saved_tensors
        if torch.is_grad_enabled():  # create_graph=True: only operations that autograd can follow
            return _plain_gradient(activations, gradient, ctx.axis), None
        result = torch.empty_like(activations)
        parts = chunks(activations, ctx.axis)
        sizes = [len(part) for part in parts]
        others = (part.split(sizes) for part in (*saved, gradient.unsqueeze(ctx.axis), result))
        for chunk, maximum, log_total, entropy, weight, target in zip(parts, *others, strict=True):
            logarithms = (widened(chunk) - maximum).sub_(log_total)
            probabilities = logarithms.exp().mul_(-weight)
            torch.mul(logarithms.add_(entropy), probabilities, out=target)
        return result, None


class TritonEntropy(torch.autograd.Function):
    """The same by Triton kernels."""

    @staticmethod
    def forward(ctx: Any, activations: Tensor, axis: int) -> Tensor:
        from . import triton_entropy

        saved = triton_entropy.forward(activations, axis)
        ctx.axis = axis
        ctx.save_for_backward(activations, *saved)
        return triton_entropy.unrolled(saved[2], activations, axis)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        from . import triton_entropy

        activations, *saved = ctx.saved_tensors
        if torch.is_grad_enabled():
            return _plain_gradient(activations, gradient, ctx.axis), None
        return triton_entropy.backward(activations, ctx.axis, tuple(saved), gradient), None


_FUNCTIONS: dict[str, type[torch.autograd.Function]] = {
    "torch": TorchEntropy,
    "triton": TritonEntropy,
}


@cache
def _has_triton() -> bool:
    return find_spec("triton") is not None


def _chunk_entropy(activations: Tensor, axis: int) -> tuple[Tensor, Tensor, Tensor]:
    """Maximum, ln S and H of each RFAV, with an axis of length 1 in place of the channels."""
    values = widened(activations)
    # Maximum and ln S are kept apart: their sum would round p by 6% at an offset of 1e6.
    maximum = values.amax(axis, keepdim=True)
    shifted = values - maximum
    return maximum, *entropy_of_exponentials(shifted.exp(), shifted, axis)


def entropy_of_exponentials(
    exponentials: Tensor, shifted: Tensor, axis: int
) -> tuple[Tensor, Tensor]:
    """ln S and H from e^(a - m) and a - m; overwrites the former."""
    total = exponentials.sum(axis, keepdim=True)
    weighted = exponentials.mul_(shifted).sum(axis, keepdim=True)
    log_total = total.log()
    return log_total, log_total - weighted.div_(total)


def chunks(activations: Tensor, axis: int) -> tuple[Tensor, ...]:
    """Parts of the batch that stay in a CPU's cache between operations: twice as fast forward."""
    if activations.device.type != "cpu" or axis % activations.ndim == 0 or not len(activations):
        return (activations,)
    samples = max(1, _CHUNK * len(activations) // max(1, activations.numel()))
    return tuple(activations.split(samples))


def _plain_gradient(activations: Tensor, gradient: Tensor, axis: int) -> Tensor:
    logarithms = widened(activations).log_softmax(axis)
    probabilities = logarithms.exp()
    entropy = -(probabilities * logarithms).sum(axis, keepdim=True)
    result = -probabilities * (logarithms + entropy) * gradient.unsqueeze(axis)
    return result.to(activations.dtype)


def plain_entropy(values: Tensor, axis: int) -> Tensor:
    """H by operations that autograd and compilers can follow."""
    logarithms = values.log_softmax(axis)
    return -(logarithms.exp() * logarithms).sum(axis)


def widened(values: Tensor) -> Tensor:
    """The values in float32, or in float64 where they are."""
    return values if values.dtype == torch.float64 else values.float()

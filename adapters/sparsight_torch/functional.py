"""The equations as differentiable PyTorch functions, for people who do not want hooks.

Source: Huesmann, Klemm, Linsen, Risse, arXiv 2002.09237. All of them compute in float32 or better,
also under autocast and for half-precision input.
"""

from __future__ import annotations

import math
from functools import cache
from importlib.util import find_spec
from typing import Any, Literal

import torch
from torch import Tensor

from sparsight.correlation import Centre
from sparsight.errors import UsageError

__all__ = [
    "Form",
    "Reduction",
    "decorrelation_penalty",
    "entropy_backend",
    "filter_correlations",
    "rfav_entropy",
    "rfav_rms",
    "scale_free_entropy",
    "sparsity_penalty",
]

Reduction = Literal["sum", "mean"]
Form = Literal["signed", "squared", "positive"]

_CHUNK = 2**18  # values: 1 MiB in float32


def rfav_entropy(activations: Tensor, axis: int = 1) -> Tensor:
    """Entropy of the softmax of each RFAV (paper, Eq. 2-4), in nats, between 0 and ln D.

    `activations` holds the D channels along `axis`; the result has the other axes: [N, D, A, B]
    gives [N, A, B], in float32 (float64 for float64). An RFAV that holds a NaN or an infinity has
    H = NaN. The gradient is dH/da = -p (ln p + H), and can itself be differentiated.

    In eager mode an autograd function keeps only the activations themselves, and three numbers
    a position; under torch.compile and torch.func the plain operations are left to the compiler.
    """
    if not -activations.ndim <= axis < activations.ndim:
        shape = tuple(activations.shape)
        raise UsageError(f"channel axis {axis} does not exist in a tensor of shape {shape}")
    function = _FUNCTIONS.get(entropy_backend(activations))
    if function is None:
        return _plain_entropy(_widened(activations), axis)
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


def scale_free_entropy(activations: Tensor, axis: int = 1) -> Tensor:
    """Relative entropy of softmax(a / rms(a)) of each RFAV, between 0 and 1; axes as above.

    Falls only when the pattern of the activations grows sparse, not when they merely grow. An RFAV
    of zeros counts as dense: 1. NaN for D = 1.
    """
    values = _widened(activations)
    channels = values.shape[axis]
    peak, scaled, rms = _scaled(values, axis)
    entropy = rfav_entropy(scaled / torch.where(rms > 0, rms, 1), axis)
    relative = entropy / (math.log(channels) or torch.nan)
    # dividing by an infinite peak would give zeros, hence a number
    return torch.where(peak.squeeze(axis).isfinite(), relative, torch.nan)


def rfav_rms(activations: Tensor, axis: int = 1) -> Tensor:
    """Root mean square of each RFAV over its D channels; NaN where H is NaN."""
    peak, _, rms = _scaled(_widened(activations), axis)
    return torch.where(peak.isfinite(), peak * rms, torch.nan).squeeze(axis)


@torch.no_grad()
def rfav_statistics(activations: Tensor, axis: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    """`rfav_entropy`, `rfav_rms` and `scale_free_entropy` in one go, without a gradient.

    A quarter of the time of the three on a CPU: they share the passes over the activations, and
    each part of the batch stays in the cache.
    """
    parts = [_chunk_statistics(chunk, axis) for chunk in _chunks(activations, axis)]
    entropy, rms, scale_free = (torch.cat(part) for part in zip(*parts, strict=True))
    return entropy.squeeze(axis), rms.squeeze(axis), scale_free.squeeze(axis)


def sparsity_penalty(
    activations: Tensor, strength: float, axis: int = 1, reduction: Reduction = "sum"
) -> Tensor:
    """SparsityReg of one layer (paper, Eq. 5): -strength * H, summed over positions, mean over N.

    `activations` is [N, D, ...], or has its channels along `axis`; its first axis is the batch.
    `reduction="mean"` averages over positions too. A scalar, at most 0 for a positive strength.
    """
    if reduction not in ("sum", "mean"):
        raise UsageError(f"reduction={reduction!r}: 'sum' or 'mean' was wanted")
    if activations.ndim < 2:
        shape = tuple(activations.shape)
        raise UsageError(f"activations of shape {shape}: a batch of at least two axes was wanted")
    entropy = rfav_entropy(activations, axis)
    total = entropy.mean() if reduction == "mean" else entropy.sum() / entropy.shape[0]
    return -strength * total


def filter_correlations(weights: Tensor, centre: Centre = "own") -> Tensor:
    """Pearson coefficients c[d, e] between the filters of one layer: [D, D], between -1 and 1.

    `weights` is [D, ...], one filter a row. `centre="own"` subtracts from each filter the mean over
    its own weights; `centre="filters"` subtracts the mean filter, the literal wording of the
    paper's Eq. 6. Filters without variance have c = 0, and no gradient.
    """
    rows, _ = _unit_rows(weights, centre)
    return _gram(rows)


def decorrelation_penalty(
    weights: Tensor, strength: float, form: Form = "signed", centre: Centre = "own"
) -> Tensor:
    """DecorrReg of one layer (paper, Eq. 7): strength * the sum over pairs e < d of c[d, e].

    `weights` is [D, ...], one filter a row, K weights each. `form="signed"` is the sum as printed,
    in O(D K): with unit rows u it is (|sum_d u_d|^2 - D) / 2. `"squared"` sums c^2, which also
    removes pairs of opposite filters; `"positive"` sums only c > 0. A scalar.
    """
    rows, number = _unit_rows(weights, centre)
    if form == "signed":
        return strength * (rows.sum(0).square().sum() - number) / 2
    coefficients = _gram(rows)
    if form == "squared":
        return strength * (coefficients.square().sum() - number) / 2
    if form == "positive":
        return strength * (coefficients.relu().sum() - number) / 2
    raise UsageError(f"form={form!r}: 'signed', 'squared' or 'positive' was wanted")


class _RfavEntropy(torch.autograd.Function):
    """Entropy with its analytic gradient, dH/da = -p (ln p + H)."""

    @staticmethod
    def forward(ctx: Any, activations: Tensor, axis: int) -> Tensor:
        parts = [_chunk_entropy(chunk, axis) for chunk in _chunks(activations, axis)]
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
        chunks = _chunks(activations, ctx.axis)
        sizes = [len(chunk) for chunk in chunks]
        others = (part.split(sizes) for part in (*saved, gradient.unsqueeze(ctx.axis), result))
        for chunk, maximum, log_total, entropy, weight, target in zip(chunks, *others, strict=True):
            logarithms = (_widened(chunk) - maximum).sub_(log_total)
            probabilities = logarithms.exp().mul_(-weight)
            target.copy_(logarithms.add_(entropy).mul_(probabilities))
        return result, None


class _TritonEntropy(torch.autograd.Function):
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
    "torch": _RfavEntropy,
    "triton": _TritonEntropy,
}


@cache
def _has_triton() -> bool:
    return find_spec("triton") is not None


def _chunk_statistics(activations: Tensor, axis: int) -> tuple[Tensor, Tensor, Tensor]:
    values = _widened(activations)
    highest, lowest = values.amax(axis, keepdim=True), values.amin(axis, keepdim=True)
    peak = torch.maximum(highest, -lowest)
    shifted = values - highest
    buffer = shifted.exp()
    entropy = _entropy_of_exponentials(buffer, shifted, axis)
    torch.div(values, torch.where(peak > 0, peak, 1), out=buffer)
    rms = peak * torch.mul(buffer, buffer, out=buffer).mean(axis, keepdim=True).sqrt()
    torch.exp(shifted.div_(torch.where(rms > 0, rms, 1)), out=buffer)
    scale_free = _entropy_of_exponentials(buffer, shifted, axis)
    return entropy, rms, scale_free / (math.log(values.shape[axis]) or torch.nan)


def _entropy_of_exponentials(exponentials: Tensor, shifted: Tensor, axis: int) -> Tensor:
    """H from e^(a - m) and a - m; overwrites the former."""
    total = exponentials.sum(axis, keepdim=True)
    return total.log() - exponentials.mul_(shifted).sum(axis, keepdim=True).div_(total)


def _chunk_entropy(activations: Tensor, axis: int) -> tuple[Tensor, Tensor, Tensor]:
    """Maximum, ln S and H of each RFAV, with an axis of length 1 in place of the channels."""
    values = _widened(activations)
    # Maximum and ln S are kept apart: their sum would round p by 6% at an offset of 1e6.
    maximum = values.amax(axis, keepdim=True)
    shifted = values - maximum
    exponentials = shifted.exp()
    total = exponentials.sum(axis, keepdim=True)
    weighted = exponentials.mul_(shifted).sum(axis, keepdim=True)
    log_total = total.log()
    return maximum, log_total, log_total - weighted.div_(total)


def _chunks(activations: Tensor, axis: int) -> tuple[Tensor, ...]:
    """Parts of the batch that stay in a CPU's cache between operations: twice as fast forward."""
    if activations.device.type != "cpu" or axis % activations.ndim == 0 or not len(activations):
        return (activations,)
    samples = max(1, _CHUNK * len(activations) // max(1, activations.numel()))
    return tuple(activations.split(samples))


def _plain_gradient(activations: Tensor, gradient: Tensor, axis: int) -> Tensor:
    logarithms = _widened(activations).log_softmax(axis)
    probabilities = logarithms.exp()
    entropy = -(probabilities * logarithms).sum(axis, keepdim=True)
    result = -probabilities * (logarithms + entropy) * gradient.unsqueeze(axis)
    return result.to(activations.dtype)


def _plain_entropy(values: Tensor, axis: int) -> Tensor:
    logarithms = values.log_softmax(axis)
    return -(logarithms.exp() * logarithms).sum(axis)


def _unit_rows(weights: Tensor, centre: Centre) -> tuple[Tensor, Tensor]:
    """Centred filters of length 1, zero where a filter has no variance, and how many have any."""
    if centre not in ("own", "filters"):
        raise UsageError(f"centre={centre!r}: 'own' or 'filters' was wanted")
    filters = _widened(weights).flatten(1)
    centred = filters - filters.mean(1 if centre == "own" else 0, keepdim=True)
    lengths = filters.detach().norm(dim=1, keepdim=True)
    squares = centred.square().sum(1, keepdim=True)
    varied = squares.detach().sqrt() > 1e-6 * lengths  # what rounding leaves is no variance
    rows = torch.where(varied, centred / torch.where(varied, squares, 1).sqrt(), 0)
    return rows, varied.sum()


def _scaled(values: Tensor, axis: int) -> tuple[Tensor, Tensor, Tensor]:
    """Largest magnitude of each RFAV, the values divided by it, and the RMS of those.

    Divided first, so that no square overflows or vanishes.
    """
    peak = values.abs().amax(axis, keepdim=True)
    scaled = values / torch.where(peak > 0, peak, 1)
    return peak, scaled, scaled.square().mean(axis, keepdim=True).sqrt()


def _gram(rows: Tensor) -> Tensor:
    with torch.autocast(rows.device.type, enabled=False):  # which would multiply in half precision
        return rows @ rows.T


def _widened(values: Tensor) -> Tensor:
    return values if values.dtype == torch.float64 else values.float()

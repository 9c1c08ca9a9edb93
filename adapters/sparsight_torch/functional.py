"""The equations as differentiable PyTorch functions, for people who do not want hooks.

Source: Huesmann, Klemm, Linsen, Risse, arXiv 2002.09237. All of them compute in float32 or better,
also under autocast and for half-precision input.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from numpy.typing import NDArray
from torch import Tensor

from sparsight.errors import UsageError
from sparsight.maths.correlation import Centre

from .kernels.backends import chunks, compute_entropy, entropy_of_exponentials, widened
from .padding_mask import as_mask

__all__ = [
    "Form",
    "Reduction",
    "decorrelation_penalty",
    "filter_correlations",
    "hoyer_sparsity",
    "rfav_entropy",
    "rfav_rms",
    "scale_free_entropy",
    "sparsity_penalty",
]

Reduction = Literal["sum", "mean"]
Form = Literal["signed", "squared", "positive"]


def rfav_entropy(activations: Tensor, axis: int = 1) -> Tensor:
    """Entropy of the softmax of each RFAV (paper, Eq. 2-4), in nats, between 0 and ln D.

    `activations` holds the D channels along `axis`; the result has the other axes: [N, D, A, B]
    gives [N, A, B], in float32 (float64 for float64). An RFAV that holds a NaN or an infinity has
    H = NaN. The gradient is dH/da = -p (ln p + H), and can itself be differentiated.

    In eager mode an autograd function keeps only the activations themselves, and three numbers
    a position; under torch.compile and torch.func the plain operations are left to the compiler.
    """
    _check_axis(activations, axis)
    return compute_entropy(activations, axis)


def scale_free_entropy(activations: Tensor, axis: int = 1) -> Tensor:
    """Relative entropy of softmax(a / rms(a)) of each RFAV, between 0 and 1; axes as above.

    Falls only when the pattern of the activations grows sparse, not when they merely grow. An RFAV
    of zeros counts as dense: 1. NaN for D = 1.
    """
    _check_axis(activations, axis)
    values = widened(activations)
    channels = values.shape[axis]
    peak, scaled, rms = _scaled(values, axis)
    entropy = rfav_entropy(scaled / torch.where(rms > 0, rms, 1), axis)
    relative = entropy / (math.log(channels) or torch.nan)
    # dividing by an infinite peak would give zeros, hence a number
    return torch.where(peak.squeeze(axis).isfinite(), relative, torch.nan)


def rfav_rms(activations: Tensor, axis: int = 1) -> Tensor:
    """Root mean square of each RFAV over its D channels; NaN where H is NaN."""
    _check_axis(activations, axis)
    peak, _, rms = _scaled(widened(activations), axis)
    return torch.where(peak.isfinite(), peak * rms, torch.nan).squeeze(axis)


def hoyer_sparsity(activations: Tensor, axis: int = 1) -> Tensor:
    """Hoyer sparsity of each RFAV, between 0 (all magnitudes equal) and 1 (one is not zero).

    (sqrt(D) - |a|_1 / |a|_2) / (sqrt(D) - 1), from P. O. Hoyer, JMLR 5 (2004), Eq. 8; axes as
    above. Neither scale, sign nor order of the channels changes it. An RFAV of zeros counts as
    dense: 0. NaN where H is NaN, and for D = 1.
    """
    _check_axis(activations, axis)
    peak, scaled, rms = _scaled(widened(activations), axis)
    found = _hoyer(scaled.abs().mean(axis, keepdim=True), rms, activations.shape[axis])
    return torch.where(peak.isfinite(), found, torch.nan).squeeze(axis)


@torch.no_grad()
def channel_sums(activations: Tensor, axis: int, counted: Tensor) -> Tensor:
    """Sum of each channel over the RFAVs where `counted`, [N, *map], is true: [D] in float64."""
    _check_axis(activations, axis)
    rfavs = widened(activations).movedim(axis, -1)
    return torch.where(counted.unsqueeze(-1), rfavs, 0).flatten(0, -2).sum(0, dtype=torch.float64)


@torch.no_grad()
def rfav_statistics(activations: Tensor, axis: int = 1) -> tuple[dict[str, Tensor], Tensor]:
    """Everything of each RFAV in one go, without a gradient, by the names of the table: "entropy",
    "rms", "scale_free_entropy" and "hoyer_sparsity". And `channel_sums` of all of them.

    A quarter of the time of the single functions on a CPU: they share the passes over the
    activations, and each part of the batch stays in the cache.
    """
    parts = [_chunk_statistics(chunk, axis) for chunk in chunks(activations, axis)]
    sums = sum(total for _, total in parts)
    assert isinstance(sums, Tensor)
    names = parts[0][0]
    return {n: torch.cat([each[n] for each, _ in parts]).squeeze(axis) for n in names}, sums


def sparsity_penalty(
    activations: Tensor,
    strength: float,
    axis: int = 1,
    reduction: Reduction = "sum",
    mask: Tensor | NDArray[Any] | None = None,
) -> Tensor:
    """SparsityReg of one layer (paper, Eq. 5): -strength * H, summed over positions, mean over N.

    `activations` is [N, D, ...], or has its channels along `axis`; its first axis is the batch.
    `reduction="mean"` averages over positions too. `mask`, of the shape of `activations` without
    its channels, is 0 at padded positions, which count for nothing. A scalar, at most 0 for a
    positive strength.
    """
    if reduction not in ("sum", "mean"):
        raise UsageError(f"reduction={reduction!r}: expected 'sum' or 'mean'")
    _check_tensor(activations)
    if activations.ndim < 2:
        shape = tuple(activations.shape)
        raise UsageError(f"activations of shape {shape}: expected a batch, with at least two axes")
    _check_axis(activations, axis)
    if axis % activations.ndim == 0:
        raise UsageError(f"channel axis {axis} is the first axis, which is the batch")
    if activations.numel() == 0:
        shape = tuple(activations.shape)
        raise UsageError(
            f"activations of shape {shape}: an empty batch has no penalty; leave it out"
        )
    entropy = rfav_entropy(activations, axis)
    counted = None if mask is None else as_mask(mask)
    if counted is not None and counted.shape != entropy.shape:
        raise UsageError(
            f"a mask of shape {tuple(counted.shape)} does not match positions of shape "
            f"{tuple(entropy.shape)}"
        )
    return -strength * reduced(entropy, reduction, counted)


def reduced(values: Tensor, reduction: Reduction, mask: Tensor | None) -> Tensor:
    """Numbers [N, *map] summed over positions, mean over N, or mean over both; where mask is not 0.

    A scalar.
    """
    if mask is None:
        return values.mean() if reduction == "mean" else values.sum() / values.shape[0]
    counted = mask.to(values.device) != 0
    total = torch.where(counted, values, 0).sum()  # a product would keep the NaN of a padded row
    number = counted.sum().clamp(min=1) if reduction == "mean" else values.shape[0]
    return total / number


def filter_correlations(weights: Tensor, centre: Centre = "own") -> Tensor:
    """Pearson coefficients c[d, e] between the filters of one layer: [D, D], between -1 and 1.

    `weights` is [D, ...], one filter a row. `centre="own"` subtracts from each filter the mean over
    its own weights; `centre="filters"` subtracts the mean filter, the literal wording of the
    paper's Eq. 6. Filters without variance have c = 0, and no gradient.
    """
    return _gram(*_centred(weights, centre))


def decorrelation_penalty(
    weights: Tensor, strength: float, form: Form = "signed", centre: Centre = "own"
) -> Tensor:
    """DecorrReg of one layer (paper, Eq. 7): strength * the sum over pairs e < d of c[d, e].

    `weights` is [D, ...], one filter a row, K weights each. `form="signed"` is the sum as printed,
    in O(D K): with unit rows u it is (|sum_d u_d|^2 - D) / 2. `"squared"` sums c^2, which also
    removes pairs of opposite filters; `"positive"` sums only c > 0. A scalar.
    """
    centred, inverse_lengths = _centred(weights, centre)
    number = inverse_lengths.count_nonzero()
    if form == "signed":
        with _full_precision(centred):
            total = inverse_lengths @ centred  # the sum of the unit rows, none of which is built
        return strength * (total.square().sum() - number) / 2
    coefficients = _gram(centred, inverse_lengths)
    if form == "squared":
        return strength * (coefficients.square().sum() - number) / 2
    if form == "positive":
        return strength * (coefficients.relu().sum() - number) / 2
    raise UsageError(f"form={form!r}: expected 'signed', 'squared' or 'positive'")


def _check_tensor(values: object) -> None:
    if not isinstance(values, Tensor) or values.is_complex():
        kind = str(values.dtype) if isinstance(values, Tensor) else type(values).__name__
        raise UsageError(f"expected a tensor of real numbers, not a {kind}")


def _check_axis(activations: Tensor, axis: int) -> None:
    _check_tensor(activations)
    shape = tuple(activations.shape)
    if not -len(shape) <= axis < len(shape):
        raise UsageError(f"channel axis {axis} does not exist in a tensor of shape {shape}")
    if shape[axis] == 0:
        raise UsageError(f"a tensor of shape {shape} has no channels along axis {axis}")


def _centred(weights: Tensor, centre: Centre) -> tuple[Tensor, Tensor]:
    """Centred filters, [D, K], and the inverse of their lengths, [D]: 0 without variance."""
    if centre not in ("own", "filters"):
        raise UsageError(f"centre={centre!r}: expected 'own' or 'filters'")
    _check_tensor(weights)
    if weights.ndim < 2 or weights.numel() == 0:
        shape = tuple(weights.shape)
        raise UsageError(f"weights of shape {shape}: expected [D, ...], one filter per row")
    filters = widened(weights).flatten(1)
    centred = filters - filters.mean(1 if centre == "own" else 0, keepdim=True)
    squares = centred.square().sum(1)
    lengths = filters.detach().norm(dim=1)
    varied = squares.detach().sqrt() > 1e-6 * lengths  # what rounding leaves is no variance
    return centred, torch.where(varied, torch.where(varied, squares, 1).rsqrt(), 0)


def _scaled(values: Tensor, axis: int) -> tuple[Tensor, Tensor, Tensor]:
    """Largest magnitude of each RFAV, the values divided by it, and the RMS of those.

    Divided first, so that no square overflows or vanishes.
    """
    peak = values.abs().amax(axis, keepdim=True)
    scaled = values / torch.where(peak > 0, peak, 1)
    squares = scaled.square().mean(axis, keepdim=True)
    # The root of 0 has no gradient, and one RFAV of zeros would spoil those of all parameters.
    rms = torch.where(squares == 0, 0, torch.where(squares == 0, 1, squares).sqrt())
    return peak, scaled, rms


def _gram(centred: Tensor, inverse_lengths: Tensor) -> Tensor:
    rows = centred * inverse_lengths[:, None]
    with _full_precision(rows):
        return rows @ rows.T


def _full_precision(values: Tensor) -> torch.autocast:
    """Without autocast, which would multiply in half precision."""
    return torch.autocast(values.device.type, enabled=False)


def _hoyer(mean: Tensor, rms: Tensor, channels: int) -> Tensor:
    """From mean magnitude and RMS: |a|_1 / |a|_2 = sqrt(D) * mean|a| / rms(a)."""
    ratio = torch.where(rms == 0, 1, mean / torch.where(rms == 0, 1, rms))
    root = math.sqrt(channels)
    return ((1 - ratio) * (root / ((root - 1) or torch.nan))).clamp(0, 1)


def _chunk_statistics(activations: Tensor, axis: int) -> tuple[dict[str, Tensor], Tensor]:
    values = widened(activations)
    channels = values.shape[axis]
    highest, lowest = values.amax(axis, keepdim=True), values.amin(axis, keepdim=True)
    peak = torch.maximum(highest, -lowest)
    shifted = values - highest
    buffer = shifted.exp()
    _, entropy = entropy_of_exponentials(buffer, shifted, axis)
    torch.div(values, torch.where(peak > 0, peak, 1), out=buffer)
    mean = buffer.abs().mean(axis, keepdim=True)
    relative = torch.mul(buffer, buffer, out=buffer).mean(axis, keepdim=True).sqrt()
    rms = peak * relative
    torch.exp(shifted.div_(torch.where(rms > 0, rms, 1)), out=buffer)
    _, scale_free = entropy_of_exponentials(buffer, shifted, axis)
    found = {
        "entropy": entropy,
        "rms": rms,
        "scale_free_entropy": scale_free / (math.log(channels) or torch.nan),
        "hoyer_sparsity": _hoyer(mean, relative, channels),
    }
    positions = [other for other in range(1, values.ndim) if other != axis % values.ndim]
    sums = values.sum(positions) if positions else values
    return found, sums.reshape(-1, channels).sum(0, dtype=torch.float64)

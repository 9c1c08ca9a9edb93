"""RFAV entropy and its gradient as Triton kernels: each reads the activations once.

For CUDA in eager mode, where the same in torch operations moves about four times as many bytes. Any
dense layout is read as it lies (channels first, channels last, tokens). In Triton's interpreter the
kernels run on a CPU, which is how they are tested without an accelerator.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

__all__ = ["backward", "forward", "unrolled"]

_TILE = 2048  # values that a program holds at a time
_MOST_POSITIONS = 64


@triton.jit
def _forward(
    activations,
    maxima,
    log_totals,
    entropies,
    channels,
    positions,
    tiles,
    outer_stride,
    channel_stride,
    position_stride,
    ACCUMULATOR: tl.constexpr,
    CHANNELS: tl.constexpr,
    POSITIONS: tl.constexpr,
):
    outer = (tl.program_id(0) // tiles).to(tl.int64)
    at = (tl.program_id(0) % tiles).to(tl.int64) * POSITIONS + tl.arange(0, POSITIONS)
    inside = at < positions
    base = activations + outer * outer_stride + at[None, :] * position_stride
    # One pass: sums are rescaled whenever a block of channels holds a larger maximum.
    maximum = tl.full([POSITIONS], float("-inf"), ACCUMULATOR)
    total = tl.zeros([POSITIONS], ACCUMULATOR)
    weighted = tl.zeros([POSITIONS], ACCUMULATOR)
    for first in range(0, channels, CHANNELS):
        channel = first + tl.arange(0, CHANNELS).to(tl.int64)
        mask = (channel < channels)[:, None] & inside[None, :]
        values = tl.load(base + channel[:, None] * channel_stride, mask=mask, other=0.0)
        values = values.to(ACCUMULATOR)
        # tl.max may drop a NaN; it comes back in through the differences below
        highest = tl.max(tl.where(mask, values, float("-inf")), axis=0)
        grown = tl.maximum(maximum, highest)
        # before the first block there is nothing to rescale, and -inf - -inf would be NaN
        difference = tl.where(maximum == float("-inf"), 0.0, maximum - grown)
        scale = tl.exp(difference)
        shifted = tl.where(mask, values - grown[None, :], 0.0)
        exponentials = tl.where(mask, tl.exp(shifted), 0.0)
        weighted = scale * (weighted + difference * total) + tl.sum(exponentials * shifted, axis=0)
        total = scale * total + tl.sum(exponentials, axis=0)
        maximum = grown
    log_total = tl.log(total)
    target = outer * positions + at
    tl.store(maxima + target, maximum, mask=inside)
    tl.store(log_totals + target, log_total, mask=inside)
    tl.store(entropies + target, log_total - weighted / total, mask=inside)


@triton.jit
def _backward(
    activations,
    maxima,
    log_totals,
    entropies,
    gradients,
    results,
    channels,
    positions,
    tiles,
    outer_stride,
    channel_stride,
    position_stride,
    ACCUMULATOR: tl.constexpr,
    CHANNELS: tl.constexpr,
    POSITIONS: tl.constexpr,
):
    outer = (tl.program_id(0) // tiles).to(tl.int64)
    at = (tl.program_id(0) % tiles).to(tl.int64) * POSITIONS + tl.arange(0, POSITIONS)
    inside = at < positions
    source = outer * positions + at
    maximum = tl.load(maxima + source, mask=inside, other=0.0)
    log_total = tl.load(log_totals + source, mask=inside, other=0.0)
    entropy = tl.load(entropies + source, mask=inside, other=0.0)
    gradient = tl.load(gradients + source, mask=inside, other=0.0)
    base = outer * outer_stride + at[None, :] * position_stride
    for first in range(0, channels, CHANNELS):
        channel = first + tl.arange(0, CHANNELS).to(tl.int64)
        mask = (channel < channels)[:, None] & inside[None, :]
        offsets = base + channel[:, None] * channel_stride
        values = tl.load(activations + offsets, mask=mask, other=0.0).to(ACCUMULATOR)
        logarithms = values - maximum[None, :] - log_total[None, :]
        result = -tl.exp(logarithms) * (logarithms + entropy[None, :]) * gradient[None, :]
        tl.store(results + offsets, result.to(results.dtype.element_ty), mask=mask)


def forward(activations: Tensor, axis: int) -> tuple[Tensor, Tensor, Tensor]:
    """Maximum, ln S and H of each RFAV, float32 (float64 for float64), each [outer, positions].

    The order of RFAVs is that of `_rows`; `unrolled` brings H into the shape that a user expects.
    """
    rows = _rows(activations, axis)
    outer, _, positions = rows.shape
    kind = torch.float64 if rows.dtype == torch.float64 else torch.float32
    results = tuple(rows.new_empty((outer, positions), dtype=kind) for _ in range(3))
    _launch(_forward, rows, (rows, *results))
    return results  # type: ignore[return-value]  # three of them


def backward(activations: Tensor, axis: int, saved: tuple[Tensor, ...], gradient: Tensor) -> Tensor:
    """dH/da * gradient, in the shape, type and layout of the activations.

    `saved` is what `forward` returned; `gradient` is that of H as `unrolled`.
    """
    rows = _rows(activations, axis)
    results = torch.empty_like(rows)  # keeps the strides of any dense layout
    if results.stride() != rows.stride():
        rows = rows.contiguous()
        results = torch.empty_like(rows)
    incoming = _rows(gradient.unsqueeze(axis), axis, like=activations).squeeze(1).contiguous()
    _launch(_backward, rows, (rows, *saved, incoming, results))
    return _unrows(results, activations, axis)


def unrolled(entropy: Tensor, activations: Tensor, axis: int) -> Tensor:
    """H in the shape of the activations without their channels."""
    return _unrows(entropy.unsqueeze(1), activations, axis).squeeze(axis)


def _rows(values: Tensor, axis: int, like: Tensor | None = None) -> Tensor:
    """[outer, D, positions]: a view wherever the layout allows one.

    Channels that lie side by side (channels last, dense layers, tokens) make one long row of
    positions, outer = 1; otherwise outer is the batch.
    """
    if _channels_side_by_side(values if like is None else like, axis):
        return values.movedim(axis, -1).reshape(-1, values.shape[axis]).T.unsqueeze(0)
    first = values.movedim(axis, 1)
    return first.reshape(*first.shape[:2], -1)


def _unrows(rows: Tensor, activations: Tensor, axis: int) -> Tensor:
    """The inverse of `_rows`, for one channel or for all."""
    channels = rows.shape[1]
    if _channels_side_by_side(activations, axis):
        others = activations.movedim(axis, -1).shape[:-1]
        return rows[0].T.reshape(*others, channels).movedim(-1, axis)
    first = activations.movedim(axis, 1).shape
    return rows.reshape(first[0], channels, *first[2:]).movedim(1, axis)


def _channels_side_by_side(values: Tensor, axis: int) -> bool:
    return values.ndim < 3 or axis % values.ndim == 0 or values.stride(axis) == 1


def _launch(kernel: Any, rows: Tensor, tensors: tuple[Tensor, ...]) -> None:
    outer, channels, positions = rows.shape
    if not rows.numel():
        return
    # Tiles are long in the direction in which neighbours lie side by side.
    if rows.stride(1) == 1:
        tile_channels = min(triton.next_power_of_2(channels), _TILE)
        tile_positions = max(1, min(_MOST_POSITIONS, _TILE // tile_channels))
    else:
        tile_positions = min(triton.next_power_of_2(positions), _MOST_POSITIONS)
        tile_channels = min(triton.next_power_of_2(channels), _TILE // tile_positions)
    tiles = triton.cdiv(positions, tile_positions)
    with torch.cuda.device(rows.device) if rows.is_cuda else nullcontext():
        kernel[(tiles * outer,)](
            *tensors,
            channels,
            positions,
            tiles,
            *rows.stride(),
            ACCUMULATOR=tl.float64 if rows.dtype == torch.float64 else tl.float32,
            CHANNELS=tile_channels,
            POSITIONS=tile_positions,
        )

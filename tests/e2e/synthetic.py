"""Runs that look like an overfitting network and its regularised twin, without training one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sparsight.maths.correlation import CorrelationSummary
from sparsight.measure.accumulator import LayerAccumulator
from sparsight.measure.batch import BatchStatistics
from sparsight.measure.measurement import LayerMeasurement
from sparsight.probes.probe_set import shown_probes
from sparsight.runs.writer import RunWriter
from sparsight.schema import LayerInfo

ONSET = 14


def layer(name: str, channels: int, *map_shape: int) -> LayerInfo:
    """A convolution, or, where the map is a single cell, a dense layer."""
    operator = "Linear" if map_shape == (1, 1) else f"Conv{len(map_shape)}d"
    return LayerInfo(name, operator, channels, map_shape, 1, "linear output", None)


SMALL = (
    layer("conv1", 16, 32, 32),
    layer("conv2", 16, 32, 32),
    layer("conv3", 32, 16, 16),
    layer("conv4", 32, 16, 16),
    layer("fc1", 64, 1, 1),
)
"""vanillaNet-s of the paper."""


@dataclass(frozen=True)
class Plan:
    """What a made-up run holds."""

    layers: tuple[LayerInfo, ...] = SMALL
    epochs: int = 60
    probes: int = 12
    shown: int = 8
    overfits: bool = True
    seed: int = 0
    kind: Literal["picture", "series", "solid"] = "picture"
    """What the probes are."""


def pictures(count: int, side: int = 32, seed: int = 0) -> NDArray[np.float32]:
    """Blobs and bars, [count, 3, side, side], between 0 and 1."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:side, 0:side] / side
    images = []
    for _ in range(count):
        cx, cy, radius, turn = random.uniform((0.3, 0.3, 0.15, 0), (0.7, 0.7, 0.35, np.pi))
        blob = 1 / (1 + np.exp((np.hypot(x - cx, y - cy) - radius) * 40))
        bars = 0.5 + 0.5 * np.sin(22 * (x * np.cos(turn) + y * np.sin(turn)))
        tint = random.uniform(0.3, 1, (3, 1, 1))
        images.append(tint * (0.75 * blob + 0.25 * bars) + 0.05 * random.random((3, side, side)))
    return np.clip(np.stack(images), 0, 1).astype(np.float32)


def write_run(folder: Path, plan: Plan, writer: RunWriter | None = None, first: int = -1) -> None:
    """Write epochs `first` to `plan.epochs` of a run."""
    probes = pictures(plan.probes)
    shown = shown_probes([_as(plan.kind, probes)], range(plan.shown))
    own = writer or RunWriter(folder)
    for epoch in range(first, plan.epochs + 1):
        scalars = None if epoch < 0 else losses(plan, epoch)
        own.write(
            epoch,
            [measure(plan, index, epoch, probes) for index in range(len(plan.layers))],
            probes=shown,
            scalars=scalars,
            global_step=13 * (epoch + 1),
            wall_time=1.75e9 + 60 * epoch,
        )
    if writer is None:
        own.close()


def _as(kind: str, probes: NDArray[np.float32]) -> NDArray[np.float32]:
    """The same brightness as pictures, as series [N, L], or as solids [N, 1, A, B, C]."""
    grey = probes.mean(axis=1)
    if kind == "picture":
        return probes
    return grey[:, 16] if kind == "series" else np.repeat(grey[:, None, None], 6, axis=2)


def losses(plan: Plan, epoch: int) -> dict[str, float]:
    """Validation loss turns at ONSET where the run overfits."""
    random = np.random.default_rng([plan.seed, epoch + 1])
    fall = 1.9 * np.exp(-epoch / 6)
    rise = 0.02 * max(0, epoch - ONSET) ** 1.2 if plan.overfits else -0.002 * epoch
    return {
        "loss/training": float(0.05 + 2 * np.exp(-epoch / 9) + 0.01 * random.normal()),
        "loss/validation": float(0.7 + fall + rise + 0.04 * random.normal()),
    }


def measure(plan: Plan, index: int, epoch: int, probes: NDArray[Any]) -> LayerMeasurement:
    """One layer at one epoch, through the accumulator that real measurements go through."""
    info = plan.layers[index]
    random = np.random.default_rng([plan.seed, index, epoch + 1])
    depth = index / max(1, len(plan.layers) - 1)
    turned = 1 / (1 + np.exp(-(epoch - ONSET - 4 * (1 - depth)) / 3.5))
    fall = (0.08 + 0.62 * depth**1.5) * turned if plan.overfits else 0.05 * turned
    level = 0.985 - fall + 0.012 * random.normal()
    detail = _detail(probes, info.map_shape)
    share = level - (0.05 + 0.5 * fall) * detail + 0.01 * random.normal(size=detail.shape)
    entropy = np.clip(share, 0.02, 1) * np.log(info.channels)
    shape = entropy.shape
    growth = 1 + (25 if plan.overfits else 2) * depth * turned
    accumulator = LayerAccumulator(info, tuple(range(plan.shown)))
    accumulator.update(
        BatchStatistics(
            entropy=entropy.astype(np.float32),
            companions={
                "scale_free_entropy": np.full(shape, 0.9 + 0.03 * turned * depth, np.float32),
                "hoyer_sparsity": np.full(shape, 0.2 + 0.3 * fall, np.float32),
                "rms": np.full(shape, 0.12 * growth, np.float32),
            },
            channel_sums=random.normal(0, 0.05 * growth * entropy.size, info.channels),
            relu_maximum=random.normal(0.9 - 0.6 * fall, 0.5, info.channels).astype(np.float32),
            relu_zeros=int(entropy.size * info.channels * (0.5 + 0.3 * fall)),
        ),
        first=0,
    )
    return accumulator.result(_correlation(info.channels, 0.15 + 0.4 * fall, random))


def _detail(probes: NDArray[Any], shape: tuple[int, ...]) -> NDArray[np.floating[Any]]:
    """How much happens at each position of a probe, [probes, *shape], between 0 and 1."""
    grey = probes.mean(axis=1)
    if len(shape) != 2:
        return np.stack([np.resize(picture, shape) for picture in grey])
    rows, columns = (np.linspace(0, grey.shape[-1] - 1, side).round().astype(int) for side in shape)
    return np.asarray(grey[:, rows][:, :, columns])


def _correlation(channels: int, spread: float, random: np.random.Generator) -> CorrelationSummary:
    pairs = np.clip(random.normal(0.02, spread, channels * (channels - 1) // 2), -1, 1)
    counts = np.bincount(np.rint(pairs * 100).astype(int) + 100, minlength=201)
    return CorrelationSummary(
        counts=counts,
        mean=float(pairs.mean()),
        mean_absolute=float(np.abs(pairs).mean()),
        largest=float(pairs.max()),
        constant_filters=0,
    )

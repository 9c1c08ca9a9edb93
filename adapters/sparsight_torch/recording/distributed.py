"""Measuring a probe set with several processes: each takes a share, and all get the result."""

from __future__ import annotations

from collections.abc import Iterator

import torch.distributed as dist

from sparsight.measure.accumulator import LayerAccumulator

__all__ = ["batches", "gather", "rank"]


def ranks() -> int:
    """Processes that train together; 1 where training is not distributed."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Number of this process among those that train together."""
    return dist.get_rank() if ranks() > 1 else 0


def batches(probes: int, batch_size: int) -> Iterator[tuple[int, int]]:
    """First probe and end of each batch of this rank's share; as many batches on every rank."""
    share = -(-probes // ranks())
    end = min(probes, (rank() + 1) * share)
    for first in range(rank() * share, (rank() + 1) * share, batch_size):
        yield first, min(first + batch_size, end)


def gather(accumulators: dict[str, LayerAccumulator]) -> dict[str, LayerAccumulator]:
    """What all ranks have measured, added up in the order of the ranks; the same on all of them."""
    if ranks() == 1:
        return accumulators
    gathered: list[dict[str, LayerAccumulator]] = [{} for _ in range(ranks())]
    dist.all_gather_object(gathered, accumulators)
    first, *others = gathered
    for other in others:
        for name, accumulator in other.items():
            first[name].merge(accumulator)
    return first

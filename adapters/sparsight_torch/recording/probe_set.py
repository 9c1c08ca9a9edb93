"""The fixed held-out samples that every epoch is measured on, as a network takes them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import (
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
    WeightedRandomSampler,
)
from torch.utils.data.distributed import DistributedSampler

from sparsight.errors import ProbeError

__all__ = ["ProbeSet", "Probes", "Samples"]

_MOST = 1000  # samples of a data set that become probes, as many as the paper has
_LABELS = {"label", "labels", "target", "targets"}
_CHANGING = (RandomSampler, SubsetRandomSampler, WeightedRandomSampler, DistributedSampler)


@dataclass(frozen=True)
class ProbeSet:
    """The samples of a probe set as the network takes them."""

    tensors: tuple[Tensor, ...]
    names: tuple[str, ...] | None = None
    """Keywords of the inputs, or None where they go by position."""

    @classmethod
    def of(cls, probes: Probes) -> ProbeSet:
        """Of what a user gave. Raises ProbeError where inputs do not fit together.

        At most 1,000 samples are drawn from a Dataset or a DataLoader, once: spread evenly over a
        data set that has a length and is taken in order, the first ones otherwise.
        """
        if isinstance(probes, ProbeSet):
            return probes
        given = _drawn(probes) if _is_data(probes) else probes
        names = tuple(given) if isinstance(given, Mapping) else None
        tensors = tuple(_tensor(item) for item in _parts(given))
        if not tensors or any(tensor.ndim < 1 for tensor in tensors) or not len(tensors[0]):
            raise ProbeError("the probe set is empty; expected samples [N, ...] for each input")
        if len({len(tensor) for tensor in tensors}) > 1:
            lengths = ", ".join(str(len(tensor)) for tensor in tensors)
            raise ProbeError(
                f"the inputs of the probe set hold {lengths} samples; expected the same number"
            )
        return cls(tensors, names)

    def __len__(self) -> int:
        return len(self.tensors[0])

    def batch(
        self, samples: slice, device: torch.device
    ) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
        """Positional and keyword arguments of the network."""
        tensors = tuple(tensor[samples].to(device) for tensor in self.tensors)
        if self.names is None:
            return tensors, {}
        return (), dict(zip(self.names, tensors, strict=True))


Samples: TypeAlias = Tensor | NDArray[Any]

Probes: TypeAlias = (
    Samples | Sequence[Samples] | Mapping[str, Samples] | Dataset[Any] | DataLoader[Any] | ProbeSet
)
"""The samples of a probe set, [N, ...]; a sequence, or a mapping by keyword, of such for a network
of several inputs; or a Dataset or DataLoader of samples, with or without labels."""


def _parts(given: Any) -> Iterable[Any]:
    """The inputs of a network, of one or of several."""
    if isinstance(given, Mapping):
        return given.values()
    several = isinstance(given, Sequence) and not isinstance(given, str | bytes)
    return given if several else [given]


def _tensor(item: Any) -> Tensor:
    try:
        return torch.as_tensor(item)
    except (TypeError, ValueError, RuntimeError):
        raise ProbeError(
            f"probes are a {type(item).__name__}; expected samples [N, ...] in a tensor or an "
            "array, a Dataset or a DataLoader"
        ) from None


def _is_data(probes: Any) -> bool:
    """Whether probes are a Dataset or a DataLoader; also one that is not made from torch's."""
    if isinstance(probes, Dataset | DataLoader):
        return True
    samples = isinstance(probes, Tensor | Sequence | Mapping) or hasattr(probes, "__array__")
    return not samples and hasattr(probes, "__getitem__") and hasattr(probes, "__len__")


def _drawn(data: Any) -> tuple[Tensor, ...] | dict[str, Tensor]:
    """The inputs of at most 1,000 samples; random numbers are restored."""
    collected: list[Any] = []
    samples = 0
    try:
        with torch.random.fork_rng(devices=[]):
            # Random augmentations are the same whenever a run goes on. Not torch.manual_seed, which
            # also seeds accelerators.
            torch.default_generator.manual_seed(0)
            for batch in _batches(data):
                collected.append(_inputs(batch))
                samples += len(next(iter(_parts(collected[-1])), ()))
                if samples >= _MOST:
                    break
    except (RuntimeError, TypeError, ValueError, LookupError) as error:
        kind = type(data).__name__
        raise ProbeError(f"cannot take probes from this {kind}: {error}") from error
    return _joined(collected)


def _batches(data: Any) -> Iterator[Any]:
    if not isinstance(data, DataLoader):
        yield from DataLoader(_spread(data), batch_size=64)
        return
    sampler = getattr(data.batch_sampler, "sampler", data.sampler)
    if isinstance(sampler, _CHANGING):
        raise ProbeError(
            "this DataLoader shuffles, or gives each process different samples, so every run "
            "would measure other probes; pass one with shuffle=False, or its dataset"
        )
    if isinstance(sampler, SequentialSampler) and data.batch_size is not None:
        data = DataLoader(
            _spread(data.dataset), batch_size=data.batch_size, collate_fn=data.collate_fn
        )
    yield from data


def _spread(data: Any) -> Any:
    """At most 1,000 samples, spread evenly over a data set, which may be sorted by class."""
    if isinstance(data, IterableDataset) or len(data) <= _MOST:
        return data
    return Subset(data, [index * len(data) // _MOST for index in range(_MOST)])


def _inputs(batch: Any) -> tuple[Any, ...] | dict[str, Any]:
    """What a network takes of a batch, without its labels."""
    if isinstance(batch, Mapping):
        return {key: value for key, value in batch.items() if key not in _LABELS}
    if isinstance(batch, Tensor | np.ndarray):
        return (batch,)
    if not isinstance(batch, Sequence) or not 1 <= len(batch) <= 2:
        raise ProbeError(
            f"its batches are a {type(batch).__name__}"
            + (f" of {len(batch)} parts" if isinstance(batch, Sequence) else "")
            + "; expected (inputs, labels), a tensor or a mapping by keyword. Pass the inputs "
            "themselves, as tensors [N, ...]"
        )
    first = batch[0]
    if isinstance(first, Mapping):
        return dict(first)
    return tuple(first) if isinstance(first, tuple | list) else (first,)


def _joined(batches: list[Any]) -> tuple[Tensor, ...] | dict[str, Tensor]:
    if not batches:
        return ()
    named = isinstance(batches[0], dict)
    keys: list[Any] = list(batches[0]) if named else list(range(len(batches[0])))
    joined = {key: _concatenated(key, [_tensor(batch[key]) for batch in batches]) for key in keys}
    return joined if named else tuple(joined.values())


def _concatenated(key: object, parts: list[Tensor]) -> Tensor:
    shapes = sorted({tuple(part.shape[1:]) for part in parts})
    if len(shapes) > 1:
        raise ProbeError(
            f"the samples of input {key!r} have different shapes, such as {shapes[0]} and "
            f"{shapes[-1]}; pad or crop them to one"
        )
    return torch.cat(parts)[:_MOST]

"""The fixed held-out samples that every epoch is measured on, as a network takes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sparsight.errors import ProbeError

__all__ = ["ProbeSet", "Probes", "Samples"]

Samples: TypeAlias = Tensor | NDArray[Any]

Probes: TypeAlias = Samples | Sequence[Samples] | Mapping[str, Samples]
"""The samples of a probe set, [N, ...]; a sequence, or a mapping by keyword, of such for a network
of several inputs."""


@dataclass(frozen=True)
class ProbeSet:
    """The samples of a probe set as the network takes them."""

    tensors: tuple[Tensor, ...]
    names: tuple[str, ...] | None = None
    """Keywords of the inputs, or None where they go by position."""

    @classmethod
    def of(cls, probes: Probes) -> ProbeSet:
        """Of what a user gave. Raises ProbeError where inputs do not fit together."""
        names = tuple(probes) if isinstance(probes, Mapping) else None
        alone = isinstance(probes, Tensor | np.ndarray)
        items = probes.values() if isinstance(probes, Mapping) else [probes] if alone else probes
        tensors = tuple(torch.as_tensor(item) for item in items)
        if not tensors or any(tensor.ndim < 1 for tensor in tensors) or not len(tensors[0]):
            raise ProbeError("the probe set is empty; samples [N, ...] of each input are needed")
        if len({len(tensor) for tensor in tensors}) > 1:
            lengths = ", ".join(str(len(tensor)) for tensor in tensors)
            raise ProbeError(f"the inputs of the probe set hold {lengths} samples; they must agree")
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

"""The shown probes of a probe set, and what tells probe sets apart."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sparsight.errors import SchemaError

from .framing import VERSION, counts, pack, strings, unpack


@dataclass(frozen=True)
class ShownProbes:
    """The probes whose maps are kept, as something to look at, and what tells probe sets apart."""

    digest: str
    """`probe_digest` of the whole probe set."""
    count: int
    """Samples in the whole probe set."""
    indices: tuple[int, ...]
    """Positions of the shown probes in the probe set."""
    kind: Literal["image", "series", "none"] = "none"
    items: tuple[bytes, ...] = ()
    """One a shown probe: a PNG, or little-endian float32 values of a series; empty for "none"."""

    def to_bytes(self) -> bytes:
        """The record."""
        header = {
            "version": VERSION,
            "digest": self.digest,
            "count": self.count,
            "indices": list(self.indices),
            "kind": self.kind,
            "lengths": [len(item) for item in self.items],
        }
        return pack(header, b"".join(self.items))


def probe_digest(probes: Sequence[NDArray[Any]]) -> str:
    """Digest of a whole probe set: dtype, shape and C-order bytes of each input, in input order."""
    digest = hashlib.sha256()
    for array in probes:
        digest.update(f"{array.dtype.str} {array.shape};".encode())
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def decode_probes(record: bytes) -> ShownProbes:
    """The probes of a record. Raises SchemaError for anything that is not one."""
    header, body = unpack(record)
    try:
        kind = header["kind"]
        if kind not in ("image", "series", "none"):
            raise ValueError(f"kind {kind!r}")
        lengths = counts(header, "lengths")
        if sum(lengths) != len(body):
            raise ValueError("lengths do not add up")
        ends = np.cumsum([0, *lengths])
        return ShownProbes(
            digest=strings(header, "digest")[0],
            count=int(header["count"]),
            indices=counts(header, "indices"),
            kind=kind,
            items=tuple(body[a:b] for a, b in itertools.pairwise(ends)),
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise SchemaError(f"a record of probes is damaged: {error!r}") from None

"""Entropy maps as they are stored: 8 bits a position, within a budget of bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsight.errors import SchemaError

from .framing import VERSION, counts, pack, strings, unpack

MAX_SIDE = 64
"""Sides of a stored map; larger ones are mean-pooled."""

MAP_BYTES = 64 * 1024
"""Stored bytes of one layer's maps at one step; kept by showing fewer probes."""

_NAN_CODE = 255


@dataclass(frozen=True)
class EncodedMaps:
    """Entropy maps of one layer at one step, as stored: 8 bits a position.

    A code c < 255 stands for H = lo + (hi - lo) c / 254 nats; 255 is NaN. `codes` is
    [probes + 1, *shape]: the shown probes, then the mean map over the whole probe set.
    """

    layer: str
    probe_ids: tuple[int, ...]
    lo: float
    hi: float
    codes: NDArray[np.uint8]
    pooled_from: tuple[int, ...] | None = None
    """Shape of the map before mean-pooling, where it was pooled."""
    left_out: int = 0
    """Shown probes whose maps were left out to keep the byte budget."""

    def values(self) -> NDArray[np.float32]:
        """H in nats, float32 [probes + 1, *shape], within (hi - lo) / 508 of what was measured."""
        values = self.lo + (self.hi - self.lo) / 254 * self.codes.astype(np.float32)
        return np.where(self.codes == _NAN_CODE, np.float32(np.nan), values).astype(np.float32)

    def to_bytes(self) -> bytes:
        """The record."""
        header = {
            "version": VERSION,
            "codec": "zlib-uint8",
            "layer": self.layer,
            "probe_ids": list(self.probe_ids),
            "lo": self.lo,
            "hi": self.hi,
            "shape": list(self.codes.shape),
            "pooled_from": self.pooled_from and list(self.pooled_from),
            "left_out": self.left_out,
        }
        return pack(header, np.ascontiguousarray(self.codes).tobytes())


def encode_maps(
    layer: str,
    probe_ids: Sequence[int],
    maps: NDArray[np.floating[Any]],
    mean_map: NDArray[np.floating[Any]],
) -> EncodedMaps:
    """Quantised maps of one layer: `maps` [probes, *map] and `mean_map` [*map], in nats.

    Sides above 64 are mean-pooled (a pooled position with a NaN in it is NaN), and as many probes
    are kept as fit into 64 KiB, at least one.
    """
    shape = mean_map.shape
    stacked = np.concatenate([maps, mean_map[None]]).astype(np.float32)
    pooled = _mean_pool(stacked)
    kept = min(len(probe_ids), max(1, MAP_BYTES // max(1, pooled[0].size) - 1))
    pooled = np.concatenate([pooled[:kept], pooled[-1:]])
    finite = pooled[np.isfinite(pooled)]
    lo, hi = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    scale = 254 / (hi - lo) if hi > lo else 0.0
    # In float64: over a tiny range the scale is beyond float32.
    levels = np.where(np.isfinite(pooled), (pooled.astype(np.float64) - lo) * scale, _NAN_CODE)
    return EncodedMaps(
        layer=layer,
        probe_ids=tuple(int(probe) for probe in probe_ids[:kept]),
        lo=lo,
        hi=hi,
        codes=np.rint(levels).astype(np.uint8),
        pooled_from=shape if pooled.shape[1:] != shape else None,
        left_out=len(probe_ids) - kept,
    )


def decode_maps(record: bytes) -> EncodedMaps:
    """The maps of a record. Raises SchemaError for anything that is not one."""
    header, body = unpack(record)
    try:
        if header["codec"] != "zlib-uint8":
            raise SchemaError(f"maps are stored with the unknown codec {header['codec']!r}")
        codes = np.frombuffer(body, np.uint8).reshape(counts(header, "shape"))
        probe_ids = counts(header, "probe_ids")
        lo, hi = float(header["lo"]), float(header["hi"])
        maps = EncodedMaps(
            layer=strings(header, "layer")[0],
            probe_ids=probe_ids,
            lo=lo,
            hi=hi,
            codes=codes,
            pooled_from=counts(header, "pooled_from") if header["pooled_from"] else None,
            left_out=int(header["left_out"]),
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise SchemaError(f"a record of entropy maps is damaged: {error!r}") from None
    limit = float(np.finfo(np.float32).max)
    if not -limit <= lo <= hi <= limit or len(codes) != len(probe_ids) + 1:
        raise SchemaError("a record of entropy maps is damaged: its header contradicts its body")
    return maps


def _mean_pool(maps: NDArray[np.float32]) -> NDArray[np.float32]:
    for axis in range(1, maps.ndim):
        side = maps.shape[axis]
        if side > MAX_SIDE:
            starts = np.arange(0, side, -(-side // MAX_SIDE))
            lengths = np.diff(np.append(starts, side)).astype(np.float32)
            sums = np.add.reduceat(maps, starts, axis=axis)
            widths = lengths.reshape([-1 if a == axis else 1 for a in range(maps.ndim)])
            maps = (sums / widths).astype(np.float32)
    return maps

"""The one schema of what a run's event files hold: tags, metadata and records. numpy only.

Writer and reader, on both sides of TensorBoard, import this module and nothing else about it:

    plugin          tag                          one record a step
    sparsity        sparsity/layers/<hash>       float32 [layers, columns]; names in the metadata
    sparsity        sparsity/global_step         int64, the trainer's own step count
    sparsity        sparsity/probes/<hash>       bytes: `ShownProbes`, once
    sparsity_maps   sparsity/maps/<hash>         bytes: `EncodedMaps`, the entropy maps of one layer
    sparsity_maps   sparsity/correlation/<hash>  int64 [201], correlation histogram of one layer

Two plugins, so that the few tags that describe a run are listed without the hundreds of its layers.

A tag ends in a hash of its metadata, because TensorBoard keeps only the first metadata of a tag:
when layers or columns change, so does the tag. Step = epoch; -1 is "before training".
"""

from __future__ import annotations

import hashlib
import heapq
import itertools
import json
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .errors import SchemaError

VERSION = 1

LAYERS_PLUGIN = "sparsity"
MAPS_PLUGIN = "sparsity_maps"

GLOBAL_STEP_TAG = "sparsity/global_step"

MAX_SIDE = 64
"""Sides of a stored map; larger ones are mean-pooled."""

MAP_BYTES = 64 * 1024
"""Stored bytes of one layer's maps at one step; kept by showing fewer probes."""

_MAX_BODY = 16 * 2**20  # no record inflates beyond this, whatever its header declares
_MAX_HEADER = 2**20
_MAGIC = b"SPRS"
_NAN_CODE = 255


@dataclass(frozen=True)
class Column:
    """One statistic of a layer at one step."""

    name: str
    unit: str
    title: str


COLUMNS = (
    Column("entropy", "nats", "RFAV entropy H, mean"),
    Column("entropy_std", "nats", "RFAV entropy H, standard deviation"),
    Column("entropy_p5", "nats", "RFAV entropy H, 5th percentile"),
    Column("entropy_p50", "nats", "RFAV entropy H, median"),
    Column("entropy_p95", "nats", "RFAV entropy H, 95th percentile"),
    Column("scale_free_entropy", "of ln D", "Scale-free entropy, mean"),
    Column("rms", "activation", "RMS of the activations"),
    Column("dead_fraction", "of channels", "Dead channels"),
    Column("zero_fraction", "of activations", "Zeros after the ReLU"),
    Column("nan_share", "of positions", "Positions with NaN or infinity"),
    Column("correlation_mean", "coefficient", "Filter correlation, mean"),
    Column("correlation_mean_absolute", "coefficient", "Filter correlation, mean absolute"),
    Column("correlation_largest", "coefficient", "Filter correlation, largest"),
    Column("constant_filters", "filters", "Filters without variance"),
)
"""What this version records of a layer; a value that was not measured is NaN."""


@dataclass(frozen=True)
class LayerInfo:
    """What is known of a measured layer, beside its values."""

    name: str
    operator: str
    channels: int
    """D, the length of its RFAVs."""
    map_shape: tuple[int, ...]
    """Shape of its entropy map: (A, B), (L,) for 1-D layers, (1, 1) for dense ones."""
    channel_axis: int
    tapped_at: str
    """Where it was measured, in words: "linear output", "after the activation"."""
    batch_norm_folded: bool | None = None
    """Whether batch normalisation was folded into its weights; None where nobody can tell."""


# -- tags and metadata ----------------------------------------------------------------------------

Kind = Literal["layers", "maps", "correlation", "probes"]

PLUGIN_OF: Mapping[Kind, str] = {
    "layers": LAYERS_PLUGIN,
    "probes": LAYERS_PLUGIN,
    "maps": MAPS_PLUGIN,
    "correlation": MAPS_PLUGIN,
}


def tag_of(kind: Kind, metadata: bytes) -> str:
    """Tag of the records of this kind that share this metadata."""
    return f"sparsity/{kind}/{hashlib.sha256(metadata).hexdigest()[:16]}"


def kind_of(tag: str) -> Kind | None:
    """Kind of the records of a tag, or None where the tag is not ours."""
    return next((kind for kind in PLUGIN_OF if tag.startswith(f"sparsity/{kind}/")), None)


def encode_layers(layers: Sequence[LayerInfo], columns: Sequence[Column] = COLUMNS) -> bytes:
    """Metadata of a table of statistics of these layers."""
    return _json(
        {
            "version": VERSION,
            "layers": [asdict(layer) for layer in layers],
            "columns": [asdict(column) for column in columns],
        }
    )


def decode_layers(content: bytes) -> tuple[tuple[LayerInfo, ...], tuple[Column, ...]]:
    """Layers and columns, from the metadata of their table.

    Raises SchemaError for an unknown version or content that is not ours.
    """
    fields = decode_metadata(content)
    try:
        layers = tuple(_layer_info(layer) for layer in fields["layers"])
        columns = tuple(Column(*_strings(c, "name", "unit", "title")) for c in fields["columns"])
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise SchemaError(f"metadata of a layer table is incomplete: {error!r}") from None
    return layers, columns


def encode_metadata(**fields: Any) -> bytes:
    """Metadata of the other tags: `layer` and `shape` of maps, `layer` of correlation histograms,
    `digest`, `count` and `indices` of probes."""
    return _json({"version": VERSION, **fields})


def decode_metadata(content: bytes) -> dict[str, Any]:
    """Fields of any tag's metadata. Raises SchemaError for an unknown version."""
    try:
        fields = json.loads(content)
        version = fields["version"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise SchemaError("metadata is not Sparsight's JSON") from None
    if version != VERSION:
        raise SchemaError(
            f"written with schema version {version!r}; this Sparsight reads version {VERSION}: "
            "upgrade sparsight where TensorBoard runs"
        )
    return dict(fields)


def _layer_info(fields: Mapping[str, Any]) -> LayerInfo:
    name, operator, tapped_at = _strings(fields, "name", "operator", "tapped_at")
    folded = fields["batch_norm_folded"]
    return LayerInfo(
        name=name,
        operator=operator,
        channels=int(fields["channels"]),
        map_shape=_counts(fields, "map_shape"),
        channel_axis=int(fields["channel_axis"]),
        tapped_at=tapped_at,
        batch_norm_folded=None if folded is None else bool(folded),
    )


def _strings(fields: Mapping[str, Any], *names: str) -> list[str]:
    values = [fields[name] for name in names]
    if not all(isinstance(value, str) for value in values):
        raise TypeError(f"{', '.join(names)} should be text")
    return values


def _counts(fields: Mapping[str, Any], name: str) -> tuple[int, ...]:
    values = fields[name]
    if not isinstance(values, list) or not all(isinstance(v, int) and v >= 0 for v in values):
        raise TypeError(f"{name} should be a list of whole numbers, 0 or more")
    return tuple(values)


# -- entropy maps ---------------------------------------------------------------------------------


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
        return _pack(header, np.ascontiguousarray(self.codes).tobytes())


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
    stacked = np.concatenate([maps.reshape(-1, *shape), mean_map[None]]).astype(np.float32)
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
    header, body = _unpack(record)
    try:
        if header["codec"] != "zlib-uint8":
            raise SchemaError(f"maps are stored as {header['codec']!r}, which is not known here")
        codes = np.frombuffer(body, np.uint8).reshape(_counts(header, "shape"))
        probe_ids = _counts(header, "probe_ids")
        lo, hi = float(header["lo"]), float(header["hi"])
        maps = EncodedMaps(
            layer=_strings(header, "layer")[0],
            probe_ids=probe_ids,
            lo=lo,
            hi=hi,
            codes=codes,
            pooled_from=_counts(header, "pooled_from") if header["pooled_from"] else None,
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


# -- probes ---------------------------------------------------------------------------------------


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
        return _pack(header, b"".join(self.items))


def probe_digest(probes: Sequence[NDArray[Any]]) -> str:
    """Digest of a whole probe set: dtype, shape and C-order bytes of each input, in input order."""
    digest = hashlib.sha256()
    for array in probes:
        digest.update(f"{array.dtype.str} {array.shape};".encode())
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def decode_probes(record: bytes) -> ShownProbes:
    """The probes of a record. Raises SchemaError for anything that is not one."""
    header, body = _unpack(record)
    try:
        kind = header["kind"]
        if kind not in ("image", "series", "none"):
            raise ValueError(f"kind {kind!r}")
        lengths = _counts(header, "lengths")
        if sum(lengths) != len(body):
            raise ValueError("lengths do not add up")
        ends = np.cumsum([0, *lengths])
        return ShownProbes(
            digest=_strings(header, "digest")[0],
            count=int(header["count"]),
            indices=_counts(header, "indices"),
            kind=kind,
            items=tuple(body[a:b] for a, b in itertools.pairwise(ends)),
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise SchemaError(f"a record of probes is damaged: {error!r}") from None


# -- steps ----------------------------------------------------------------------------------------


def surviving(steps: Sequence[int]) -> list[int]:
    """Positions of the records that count, given the steps in order of arrival.

    A step that goes back drops the later ones: a run that resumed at an earlier epoch replaces what
    came after it. The result is strictly increasing in step. TensorBoard's Rust loader does the
    same; its Python loader keeps all of them.
    """
    kept: list[int] = []
    for position, step in enumerate(steps):
        while kept and steps[kept[-1]] >= step:
            kept.pop()
        kept.append(position)
    return kept


Event = tuple[int, float]
"""Step and wall time; records that were written together share both."""


def counting(records: Sequence[Event], run: Sequence[Event] = ()) -> list[int]:
    """Positions of the records of one layer that count, given step and wall time of each.

    `run` are the events of the run's tables, in order of arrival: where the run went back after a
    record was written, that record no longer counts, even if its own layer was never measured
    again. The result is strictly increasing in step.
    """
    arrived = heapq.merge(run, records, key=lambda event: event[1])
    order = list(dict.fromkeys(arrived))
    kept = {order[position] for position in surviving([step for step, _ in order])}
    alive = [position for position, event in enumerate(records) if event in kept]
    return [alive[at] for at in surviving([records[position][0] for position in alive])]


# -- framing: magic, header length, JSON header, zlib body ----------------------------------------


def _json(fields: Mapping[str, Any]) -> bytes:
    return json.dumps(fields, separators=(",", ":"), allow_nan=False).encode()


def _pack(header: Mapping[str, Any], body: bytes) -> bytes:
    text = _json({**header, "size": len(body)})
    return b"".join([_MAGIC, struct.pack("<I", len(text)), text, zlib.compress(body, 6)])


def _unpack(record: bytes) -> tuple[dict[str, Any], bytes]:
    if record[:4] != _MAGIC or len(record) < 8:
        raise SchemaError("a record does not start as Sparsight's records do")
    (length,) = struct.unpack_from("<I", record, 4)
    if length > min(_MAX_HEADER, len(record) - 8):
        raise SchemaError(f"a record declares a header of {length} bytes and is damaged")
    header = decode_metadata(record[8 : 8 + length])
    size = header.get("size")
    if not isinstance(size, int) or not 0 <= size <= _MAX_BODY:
        raise SchemaError(f"a record declares {size!r} bytes; at most {_MAX_BODY} are read")
    inflate = zlib.decompressobj()
    try:
        body = inflate.decompress(record[8 + length :], size + 1)
    except zlib.error as error:
        raise SchemaError(f"a record does not inflate: {error}") from None
    # The checksum at the end is verified only when it is reached.
    if len(body) != size or not inflate.eof or inflate.unused_data:
        raise SchemaError(f"a record declares {size} bytes and holds another number of them")
    return header, body

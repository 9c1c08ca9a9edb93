"""Framing of metadata and records: JSON with a version; magic, length, JSON header, zlib body."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Mapping
from typing import Any

from sparsight.errors import SchemaError

VERSION = 1

_MAX_BODY = 16 * 2**20  # no record inflates beyond this, whatever its header declares
_MAX_HEADER = 2**20
_MAGIC = b"SPRS"


def encode_metadata(**fields: Any) -> bytes:
    """Metadata of the other tags: `layer` and `shape` of maps, `layer` of correlation histograms,
    `digest`, `count` and `indices` of probes."""
    return to_json({"version": VERSION, **fields})


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


def to_json(fields: Mapping[str, Any]) -> bytes:
    return json.dumps(fields, separators=(",", ":"), allow_nan=False).encode()


def pack(header: Mapping[str, Any], body: bytes) -> bytes:
    text = to_json({**header, "size": len(body)})
    return b"".join([_MAGIC, struct.pack("<I", len(text)), text, zlib.compress(body, 6)])


def unpack(record: bytes) -> tuple[dict[str, Any], bytes]:
    if record[:4] != _MAGIC or len(record) < 8:
        raise SchemaError("a record does not start with Sparsight's magic bytes")
    (length,) = struct.unpack_from("<I", record, 4)
    if length > min(_MAX_HEADER, len(record) - 8):
        raise SchemaError(f"a record is damaged: it declares a header of {length} bytes")
    header = decode_metadata(record[8 : 8 + length])
    size = header.get("size")
    if not isinstance(size, int) or not 0 <= size <= _MAX_BODY:
        raise SchemaError(f"a record declares {size!r} bytes; expected at most {_MAX_BODY}")
    inflate = zlib.decompressobj()
    try:
        body = inflate.decompress(record[8 + length :], size + 1)
    except zlib.error as error:
        raise SchemaError(f"a record cannot be decompressed: {error}") from None
    # The checksum at the end is verified only when it is reached.
    if len(body) != size or not inflate.eof or inflate.unused_data:
        raise SchemaError(
            f"a record is damaged: it declares {size} bytes, but holds another number"
        )
    return header, body


def strings(fields: Mapping[str, Any], *names: str) -> list[str]:
    values = [fields[name] for name in names]
    if not all(isinstance(value, str) for value in values):
        raise TypeError(f"{', '.join(names)} should be text")
    return values


def counts(fields: Mapping[str, Any], name: str) -> tuple[int, ...]:
    values = fields[name]
    if not isinstance(values, list) or not all(isinstance(v, int) and v >= 0 for v in values):
        raise TypeError(f"{name} should be a list of whole numbers, 0 or more")
    return tuple(values)

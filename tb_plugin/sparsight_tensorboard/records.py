"""Records of a run, and which of them count.

Nothing here and in what builds on it (`tables`, `layer_series`, `probes`) raises for what an event
file holds: what cannot be used is left out, and a sentence among the `warnings` says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sparsight import schema
from sparsight.errors import RunError, SchemaError

__all__ = ["NotRecorded", "Record", "Tag", "bytes_of", "left_out", "survivors"]


class NotRecorded(RunError):
    """A run, layer, probe or tag that was asked for and is not there."""


@dataclass(frozen=True)
class Record:
    """One record of a tag."""

    step: int
    wall_time: float
    content: Any
    """An array, bytes, or None where it is neither."""


@dataclass(frozen=True)
class Tag:
    """One tag of a run, with its records in order of arrival."""

    name: str
    metadata: bytes
    records: Sequence[Record]
    warnings: tuple[str, ...] = ()


def bytes_of(record: Record) -> bytes:
    """Content of a record of bytes. Raises SchemaError where it holds numbers."""
    if not isinstance(record.content, bytes):
        raise SchemaError("a record holds numbers where bytes were expected")
    return record.content


def survivors(records: Sequence[Record], events: Sequence[schema.Event] = ()) -> list[Record]:
    """The records that count, strictly increasing in step; see `schema.counting`."""
    arrived = [(record.step, record.wall_time) for record in records]
    return [records[position] for position in schema.counting(arrived, events)]


def left_out(number: int, tag: str) -> list[str]:
    """The warning that so many records of a tag are damaged; none for 0."""
    if not number:
        return []
    records = "1 damaged record" if number == 1 else f"{number} damaged records"
    return [f"left out: {records} of {tag}"]

"""The probe set of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sparsight import schema
from sparsight.errors import SchemaError

from .records import Tag, bytes_of

__all__ = ["Probes", "newest"]


@dataclass(frozen=True)
class Probes:
    """The probe set that was recorded last."""

    shown: schema.ShownProbes | None
    warnings: tuple[str, ...]


def newest(tags: Sequence[Tag]) -> Probes:
    """The probe set that was recorded last, from the tags `sparsity/probes/…`."""
    warnings = [warning for tag in tags for warning in tag.warnings]
    found: list[tuple[float, schema.ShownProbes]] = []
    for tag in tags:
        for record in tag.records:
            try:
                found.append((record.wall_time, schema.decode_probes(bytes_of(record))))
            except SchemaError as error:
                warnings.append(f"a record of {tag.name} is left out: {error}")
    found.sort(key=lambda pair: pair[0])
    if len({shown.digest for _, shown in found}) > 1:
        warnings.append(
            "the probe set changed during the run: values before and after are not comparable"
        )
    return Probes(found[-1][1] if found else None, tuple(dict.fromkeys(warnings)))

"""Entropy maps and correlation histograms of one layer, step by step."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsight import schema
from sparsight.errors import SchemaError

from .records import NotRecorded, Record, Tag, bytes_of, left_out, survivors

__all__ = ["CorrelationSeries", "LayerSeries", "MapSeries", "correlations", "maps", "of_layer"]

_BINS = 201


@dataclass(frozen=True)
class LayerSeries:
    """The records of one layer, of one kind, that count; not decoded yet."""

    records: tuple[Record, ...]
    warnings: tuple[str, ...]

    @property
    def events(self) -> list[schema.Event]:
        """Step and wall time of each."""
        return [(record.step, record.wall_time) for record in self.records]


def _between(record: Record, first: int | None, last: int | None) -> bool:
    return (first is None or first <= record.step) and (last is None or record.step <= last)


def of_layer(tags: Sequence[Tag], events: Sequence[schema.Event]) -> LayerSeries:
    """The records of one layer's maps, or of its correlation histograms."""
    warnings = [warning for tag in tags for warning in tag.warnings]
    readable = []
    for tag in tags:
        try:
            schema.decode_metadata(tag.metadata)
            readable.append(tag)
        except SchemaError as error:
            warnings.append(f"{tag.name} is left out: {error}")
    arrived = heapq.merge(*(tag.records for tag in readable), key=lambda record: record.wall_time)
    return LayerSeries(tuple(survivors(list(arrived), events)), tuple(warnings))


@dataclass(frozen=True)
class MapSeries:
    """Entropy maps of one layer."""

    probes: tuple[int | str, ...]
    """Indices of the shown probes; "mean" for the mean map."""
    pooled_from: tuple[int, ...] | None
    left_out: int
    steps: tuple[int, ...]
    ranges: tuple[tuple[float, float], ...]
    """lo and hi of each step, nats."""
    codes: NDArray[np.uint8]
    """[steps, probes, *map]"""
    truncated_at: int | None
    """The first step that did not fit, where one did not."""
    warnings: tuple[str, ...]


def maps(
    layer: str,
    series: LayerSeries,
    *,
    probe: int | str | None = None,
    first: int | None = None,
    last: int | None = None,
    limit: int = 2**24,
) -> MapSeries:
    """Maps of the chosen probe (all and the mean map unless given) in at most `limit` bytes.

    Steps whose maps have not the newest shape, or lack a probe that the newest step has, are left
    out. The warnings count over all records, whatever range is asked for. Raises NotRecorded where
    the newest step lacks the probe that was asked for.
    """
    newest = next(filter(None, (_map_of(layer, record) for record in series.records[::-1])), None)
    if newest is None:
        warnings = [*series.warnings, *left_out(len(series.records), f"the maps of {layer!r}")]
        empty = np.zeros((0, 0, 0, 0), np.uint8)
        return MapSeries((), None, 0, (), (), empty, None, tuple(warnings))
    wanted = _wanted(layer, newest, probe)
    shape = (len(wanted), *newest.codes.shape[1:])
    fits = limit // (int(np.prod(shape)) + 12)  # and its step, lo and hi
    found: list[tuple[int, schema.EncodedMaps]] = []
    truncated_at = None
    left: Counter[str] = Counter()
    for record, encoded in _fitting(layer, series, wanted, shape[1:], left):
        if not _between(record, first, last):
            continue
        if len(found) < fits:
            found.append((record.step, encoded))
        elif truncated_at is None:
            truncated_at = record.step
    warnings = [*series.warnings, *left_out(left["damaged"], f"the maps of {layer!r}")]
    if left["unfit"]:
        steps = "1 step" if left["unfit"] == 1 else f"{left['unfit']} steps"
        why = "they have another shape, or show fewer probes"
        warnings.append(f"left out: {steps} of the maps of {layer!r}, because {why}")
    codes = np.zeros((len(found), *shape), np.uint8)
    for target, (_, encoded) in zip(codes, found, strict=True):
        names = _names(encoded)
        target[...] = encoded.codes[[names.index(name) for name in wanted]]
    return MapSeries(
        probes=wanted,
        pooled_from=newest.pooled_from,
        left_out=newest.left_out,
        steps=tuple(step for step, _ in found),
        ranges=tuple((encoded.lo, encoded.hi) for _, encoded in found),
        codes=codes,
        truncated_at=truncated_at,
        warnings=tuple(warnings),
    )


def _fitting(
    layer: str,
    series: LayerSeries,
    wanted: Sequence[int | str],
    shape: Sequence[int],
    left: Counter[str],
) -> Iterator[tuple[Record, schema.EncodedMaps]]:
    """The maps of this shape that hold the wanted probes, one after another, as together they may
    be large. What is left out is counted in `left`, as "damaged" or "unfit"."""
    for record in series.records:
        encoded = _map_of(layer, record)
        if encoded is None:
            left["damaged"] += 1
        elif encoded.codes.shape[1:] != shape or not set(wanted) <= {*_names(encoded)}:
            left["unfit"] += 1
        else:
            yield record, encoded


def _map_of(layer: str, record: Record) -> schema.EncodedMaps | None:
    try:
        encoded = schema.decode_maps(bytes_of(record))
    except SchemaError:
        return None
    return encoded if encoded.layer == layer else None


def _names(encoded: schema.EncodedMaps) -> list[int | str]:
    return [*encoded.probe_ids, "mean"]


def _wanted(
    layer: str, newest: schema.EncodedMaps, probe: int | str | None
) -> tuple[int | str, ...]:
    names = _names(newest)
    if probe is None:
        return tuple(names)
    if probe not in names:
        there = ", ".join(map(str, names))
        raise NotRecorded(
            f"no maps of probe {probe} are recorded for layer {layer!r}; there are: {there}"
        )
    return (probe,)


@dataclass(frozen=True)
class CorrelationSeries:
    """Correlation histograms of one layer."""

    steps: tuple[int, ...]
    counts: NDArray[np.int32]
    """[steps, 201]"""
    truncated_at: int | None
    warnings: tuple[str, ...]


def correlations(
    layer: str, series: LayerSeries, *, first: int | None, last: int | None, limit: int
) -> CorrelationSeries:
    """Correlation histograms in at most `limit` bytes; the warnings count over all records."""
    whole = [record for record in series.records if _is_histogram(record.content)]
    good = [record for record in whole if _between(record, first, last)]
    fits = limit // (4 * _BINS + 4)
    counts = np.zeros((len(good[:fits]), _BINS), np.int32)
    for target, record in zip(counts, good[:fits], strict=True):
        target[...] = np.minimum(record.content, np.iinfo(np.int32).max)
    damaged = left_out(len(series.records) - len(whole), f"the filter correlations of {layer!r}")
    return CorrelationSeries(
        steps=tuple(record.step for record in good[:fits]),
        counts=counts,
        truncated_at=good[fits].step if len(good) > fits else None,
        warnings=(*series.warnings, *damaged),
    )


def _is_histogram(content: Any) -> bool:
    return (
        isinstance(content, np.ndarray)
        and content.dtype.kind in "iu"
        and content.shape == (_BINS,)
        and bool((content >= 0).all())
    )

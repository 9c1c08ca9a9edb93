"""What the records of a run mean: which of them count, and what they hold. No TensorBoard here.

Nothing in this file raises for what an event file holds: what cannot be used is left out, and a
sentence among the `warnings` says so.
"""

from __future__ import annotations

import heapq
import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from sparsight import schema
from sparsight.errors import RunError, SchemaError

__all__ = [
    "LayerSeries",
    "MapSeries",
    "NotRecorded",
    "Probes",
    "Record",
    "Tables",
    "Tag",
    "correlations",
    "layer_records",
    "maps",
    "probes",
    "survivors",
    "tables",
]

T = TypeVar("T")

_MAX_NAMED = 4096  # layers of a run, or statistics of a layer: more is damage, not a network
_MAX_TEXT = 2_000_000
_BINS = 201


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


def _bytes(record: Record) -> bytes:
    if not isinstance(record.content, bytes):
        raise SchemaError("a record holds numbers where bytes were expected")
    return record.content


def survivors(records: Sequence[Record], events: Sequence[schema.Event] = ()) -> list[Record]:
    """The records that count, strictly increasing in step; see `schema.counting`."""
    arrived = [(record.step, record.wall_time) for record in records]
    return [records[position] for position in schema.counting(arrived, events)]


# -- statistics -----------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Layout:
    """Layers and columns of one tag's tables."""

    layers: tuple[schema.LayerInfo, ...]
    columns: tuple[schema.Column, ...]


@dataclass(frozen=True)
class _Placement:
    """Which rows and columns of a layout go where in the table of the whole run."""

    rows: Sequence[int]
    to_rows: Sequence[int]
    columns: Sequence[int]
    to_columns: Sequence[int]


@dataclass(frozen=True)
class Tables:
    """The statistics of all layers of a run, at all steps that count."""

    layers: tuple[schema.LayerInfo, ...]
    """In graph order: as in the newest table; what is not in it follows what it followed before."""
    columns: tuple[schema.Column, ...]
    steps: tuple[int, ...]
    """Strictly increasing."""
    wall_times: tuple[float, ...]
    global_steps: tuple[float, ...]
    """The trainer's own step count; NaN where it was not recorded."""
    events: tuple[schema.Event, ...]
    """All that arrived, in order, also what does not count any more."""
    warnings: tuple[str, ...]
    parts: tuple[tuple[NDArray[np.float32], _Placement], ...]

    def values(self, first: int, last: int) -> NDArray[np.float32]:
        """The statistics at the steps number `first` up to `last`: [steps, layers, columns].

        NaN where a layer was not measured at a step.
        """
        shape = (last - first, len(self.layers), len(self.columns))
        result = np.full(shape, np.nan, np.float32)
        for target, (values, place) in zip(result, self.parts[first:last], strict=True):
            chosen = values[np.ix_(place.rows, place.columns)]
            target[np.ix_(place.to_rows, place.to_columns)] = chosen
        return result


def tables(tags: Sequence[Tag]) -> Tables:
    """The statistics of a run, from its tags `sparsity/layers/…` and `sparsity/global_step`."""
    warnings = [warning for tag in tags for warning in tag.warnings]
    arrived: list[tuple[Record, _Layout]] = list(
        heapq.merge(
            *(_decoded_tables(tag, warnings) for tag in tags if schema.kind_of(tag.name)),
            key=lambda pair: pair[0].wall_time,
        )
    )
    kept = schema.surviving([record.step for record, _ in arrived])
    warnings += _resumed([record.step for record, _ in arrived], len(arrived) - len(kept))
    layouts = list(dict.fromkeys(layout for _, layout in reversed(arrived)))
    layers, columns = _graph_order(layouts, warnings), _all_columns(layouts, warnings)
    placements = {layout: _placement(layout, layers, columns, warnings) for layout in layouts}
    chosen = [arrived[position] for position in kept]
    counts = _global_steps(tags, warnings)
    return Tables(
        layers=tuple(layers.values()),
        columns=tuple(columns.values()),
        steps=tuple(record.step for record, _ in chosen),
        wall_times=tuple(record.wall_time for record, _ in chosen),
        global_steps=tuple(counts.get((r.step, r.wall_time), np.nan) for r, _ in chosen),
        events=tuple((record.step, record.wall_time) for record, _ in arrived),
        warnings=tuple(dict.fromkeys(warnings)),
        parts=tuple((record.content, placements[layout]) for record, layout in chosen),
    )


def _decoded_tables(tag: Tag, warnings: list[str]) -> list[tuple[Record, _Layout]]:
    try:
        layout = _Layout(*schema.decode_layers(tag.metadata))
    except SchemaError as error:
        warnings.append(f"{tag.name} is left out: {error}")
        return []
    shape = (len(layout.layers), len(layout.columns))
    good = [record for record in tag.records if _is_table(record.content, shape)]
    warnings += _left_out(len(tag.records) - len(good), tag.name)
    return [(record, layout) for record in good]


def _is_table(content: Any, shape: tuple[int, int]) -> bool:
    return isinstance(content, np.ndarray) and content.dtype.kind == "f" and content.shape == shape


def _graph_order(layouts: Iterable[_Layout], warnings: list[str]) -> dict[str, schema.LayerInfo]:
    """All layers, given the layouts from the newest to the oldest."""
    infos: dict[str, schema.LayerInfo] = {}
    order: list[str] = []
    for layout in layouts:
        behind: dict[str | None, list[str]] = {}
        known = None
        for layer in layout.layers:
            if layer.name in infos:
                known = layer.name
            else:
                infos[layer.name] = layer
                behind.setdefault(known, []).append(layer.name)
        following = (name for old in order for name in (old, *behind.get(old, ())))
        order = [*behind.get(None, ()), *following]
    return _fitting({name: infos[name] for name in order}, "layers", warnings)


def _all_columns(layouts: Iterable[_Layout], warnings: list[str]) -> dict[str, schema.Column]:
    columns: dict[str, schema.Column] = {}
    for layout in layouts:
        for column in layout.columns:
            columns.setdefault(column.name, column)
    return _fitting(columns, "statistics", warnings)


def _fitting(named: dict[str, T], noun: str, warnings: list[str]) -> dict[str, T]:
    """The first of them whose descriptions, as JSON, are no larger than 2 MB together."""
    size = 0
    kept: dict[str, T] = {}
    for name, described in named.items():
        size += len(json.dumps(vars(described)))
        if len(kept) < _MAX_NAMED and size <= _MAX_TEXT:
            kept[name] = described
    if len(kept) < len(named):
        warnings.append(f"left out: {len(named) - len(kept)} of {len(named)} {noun}: too many")
    return kept


def _placement(
    layout: _Layout,
    layers: Mapping[str, schema.LayerInfo],
    columns: Mapping[str, schema.Column],
    warnings: list[str],
) -> _Placement:
    """Where a layout's rows and columns go. Of equal names the first counts."""
    row_of = {name: row for row, name in enumerate(layers)}
    rows = {}
    for row, layer in enumerate(layout.layers):
        newest = layers.get(layer.name)
        if newest is None or layer.name in rows:
            continue
        if newest.channels == layer.channels:
            rows[layer.name] = row
        else:  # its entropies have another upper bound: no curve leads from one to the other
            warnings.append(
                f"layer {layer.name!r} had {layer.channels} channels and has {newest.channels} now:"
                " what was recorded before is left out"
            )
    column_of = {name: number for number, name in enumerate(columns)}
    found = {c.name: number for number, c in reversed([*enumerate(layout.columns)])}
    found = {name: number for name, number in found.items() if name in column_of}
    return _Placement(
        rows=list(rows.values()),
        to_rows=[row_of[name] for name in rows],
        columns=list(found.values()),
        to_columns=[column_of[name] for name in found],
    )


def _global_steps(tags: Iterable[Tag], warnings: list[str]) -> dict[schema.Event, float]:
    counts: dict[schema.Event, float] = {}
    for tag in tags:
        if tag.name != schema.GLOBAL_STEP_TAG:
            continue
        try:
            schema.decode_metadata(tag.metadata)
        except SchemaError as error:
            warnings.append(f"{tag.name} is left out: {error}")
            continue
        good = [record for record in tag.records if _is_whole_number(record.content)]
        warnings += _left_out(len(tag.records) - len(good), tag.name)
        counts |= {(record.step, record.wall_time): float(record.content) for record in good}
    return counts


def _is_whole_number(content: Any) -> bool:
    return isinstance(content, np.ndarray) and content.dtype.kind in "iu" and content.shape == ()


def _resumed(steps: Sequence[int], dropped: int) -> list[str]:
    back = [step for before, step in itertools.pairwise(steps) if step <= before]
    if not dropped or not back:
        return []
    records = "1 record was" if dropped == 1 else f"{dropped} records were"
    return [f"{records} dropped: the run resumed at step {back[-1]}"]


def _left_out(number: int, tag: str) -> list[str]:
    if not number:
        return []
    records = "1 damaged record" if number == 1 else f"{number} damaged records"
    return [f"left out: {records} of {tag}"]


# -- maps and correlation histograms --------------------------------------------------------------


@dataclass(frozen=True)
class LayerSeries:
    """The records of one layer, of one kind, that count; not decoded yet."""

    records: tuple[Record, ...]
    warnings: tuple[str, ...]

    def between(self, first: int | None, last: int | None) -> list[Record]:
        """The records at the steps from `first` to `last`, both included."""
        return [
            record
            for record in self.records
            if (first is None or first <= record.step) and (last is None or record.step <= last)
        ]


def layer_records(tags: Sequence[Tag], events: Sequence[schema.Event]) -> LayerSeries:
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
    out. Raises NotRecorded where the newest step lacks the probe that was asked for.
    """
    newest = next(filter(None, (_map_of(layer, record) for record in series.records[::-1])), None)
    if newest is None:
        warnings = [*series.warnings, *_left_out(len(series.records), f"the maps of {layer!r}")]
        empty = np.zeros((0, 0, 0, 0), np.uint8)
        return MapSeries((), None, 0, (), (), empty, None, tuple(warnings))
    wanted = _wanted(layer, newest, probe)
    shape = (len(wanted), *newest.codes.shape[1:])
    fits = limit // (int(np.prod(shape)) + 12)  # and its step, lo and hi
    found: list[tuple[int, schema.EncodedMaps]] = []
    damaged = unfit = 0
    truncated_at = None
    for record in series.between(first, last):
        if len(found) == fits:
            truncated_at = record.step
            break
        encoded = _map_of(layer, record)
        if encoded is None:
            damaged += 1
        elif encoded.codes.shape[1:] != shape[1:] or not set(wanted) <= {*_names(encoded)}:
            unfit += 1
        else:
            found.append((record.step, encoded))
    warnings = [*series.warnings, *_left_out(damaged, f"the maps of {layer!r}")]
    if unfit:
        steps = "1 step" if unfit == 1 else f"{unfit} steps"
        why = "they had another shape, or showed fewer probes"
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


def _map_of(layer: str, record: Record) -> schema.EncodedMaps | None:
    try:
        encoded = schema.decode_maps(_bytes(record))
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
        raise NotRecorded(f"no maps of probe {probe} are recorded for layer {layer!r}: {there} are")
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
    """Correlation histograms in at most `limit` bytes."""
    records = series.between(first, last)
    good = [record for record in records if _is_histogram(record.content)]
    fits = limit // (4 * _BINS + 4)
    counts = np.zeros((len(good[:fits]), _BINS), np.int32)
    for target, record in zip(counts, good[:fits], strict=True):
        target[...] = np.minimum(record.content, np.iinfo(np.int32).max)
    damaged = _left_out(len(records) - len(good), f"the filter correlations of {layer!r}")
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


# -- probes ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Probes:
    """The probe set that was recorded last."""

    shown: schema.ShownProbes | None
    warnings: tuple[str, ...]


def probes(tags: Sequence[Tag]) -> Probes:
    """The probe set that was recorded last, from the tags `sparsity/probes/…`."""
    warnings = [warning for tag in tags for warning in tag.warnings]
    found: list[tuple[float, schema.ShownProbes]] = []
    for tag in tags:
        for record in tag.records:
            try:
                found.append((record.wall_time, schema.decode_probes(_bytes(record))))
            except SchemaError as error:
                warnings.append(f"a record of {tag.name} is left out: {error}")
    found.sort(key=lambda pair: pair[0])
    if len({shown.digest for _, shown in found}) > 1:
        warnings.append("the probe set changed during the run: values on both sides differ by that")
    return Probes(found[-1][1] if found else None, tuple(dict.fromkeys(warnings)))

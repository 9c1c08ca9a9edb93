"""The statistics of a run: tables of several tags, as layers come and go, made one."""

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
from sparsight.errors import SchemaError

from .records import Record, Tag, left_out

__all__ = ["Tables", "merged"]

T = TypeVar("T")

_MAX_NAMED = 4096  # layers of a run, or statistics of a layer: more is damage, not a network
_MAX_TEXT = 2_000_000


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


def merged(tags: Sequence[Tag]) -> Tables:
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
    warnings += left_out(len(tag.records) - len(good), tag.name)
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
        warnings.append(
            f"left out: {len(named) - len(kept)} of {len(named)} {noun}, which are too many to show"
        )
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
                f"layer {layer.name!r} had {layer.channels} channels and has "
                f"{newest.channels} now: its earlier records are left out"
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
        warnings += left_out(len(tag.records) - len(good), tag.name)
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

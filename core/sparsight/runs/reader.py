"""Reading what `writer` wrote, without a TensorBoard server."""

from __future__ import annotations

import heapq
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import schema
from ..errors import RunError
from ..maths.entropy import relative_entropy
from . import events

__all__ = ["Run", "Table", "read_run"]

Content = NDArray[Any] | bytes


@dataclass(frozen=True)
class Table:
    """The statistics of the layers at one step."""

    layers: tuple[schema.LayerInfo, ...]
    columns: tuple[schema.Column, ...]
    values: NDArray[np.float32]
    """[layers, columns]"""

    def value(self, layer: str, column: str) -> float:
        """One value. Raises RunError where there is no such layer or column."""
        try:
            row = [info.name for info in self.layers].index(layer)
            at = [known.name for known in self.columns].index(column)
        except ValueError:
            raise RunError(f"no {column!r} is recorded for layer {layer!r}") from None
        return float(self.values[row, at])

    def channels(self, layer: str) -> int:
        """D of a layer. Raises RunError where there is no such layer."""
        for info in self.layers:
            if info.name == layer:
                return info.channels
        raise RunError(f"no layer {layer!r} is recorded")


@dataclass(frozen=True)
class Run:
    """Everything Sparsight recorded in one directory; each mapping is by step, ascending."""

    tables: dict[int, Table] = field(default_factory=dict)
    global_steps: dict[int, int] = field(default_factory=dict)
    wall_times: dict[int, float] = field(default_factory=dict)
    """When each table was written, in seconds since 1970."""
    maps: dict[str, dict[int, schema.EncodedMaps]] = field(default_factory=dict)
    """By layer, then by step."""
    correlations: dict[str, dict[int, NDArray[np.int64]]] = field(default_factory=dict)
    """Counts [201], by layer, then by step."""
    probes: schema.ShownProbes | None = None
    """The probe set recorded last."""
    scalars: dict[str, dict[int, float]] = field(default_factory=dict)
    """TensorBoard's own scalars in the same directory, by tag, then by step."""
    scalar_times: dict[str, dict[int, float]] = field(default_factory=dict)
    """When each of them was written."""

    @property
    def steps(self) -> tuple[int, ...]:
        """The recorded epochs, ascending."""
        return tuple(self.tables)

    def statistic(self, layer: str, column: str) -> NDArray[np.float64]:
        """One statistic of one layer at each of `steps`; NaN where the layer was not recorded."""
        return np.array([_value_or_nan(t, layer, column) for t in self.tables.values()])

    def relative_entropy(self, layer: str) -> NDArray[np.float64]:
        """H / ln D of one layer at each of `steps`; NaN where the layer was not recorded, and for
        D = 1."""
        entropy = self.statistic(layer, "entropy")
        recorded = np.isfinite(entropy)
        for at, table in enumerate(self.tables.values()):
            if recorded[at]:
                entropy[at] = relative_entropy(entropy[at], table.channels(layer))
        return entropy


def read_run(logdir: str | Path, *, without: Collection[schema.Kind] = ()) -> Run:
    """Read the event files of one directory, in the order in which they were written.

    Kinds of records that are not wanted may be left out: maps need most of the memory.

    Where a run resumed at an earlier step, what came after that step before is dropped. Records of
    an unknown schema version, damaged ones, and what follows a damaged byte of a file, are left out
    with one warning each.
    Raises RunError where there is no such directory, or no event file in it.
    """
    folder = Path(logdir)
    if not folder.is_dir():
        raise RunError(
            f"{folder} is not a directory; expected a run directory, which holds event files"
        )
    paths = sorted(path for path in folder.iterdir() if events.is_event_file(path))
    if not paths:
        raise RunError(f"{folder} holds no event files")
    return _assemble(_values(paths), without)


def _values(paths: list[Path]) -> Iterator[tuple[schema.Event, Any]]:
    """All values of all files by wall time; of one file, in the order in which they stand there."""
    merged = heapq.merge(*map(_events, paths), key=lambda event: _wall_time(event))
    for event in merged:
        for value in event.summary.value:
            yield (event.step, _wall_time(event)), value


def _events(path: Path) -> Iterator[Any]:
    try:
        yield from events.read_events(path)
    except RunError as error:
        warnings.warn(str(error), stacklevel=2)


def _wall_time(event: Any) -> float:
    return float(event.wall_time) if np.isfinite(event.wall_time) else 0.0


Records = list[tuple[schema.Event, Any]]


def _assemble(values: Iterable[tuple[schema.Event, Any]], without: Collection[schema.Kind]) -> Run:
    found: dict[tuple[str, str], Records] = {}
    unreadable: dict[str, None] = {}
    for event, value in values:
        if schema.kind_of(value.tag) in without:
            continue
        try:
            decoded = _decode(value)
        except RunError as error:
            unreadable[f"{value.tag} is left out: {error}"] = None
            continue
        if decoded is not None:
            kind, name, content = decoded
            found.setdefault((kind, name), []).append((event, content))
    for message in unreadable:
        warnings.warn(message, stacklevel=3)
    run = [event for event, _ in found.get(("layers", ""), [])]

    def of(kind: str, part: int = 1) -> dict[str, dict[int, Any]]:
        others = () if kind == "scalars" else run
        return {
            n: _by_step(records, others)[part] for (k, n), records in found.items() if k == kind
        }

    probes = found.get(("probes", ""), [])
    return Run(
        tables=of("layers").get("", {}),
        global_steps=of("global_step").get("", {}),
        wall_times=of("layers", 0).get("", {}),
        maps=of("maps"),
        correlations=of("correlation"),
        probes=probes[-1][1] if probes else None,
        scalars=of("scalars"),
        scalar_times=of("scalars", 0),
    )


def _by_step(
    records: Records, run: Sequence[schema.Event]
) -> tuple[dict[int, float], dict[int, Any]]:
    """Wall times and contents of the records that count."""
    kept = [records[at] for at in schema.counting([event for event, _ in records], run)]
    times = {step: wall_time for (step, wall_time), _ in kept}
    return times, {step: content for (step, _), content in kept}


def _decode(value: Any) -> tuple[str, str, Any] | None:
    """Kind, layer (or scalar tag, or "") and content of one value; None where it is not ours."""
    if value.HasField("simple_value"):
        return "scalars", value.tag, float(value.simple_value)
    if value.metadata.plugin_data.plugin_name == "scalars":
        return "scalars", value.tag, float(_number(value.tensor))
    metadata = value.metadata.plugin_data.content
    if value.tag == schema.GLOBAL_STEP_TAG:
        schema.decode_metadata(metadata)
        return "global_step", "", int(_number(value.tensor))
    kind = schema.kind_of(value.tag)
    if kind is None:
        return None
    return kind, *_DECODERS[kind](metadata, events.tensor_content(value.tensor))


def _number(tensor: Any) -> Any:
    content = events.tensor_content(tensor)
    if isinstance(content, bytes) or content.size != 1:
        raise RunError("expected a single number")
    return content.reshape(-1)[0]


def _decode_table(metadata: bytes, record: Content) -> tuple[str, Table]:
    layers, columns = schema.decode_layers(metadata)
    if isinstance(record, bytes) or record.shape != (len(layers), len(columns)):
        raise RunError(f"expected a table of {len(layers)} layers and {len(columns)} columns")
    return "", Table(layers, columns, record)


def _decode_correlation(metadata: bytes, record: Content) -> tuple[str, NDArray[Any]]:
    layer = schema.decode_metadata(metadata).get("layer")
    if not isinstance(layer, str) or isinstance(record, bytes) or record.shape != (201,):
        raise RunError("expected a histogram of 201 counts")
    return layer, record


def _decode_maps(metadata: bytes, record: Content) -> tuple[str, schema.EncodedMaps]:
    maps = schema.decode_maps(_bytes(record))
    return maps.layer, maps


def _decode_probes(metadata: bytes, record: Content) -> tuple[str, schema.ShownProbes]:
    return "", schema.decode_probes(_bytes(record))


def _bytes(record: Content) -> bytes:
    if not isinstance(record, bytes):
        raise RunError("expected a record of bytes")
    return record


_DECODERS: dict[schema.Kind, Callable[[bytes, Content], tuple[str, Any]]] = {
    "layers": _decode_table,
    "maps": _decode_maps,
    "correlation": _decode_correlation,
    "probes": _decode_probes,
}
"""Layer (or "") and content of a record, given its metadata."""


def _value_or_nan(table: Table, layer: str, column: str) -> float:
    try:
        return table.value(layer, column)
    except RunError:
        return float("nan")

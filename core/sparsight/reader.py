"""Reading what `writer` wrote, without a TensorBoard server."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from . import events, schema
from .errors import RunError

__all__ = ["Run", "Table", "read_run"]

T = TypeVar("T")


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
            raise RunError(f"no value of {column!r} for layer {layer!r} is recorded") from None
        return float(self.values[row, at])


@dataclass(frozen=True)
class Run:
    """Everything Sparsight recorded in one directory; each mapping is by step, ascending."""

    tables: dict[int, Table] = field(default_factory=dict)
    global_steps: dict[int, int] = field(default_factory=dict)
    maps: dict[str, dict[int, schema.EncodedMaps]] = field(default_factory=dict)
    """By layer, then by step."""
    correlations: dict[str, dict[int, NDArray[np.int64]]] = field(default_factory=dict)
    """Counts [201], by layer, then by step."""
    probes: schema.ShownProbes | None = None
    """The probe set recorded last."""
    scalars: dict[str, dict[int, float]] = field(default_factory=dict)
    """TensorBoard's own scalars in the same directory, by tag, then by step."""

    @property
    def steps(self) -> tuple[int, ...]:
        """The recorded epochs, ascending."""
        return tuple(self.tables)

    def statistic(self, layer: str, column: str) -> NDArray[np.float64]:
        """One statistic of one layer at each of `steps`; NaN where the layer was not recorded."""
        return np.array([_value_or_nan(t, layer, column) for t in self.tables.values()])


def read_run(logdir: str | Path) -> Run:
    """Read the event files of one directory, oldest first.

    Where a run resumed at an earlier step, what came after that step before is dropped. Records of
    an unknown schema version, and what follows a damaged byte, are left out with one warning each.
    Raises RunError where there is no such directory, or no event file in it.
    """
    folder = Path(logdir)
    if not folder.is_dir():
        raise RunError(f"{folder} is no directory; a run directory holds event files")
    paths = sorted(path for path in folder.iterdir() if events.is_event_file(path))
    if not paths:
        raise RunError(f"{folder} holds no event file")
    return _assemble(list(_values(paths)))


def _values(paths: list[Path]) -> Iterator[tuple[int, Any]]:
    for path in paths:
        try:
            for event in events.read_events(path):
                for value in event.summary.value:
                    yield event.step, value
        except RunError as error:
            warnings.warn(str(error), stacklevel=4)


def _assemble(values: list[tuple[int, Any]]) -> Run:
    found: dict[tuple[str, str], list[tuple[int, Any]]] = {}
    unreadable: dict[str, None] = {}
    for step, value in values:
        try:
            decoded = _decode(value)
        except RunError as error:
            unreadable[f"{value.tag} is left out: {error}"] = None
            continue
        if decoded is not None:
            kind, name, content = decoded
            found.setdefault((kind, name), []).append((step, content))
    for message in unreadable:
        warnings.warn(message, stacklevel=3)

    def of(kind: str) -> dict[str, dict[int, Any]]:
        return {name: _by_step(records) for (k, name), records in found.items() if k == kind}

    probes = found.get(("probes", ""), [])
    return Run(
        tables=of("layers").get("", {}),
        global_steps=of("global_step").get("", {}),
        maps=of("maps"),
        correlations=of("correlation"),
        probes=probes[-1][1] if probes else None,
        scalars=of("scalars"),
    )


def _decode(value: Any) -> tuple[str, str, Any] | None:
    """Kind, layer (or scalar tag, or "") and content of one value; None where it is not ours."""
    if value.metadata.plugin_data.plugin_name == "scalars" or value.HasField("simple_value"):
        return "scalars", value.tag, _scalar(value)
    content = value.metadata.plugin_data.content
    if value.tag == schema.GLOBAL_STEP_TAG:
        schema.decode_metadata(content)
        return "global_step", "", int(np.asarray(events.tensor_content(value.tensor)))
    kind = schema.kind_of(value.tag)
    if kind is None:
        return None
    return kind, *_decode_record(kind, content, events.tensor_content(value.tensor))


def _decode_record(kind: str, metadata: bytes, record: NDArray[Any] | bytes) -> tuple[str, Any]:
    """Layer, or "", and content of one of our records."""
    if kind == "correlation":
        return str(schema.decode_metadata(metadata).get("layer")), np.asarray(record)
    if kind == "layers":
        layers, columns = schema.decode_layers(metadata)
        table = np.asarray(record)
        if table.shape != (len(layers), len(columns)):
            raise RunError(f"a table of shape {table.shape} for {len(layers)} layers")
        return "", Table(layers, columns, table)
    if not isinstance(record, bytes):
        raise RunError("a record of bytes was expected")
    if kind == "maps":
        maps = schema.decode_maps(record)
        return maps.layer, maps
    return "", schema.decode_probes(record)


def _scalar(value: Any) -> float:
    if value.HasField("simple_value"):
        return float(value.simple_value)
    return float(np.asarray(events.tensor_content(value.tensor)).reshape(-1)[0])


def _by_step(records: list[tuple[int, T]]) -> dict[int, T]:
    kept = schema.surviving([step for step, _ in records])
    return {records[position][0]: records[position][1] for position in kept}


def _value_or_nan(table: Table, layer: str, column: str) -> float:
    try:
        return table.value(layer, column)
    except RunError:
        return float("nan")

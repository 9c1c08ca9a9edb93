"""Writing measurements into a run directory, for TensorBoard and for `reader`."""

from __future__ import annotations

import itertools
import os
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from . import events, schema
from .errors import RunError
from .measurement import LayerMeasurement

__all__ = ["EventSink", "RunWriter"]

_NUMBER = itertools.count()
_SUFFIX = ".sparsight"


class EventSink(Protocol):
    """Where events go; the file writers of TensorBoard and PyTorch fit."""

    def add_event(self, event: Any) -> None:
        """Append one event."""

    def flush(self) -> None:
        """Make everything written so far visible to a reader."""

    def close(self) -> None:
        """Release the file."""


class RunWriter:
    """Writes one event a step into a run directory, and flushes it.

    `sink` shares another writer's event file: a second event file in a directory would freeze the
    user's own curves in TensorBoard's Python loader. A writer of its own names its file so that it
    sorts before others, and creates it with the first record. A new process always writes a new
    file. Raises RunError where the directory cannot be written.
    """

    def __init__(self, logdir: str | Path, sink: EventSink | None = None) -> None:
        self.logdir = Path(logdir)
        self._owned = sink is None
        self._sink = sink
        self._probes_written: set[bytes] = set()

    def write(
        self,
        step: int,
        measurements: Sequence[LayerMeasurement],
        *,
        probes: schema.ShownProbes | None = None,
        scalars: Mapping[str, float] | None = None,
        global_step: int | None = None,
        wall_time: float | None = None,
    ) -> None:
        """Record all layers at one step.

        `step` is the epoch, -1 before training. `scalars` also appear in TensorBoard's Scalars tab.
        `global_step` is the trainer's own count, by which our epochs are lined up with losses that
        others log. An earlier step than the last one replaces everything from there on.
        """
        values = [value for measurement in measurements for value in _layer_values(measurement)]
        if global_step is not None:
            content, metadata = np.array(global_step, np.int64), schema.encode_metadata()
            values.append(
                events.tensor_value(schema.GLOBAL_STEP_TAG, content, schema.LAYERS_PLUGIN, metadata)
            )
        values += self._probe_values(probes)
        values += [events.scalar_value(tag, value) for tag, value in (scalars or {}).items()]
        # The table comes last: who sees a step in it finds the step's maps as well.
        values += _table_values(measurements)
        # A wall time that is no number makes TensorBoard's Rust loader drop the rest of the file.
        now = time.time() if wall_time is None or not np.isfinite(wall_time) else wall_time
        try:
            sink = self._open()
            sink.add_event(events.event(step, now, values))
            sink.flush()
        except OSError as error:
            raise RunError(f"cannot write to {self.logdir}: {error.strerror or error}") from None

    def repeat(self, event: Any) -> None:
        """Write an event again as it was recorded, after an earlier step that fills a gap."""
        try:
            sink = self._open()
            sink.add_event(event)
            sink.flush()
        except OSError as error:
            raise RunError(f"cannot write to {self.logdir}: {error.strerror or error}") from None

    def close(self) -> None:
        """Close the event file, unless it belongs to another writer."""
        if self._owned and self._sink is not None:
            self._sink.close()
            self._sink = None

    def __enter__(self) -> RunWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self) -> EventSink:
        if self._sink is None:
            # Named by the time of writing, whatever the first record's: files are read in order.
            self._sink = _EventFile(self.logdir, time.time())
        return self._sink

    def _probe_values(self, probes: schema.ShownProbes | None) -> list[Any]:
        if probes is None:
            return []
        metadata = schema.encode_metadata(
            digest=probes.digest, count=probes.count, indices=list(probes.indices)
        )
        if metadata in self._probes_written:
            return []
        self._probes_written.add(metadata)
        return [_value("probes", metadata, probes.to_bytes())]


def _table_values(measurements: Sequence[LayerMeasurement]) -> list[Any]:
    if not measurements:
        return []
    names = [column.name for column in schema.COLUMNS]
    table = [[m.statistics.get(name, np.nan) for name in names] for m in measurements]
    metadata = schema.encode_layers([measurement.layer for measurement in measurements])
    return [_value("layers", metadata, np.array(table, np.float32))]


def _layer_values(measurement: LayerMeasurement) -> list[Any]:
    name = measurement.layer.name
    maps = schema.encode_maps(name, measurement.shown, measurement.maps, measurement.mean_map)
    metadata = schema.encode_metadata(layer=name, shape=list(maps.codes.shape[1:]))
    values = [_value("maps", metadata, maps.to_bytes())]
    if measurement.correlation is not None:
        counts = measurement.correlation.counts.astype(np.int64)
        values.append(_value("correlation", schema.encode_metadata(layer=name), counts))
    return values


def _value(kind: schema.Kind, metadata: bytes, content: NDArray[Any] | bytes) -> Any:
    return events.tensor_value(
        schema.tag_of(kind, metadata), content, schema.PLUGIN_OF[kind], metadata
    )


def _holds_records(path: Path) -> bool:
    """Whether another writer's file, that an earlier process shared, holds records of ours."""
    if path.name.endswith(_SUFFIX):
        return False
    ours = set(schema.PLUGIN_OF.values())
    try:
        return any(
            value.metadata.plugin_data.plugin_name in ours
            for event in itertools.islice(events.read_events(path), 1000)
            for value in event.summary.value
        )
    except RunError:
        return False  # damaged, or gone by now


class _EventFile:
    """An event file of our own."""

    def __init__(self, logdir: Path, now: float) -> None:
        logdir.mkdir(parents=True, exist_ok=True)
        # Sorts before every "events.out.tfevents.<seconds since 1970>…", after our own older ones.
        first = 0
        if any(_holds_records(path) for path in logdir.iterdir() if events.is_event_file(path)):
            first = int(now) + 1  # TensorBoard reads by name, and what it reads last counts
        name = (
            f"events.out.tfevents.{first:010d}.{int(now * 1000):013d}."
            f"{socket.gethostname()}.{os.getpid()}.{next(_NUMBER)}{_SUFFIX}"
        )
        self._file: BinaryIO = (logdir / name).open("xb")
        events.write_event(self._file, events.file_version(now))

    def add_event(self, event: Any) -> None:
        events.write_event(self._file, event)

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self._file.close()

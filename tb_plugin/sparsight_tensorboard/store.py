"""What a log directory holds, read through TensorBoard's data provider and nothing else.

All that is known here about the data provider is in this file. What the records mean is in
`recordings`.
"""

from __future__ import annotations

import json
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray
from tensorboard import errors as tensorboard_errors
from tensorboard import plugin_util
from tensorboard.data import provider as data_provider

from sparsight import schema
from sparsight.errors import RunError, nearest

from . import losses, recordings
from .recordings import NotRecorded, Record, Tables, Tag

__all__ = ["MeasurementStore", "RunSummary", "Scope", "Series"]

T = TypeVar("T")

_MAX_STEP = 2**31  # epochs travel as 32-bit integers
_ALL = 2**31 - 1  # steps; in a read 0 would mean none
_THINNED = (5_000, 1_000, 200)  # steps, where a tag does not fit into one message of 256 MiB
_SCALARS = 2_000  # points of a user's own curve; TensorBoard keeps 1,000 unless told otherwise
_CACHE_BYTES = 96 * 2**20
_RECENT = 1.0  # seconds for which a listing is used again
_READERS = 16  # reads at once: of the 44 ms that each takes, the data server works for one
_SETTLING = 6.0  # seconds; while it loads, the Rust loader shows what it has every 5 s
_OLD = 60.0  # seconds: a record that is older when it arrives was not written just now


@dataclass(frozen=True)
class Scope:
    """Whose data: TensorBoard's request context and experiment."""

    context: Any
    experiment: str

    @classmethod
    def of(cls, environ: Mapping[str, Any]) -> Scope:
        """Scope of a WSGI request."""
        return cls(plugin_util.context(environ), plugin_util.experiment_id(environ))


@dataclass(frozen=True)
class Series:
    """A tag of a run: what it is, and how far it has come. Changes when a record arrives."""

    tag: str
    max_step: int
    max_wall_time: float
    metadata: bytes


Listing = Mapping[str, tuple[Series, ...]]
"""Tags by run."""


@dataclass(frozen=True)
class RunSummary:
    """What the index says of a run."""

    run: str
    steps: int
    first_step: int | None
    last_step: int | None
    layers: int
    probe_digest: str | None
    probe_count: int | None
    loss_tag: str | None
    onset: int | None
    warnings: tuple[str, ...]


class MeasurementStore:
    """Reads runs; keeps what it read last, up to 96 MB, and nothing that a restart would miss."""

    def __init__(self, provider: Any) -> None:
        self._provider = provider
        self._tags: _Cache[Tag] = _Cache(_CACHE_BYTES)
        self._layer_tags: _Cache[tuple[Series, ...]] = _Cache(1_000)
        self._summaries: _Cache[RunSummary] = _Cache(10_000)
        self._listings: dict[Hashable, tuple[float, Listing]] = {}
        self._arrivals = _Arrivals()

    # -- what there is ----------------------------------------------------------------------------

    def runs(self, scope: Scope, fresh: bool = False) -> Listing:
        """The runs with Sparsight data, and the tags that describe each: tables, probes.

        A second old at most, or `fresh`: asking the Rust data server for a list takes 44 ms.
        """
        return self._recent(scope, self._provider.list_tensors, schema.LAYERS_PLUGIN, fresh)

    def scalars(self, scope: Scope, fresh: bool = False) -> Listing:
        """The user's own scalars; as old as `runs`."""
        return self._recent(scope, self._provider.list_scalars, "scalars", fresh)

    def tags(self, scope: Scope, run: str) -> tuple[Series, ...]:
        """The tags that describe this run. Raises NotRecorded where there are none."""
        runs = self.runs(scope)
        if run not in runs:
            known = nearest(run, runs)
            raise NotRecorded(f"no run {run!r} with Sparsight data is loaded; {known}")
        return runs[run]

    def layer_tags(
        self, scope: Scope, run: str, tags: Sequence[Series], kind: schema.Kind, layer: str
    ) -> tuple[Series, ...]:
        """The tags of one layer's maps or correlation histograms; there may be none.

        Listed once for each state of the `tags` that describe the run: a step's table is written
        after its maps.
        """
        plugin = schema.PLUGIN_OF[kind]

        def read() -> tuple[tuple[Series, ...], int]:
            return self._list(scope, self._provider.list_tensors, plugin, run).get(run, ()), 1

        found = self._layer_tags.get((scope.experiment, run, plugin, tuple(tags)), read)
        return tuple(
            series
            for series in found
            if schema.kind_of(series.tag) == kind and _fields(series).get("layer") == layer
        )

    def loading(self, runs: Listing) -> bool:
        """Whether old records are still arriving, so that runs may be incomplete."""
        return self._arrivals.late(
            {run: max(series.max_wall_time for series in tags) for run, tags in runs.items()}
        )

    # -- what it says -----------------------------------------------------------------------------

    def summaries(self, scope: Scope, runs: Listing, scalars: Listing) -> list[RunSummary]:
        """What the index says of each run."""
        with ThreadPoolExecutor(_READERS) as pool:
            read = [
                pool.submit(self._summary, scope, run, tags, runs, scalars)
                for run, tags in runs.items()
            ]
            return [summary.result() for summary in read]

    def _summary(
        self, scope: Scope, run: str, tags: Sequence[Series], runs: Listing, scalars: Listing
    ) -> RunSummary:
        """Computed again when something arrived."""
        names = losses.curve_names(run, {r: [s.tag for s in tags] for r, tags in scalars.items()})
        guess = losses.find_validation_loss(run, names, runs)
        owner, tag = names[guess] if guess else ("", "")
        state = [series for series in scalars.get(owner, ()) if series.tag == tag]

        def read() -> tuple[RunSummary, int]:
            tables = self.tables(scope, run, tags)
            turned = None
            if guess:
                points = self.points(scope, owner, tag)
                turned = losses.aligned(points, tables).onset
            probes = _fields(_newest_probes(tags))
            return RunSummary(
                run=run,
                steps=len(tables.steps),
                first_step=tables.steps[0] if tables.steps else None,
                last_step=tables.steps[-1] if tables.steps else None,
                layers=len(tables.layers),
                probe_digest=_if(str, probes.get("digest")),
                probe_count=_if(int, probes.get("count")),
                loss_tag=guess,
                onset=turned.epoch if turned else None,
                warnings=tables.warnings,
            ), 1

        return self._summaries.get((scope.experiment, run, *tags, guess, *state), read)

    def tables(self, scope: Scope, run: str, tags: Sequence[Series]) -> Tables:
        """The statistics of all layers, given the tags that describe the run."""
        chosen = [s for s in tags if schema.kind_of(s.tag) == "layers"]
        chosen += [s for s in tags if s.tag == schema.GLOBAL_STEP_TAG]
        return recordings.tables(self._read_all(scope, run, chosen))

    def layer_series(
        self, scope: Scope, run: str, tables: Tables, layer: str, own: Sequence[Series]
    ) -> recordings.LayerSeries:
        """Maps or correlation histograms of one layer, given its own tags.

        Raises NotRecorded where the run has no such layer.
        """
        names = [info.name for info in tables.layers]
        if layer not in names and not own:
            raise NotRecorded(f"run {run!r} has no layer {layer!r}; {nearest(layer, names)}")
        return recordings.layer_records(self._read_all(scope, run, own), tables.events)

    def probes(self, scope: Scope, run: str, tags: Sequence[Series]) -> recordings.Probes:
        """The shown probes of the set that was recorded last."""
        chosen = [series for series in tags if schema.kind_of(series.tag) == "probes"]
        return recordings.probes(self._read_all(scope, run, chosen))

    def points(self, scope: Scope, run: str, tag: str) -> list[Record]:
        """One of the user's own curves, thinned to 2,000 points where it is longer."""
        only = data_provider.RunTagFilter(runs=[run], tags=[tag])
        read = self._call(
            self._provider.read_scalars, scope, "scalars", downsample=_SCALARS, run_tag_filter=only
        )
        return [
            Record(int(point.step), _finite(point.wall_time), float(point.value))
            for point in read.get(run, {}).get(tag, ())
        ]

    # -- the data provider ------------------------------------------------------------------------

    def _recent(self, scope: Scope, call: Callable[..., Any], plugin: str, fresh: bool) -> Listing:
        key = scope.experiment, plugin
        made, listing = self._listings.get(key, (-math.inf, {}))
        if fresh or time.monotonic() - made > _RECENT:
            listing = self._list(scope, call, plugin)
            self._listings[key] = time.monotonic(), listing
        return listing

    def _list(
        self, scope: Scope, call: Callable[..., Any], plugin: str, run: str | None = None
    ) -> Listing:
        only = None if run is None else data_provider.RunTagFilter(runs=[run])
        found = self._call(call, scope, plugin, run_tag_filter=only)
        return {
            str(name): tuple(_series(tag, entry) for tag, entry in sorted(tags.items()))
            for name, tags in sorted(found.items())
            if tags
        }

    def _read_all(self, scope: Scope, run: str, tags: Sequence[Series]) -> list[Tag]:
        if len(tags) < _READERS:
            return [self._read(scope, run, series) for series in tags]
        with ThreadPoolExecutor(_READERS) as pool:  # layers that come and go make many tags
            return list(pool.map(lambda series: self._read(scope, run, series), tags))

    def _read(self, scope: Scope, run: str, series: Series) -> Tag:
        """All records of one tag: one run and tag at a time, as a message holds 256 MiB at most."""

        def read() -> tuple[Tag, int]:
            tag = self._read_whole(scope, run, series)
            return tag, sum(_size(record.content) for record in tag.records)

        return self._tags.get((scope.experiment, run, series), read)

    def _read_whole(self, scope: Scope, run: str, series: Series) -> Tag:
        plugin = schema.PLUGIN_OF[schema.kind_of(series.tag) or "layers"]
        only = data_provider.RunTagFilter(runs=[run], tags=[series.tag])
        for steps in (_ALL, *_THINNED):
            try:
                read = self._provider.read_tensors(
                    scope.context,
                    experiment_id=scope.experiment,
                    plugin_name=plugin,
                    downsample=steps,
                    run_tag_filter=only,
                )
            except Exception as error:  # a damaged tensor can make the data provider raise anything
                if not _is_too_large(error):
                    problem = f"{series.tag} is left out: TensorBoard cannot read it"
                    return Tag(series.tag, series.metadata, (), (f"{problem} ({_brief(error)})",))
                continue
            data = read.get(run, {}).get(series.tag, ())
            records = tuple(_record(datum) for datum in data if abs(datum.step) < _MAX_STEP)
            warnings = []
            if len(records) < len(data):
                warnings.append(f"steps of {series.tag} that are no epochs are left out")
            if steps != _ALL:
                shown = f"{len(records)} steps are shown"
                warnings.append(f"{series.tag} is too large to read at once: {shown}")
            return Tag(series.tag, series.metadata, records, tuple(warnings))
        problem = f"{series.tag} is left out: its records are too large to read"
        return Tag(series.tag, series.metadata, (), (problem,))

    def _call(self, call: Callable[..., Any], scope: Scope, plugin: str, **options: Any) -> Any:
        try:
            return call(
                scope.context, experiment_id=scope.experiment, plugin_name=plugin, **options
            )
        except tensorboard_errors.PublicError:
            raise  # TensorBoard itself answers these, such as "permission denied"
        except Exception as error:  # gRPC's own among them, where the data server is gone
            raise RunError(
                f"TensorBoard's data cannot be read just now ({_brief(error)}); it may still be "
                "starting, or has to be started again"
            ) from None


def _series(tag: str, entry: Any) -> Series:
    step = 0 if entry.max_step is None else int(entry.max_step)
    return Series(tag, step, _finite(entry.max_wall_time), bytes(entry.plugin_content))


def _record(datum: Any) -> Record:
    content = datum.numpy
    if content.dtype.kind in "OSU":
        item = content.reshape(-1)[0] if content.size == 1 else None
        content = item if isinstance(item, bytes) else None
    return Record(int(datum.step), _finite(datum.wall_time), content)


def _finite(wall_time: float | None) -> float:
    """A wall time that can be ordered: one that is unknown or NaN counts as 0."""
    return float(wall_time) if wall_time is not None and np.isfinite(wall_time) else 0.0


def _fields(series: Series | None) -> dict[str, Any]:
    """Metadata without judgement of its version; that is the decoder's."""
    try:
        fields = json.loads(series.metadata) if series else {}
    except (ValueError, RecursionError):
        fields = {}
    return fields if isinstance(fields, dict) else {}


def _if(kind: type[T], value: Any) -> T | None:
    return value if isinstance(value, kind) else None


def _newest_probes(tags: Iterable[Series]) -> Series | None:
    chosen = [series for series in tags if schema.kind_of(series.tag) == "probes"]
    return max(chosen, key=lambda series: series.max_wall_time, default=None)


def _size(content: NDArray[Any] | bytes | None) -> int:
    size = content.nbytes if isinstance(content, np.ndarray) else len(content or b"")
    return 100 + size


def _is_too_large(error: Exception) -> bool:
    """Whether a gRPC message was larger than what TensorBoard accepts from its data server."""
    code = getattr(error, "code", None)
    return callable(code) and getattr(code(), "name", "") == "RESOURCE_EXHAUSTED"


def _brief(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]


class _Cache(Generic[T]):
    """Least recently used values, up to a total size."""

    def __init__(self, size: int) -> None:
        self._size = self._room = size
        self._values: OrderedDict[Hashable, tuple[T, int]] = OrderedDict()
        self._lock = threading.Lock()  # TensorBoard serves each request in a thread of its own

    def get(self, key: Hashable, make: Callable[[], tuple[T, int]]) -> T:
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
                return self._values[key][0]
        value, size = make()
        with self._lock:
            if key not in self._values and size <= self._size:
                self._values[key] = value, size
                self._room -= size
            while self._room < 0:
                self._room += self._values.popitem(last=False)[1][1]
        return value


class _Arrivals:
    """When each run's newest record was first seen."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._seen: dict[str, tuple[float, float]] = {}
        self._clock = clock
        self._started = clock()

    def late(self, newest: Mapping[str, float]) -> bool:
        """Whether a record arrived in the last seconds that had been written long before."""
        now = self._clock()
        for run, wall_time in newest.items():
            known = self._seen.get(run)
            if known is None:  # who looks for the first time long after the start sees it all
                fresh = now - self._started < 2 * _SETTLING
                self._seen[run] = wall_time, now if fresh else 0.0
            elif known[0] != wall_time:
                self._seen[run] = wall_time, now
        return any(
            now - seen < _SETTLING and seen - wall_time > _OLD
            for wall_time, seen in list(self._seen.values())
        )

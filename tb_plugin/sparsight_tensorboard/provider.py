"""TensorBoard's data provider: all that is known here about it.

Both loaders answer through it, and only through it: with the Rust loader `context.multiplexer` is
None. What they do with event files is told in `sparsight.runs`; what matters to a reader (2.21):

- Steps of an unknown plugin are thinned, to 10 a tag by the Python loader and to 100 by the Rust
  one, unless `samples_per_plugin` says otherwise (see `loader`). There 0 means all; in a read
  `downsample=0` means none.
- A gRPC message holds 256 MiB at most, so one run and tag is read at a time. A tensor read brings a
  layer's 200 steps in 10 ms; a read of BLOB_SEQUENCE would cost about 42 ms each.
- Each list call of the Rust loader takes about 44 ms, so `store` uses a listing again for a second
  and reads runs side by side.
- While a run loads, the Rust loader commits every 5 s, a run at a time. It does not check the
  records' checksums.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from tensorboard import errors as tensorboard_errors
from tensorboard import plugin_util
from tensorboard.data import provider as data_provider

from sparsight import schema
from sparsight.errors import RunError

from .records import Record, Tag

__all__ = ["Listing", "Provider", "Scope", "Series"]

_MAX_STEP = 2**31  # epochs travel as 32-bit integers
_ALL = 2**31 - 1  # steps; in a read 0 would mean none
_THINNED = (5_000, 1_000, 200)  # steps, where a tag does not fit into one message
_SCALARS = 2_000  # points of a user's own curve; TensorBoard keeps 1,000 unless told otherwise


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


class Provider:
    """Lists and reads what is loaded. Raises RunError where the data server does not answer."""

    def __init__(self, provider: Any) -> None:
        self._provider = provider

    def tensors(self, scope: Scope, plugin: str, run: str | None = None) -> Listing:
        """The tags of a plugin of ours, of one run or of all."""
        return self._list(self._provider.list_tensors, scope, plugin, run)

    def scalars(self, scope: Scope) -> Listing:
        """The user's own scalars."""
        return self._list(self._provider.list_scalars, scope, "scalars")

    def records(self, scope: Scope, run: str, series: Series) -> Tag:
        """All records of one tag; a damaged or too large one has none, and a warning."""
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
                warnings.append(
                    f"steps of {series.tag} that are too large to be epochs are left out"
                )
            if steps != _ALL:
                shown = f"only {len(records)} of its steps are shown"
                warnings.append(f"{series.tag} is too large to read at once: {shown}")
            return Tag(series.tag, series.metadata, records, tuple(warnings))
        problem = f"{series.tag} is left out: its records are too large to read"
        return Tag(series.tag, series.metadata, (), (problem,))

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

    def _list(
        self, call: Callable[..., Any], scope: Scope, plugin: str, run: str | None = None
    ) -> Listing:
        only = None if run is None else data_provider.RunTagFilter(runs=[run])
        found = self._call(call, scope, plugin, run_tag_filter=only)
        return {
            str(name): tuple(_series(tag, entry) for tag, entry in sorted(tags.items()))
            for name, tags in sorted(found.items())
            if tags
        }

    def _call(self, call: Callable[..., Any], scope: Scope, plugin: str, **options: Any) -> Any:
        try:
            return call(
                scope.context, experiment_id=scope.experiment, plugin_name=plugin, **options
            )
        except tensorboard_errors.PublicError:
            raise  # TensorBoard itself answers these, such as "permission denied"
        except Exception as error:  # gRPC's own among them, where the data server is gone
            raise RunError(
                f"cannot read TensorBoard's data ({_brief(error)}); TensorBoard may still be "
                "starting, or need a restart"
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


def _is_too_large(error: Exception) -> bool:
    """Whether a gRPC message was larger than what TensorBoard accepts from its data server."""
    code = getattr(error, "code", None)
    return callable(code) and getattr(code(), "name", "") == "RESOURCE_EXHAUSTED"


def _brief(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]

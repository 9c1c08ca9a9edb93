"""What the routes answer, made from what the store found: pure functions.

The shapes of the answers are described in http_api.md.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import math
import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsight.schema import Event

from . import layer_series
from .layer_series import LayerSeries
from .losses import Choice, Curve, Names, Turn
from .probes import Probes
from .store import RunSummary
from .tables import Tables

__all__ = [
    "correlation",
    "frame",
    "index",
    "layers",
    "maps",
    "onsets",
    "probes",
    "scalar",
    "scalar_names",
]

MAX_ANSWER = 10_000_000
"""Bytes of one answer, before compression."""

_LENDERS = 90_000  # bytes of the names of runs that can lend a curve
_SLACK = 100_000  # bytes for warnings and for what else stands in a header
_DTYPES = {"float32": "<f4", "float64": "<f8", "int32": "<i4", "uint8": "|u1"}
_PNG = b"\x89PNG\r\n\x1a\n"

Arrays = Mapping[str, NDArray[Any]]
Json = dict[str, Any]


def index(
    version: str, loading: bool, runs: Iterable[RunSummary], lenders: Sequence[str] = ()
) -> Json:
    """`index`: the runs that have Sparsight data, sorted by name, and who can lend a loss curve."""
    entries: list[Json] = []
    warnings: list[str] = []
    room = MAX_ANSWER - _SLACK - _LENDERS
    for run in runs:
        entry = {**vars(run), "warnings": _bounded(run.warnings)}
        room -= len(_json(entry))
        if room > 0:
            entries.append(entry)
        else:
            warnings = ["too many runs to list them all: point --logdir at fewer"]
    return {
        "version": version,
        "loading": loading,
        "runs": entries,
        "lenders": _fitting_text(lenders, _LENDERS),
        "warnings": warnings,
    }


def _fitting_text(names: Sequence[str], room: int) -> list[str]:
    """The first of the names, as many as fit into so many bytes."""
    sizes = itertools.accumulate(len(json.dumps(name)) + 1 for name in names)
    return [name for name, size in zip(names, sizes, strict=True) if size <= room]


def onsets(choice: Choice, found: Mapping[str, Turn | None]) -> Json:
    """`onsets`: where each run's validation loss turned; runs where it did not are left out."""
    turned = {run: vars(turn) for run, turn in found.items() if turn is not None}
    kept = _fitting_text([*turned], MAX_ANSWER // 2)
    return {**vars(choice), "onsets": {run: turned[run] for run in kept}}


def probes(run: str, found: Probes) -> Json:
    """`probes`: the shown probes, as pictures or series."""
    warnings = list(found.warnings)
    shown = found.shown
    if shown is None:
        nothing: Json = {"digest": None, "count": 0, "kind": "none", "indices": [], "items": []}
        return {"run": run, **nothing, "warnings": _bounded(warnings)}
    decode = _picture if shown.kind == "image" else _numbers
    items = [decode(item) for item in shown.items]
    indices = list(shown.indices)
    if None in items or (items and len(items) != len(indices)):
        warnings.append("the shown probes are left out: their record is damaged")
        items = []
    kept = _fitting(items)
    if kept < len(items):
        warnings.append(f"{len(items) - kept} shown probes are left out: they are too large")
    return {
        "run": run,
        "digest": shown.digest,
        "count": shown.count,
        "kind": shown.kind if items else "none",
        "indices": indices[:kept] if items else indices,
        "items": items[:kept],
        "warnings": _bounded(warnings),
    }


def scalar_names(run: str, names: Names, guess: str | None) -> Json:
    """`scalars?run=`: the curves that could be the validation loss."""
    return {"run": run, "tags": list(names)[:10_000], "guess": guess}


def scalar(run: str, tag: str, sigma: float, curve: Curve) -> Json:
    """`scalars?run=&tag=&sigma=`: one curve, lined up with our epochs."""
    return {
        "run": run,
        "tag": tag,
        "sigma": sigma,
        "aligned_by": curve.aligned_by,
        "steps": list(curve.steps),
        "epochs": _finite(curve.epochs),
        "values": _finite(curve.values),
        "smoothed": _finite(curve.smoothed),
        "onset": curve.onset and vars(curve.onset),
    }


def layers(run: str, tables: Tables, first: int | None, last: int | None) -> bytes:
    """`layers`: the statistics of all layers at the steps from `first` to `last`."""
    header: Json = {
        "run": run,
        "layers": [vars(layer) for layer in tables.layers],
        "columns": [vars(column) for column in tables.columns],
        "warnings": _bounded(tables.warnings),
    }
    steps = np.array(tables.steps, np.int64)
    start = 0 if first is None else int(np.searchsorted(steps, first))
    stop = len(steps) if last is None else int(np.searchsorted(steps, last, side="right"))
    row = 4 * len(tables.layers) * len(tables.columns) + 20
    fits = max((MAX_ANSWER - _SLACK - len(_json(header))) // row, 0)
    end = max(min(stop, start + fits), start)
    header["truncated_at"] = tables.steps[end] if end < stop else None
    events = [*zip(tables.steps, tables.wall_times, strict=True)]
    header |= _place(events, tables.steps[start:end], first, header["truncated_at"])
    arrays: Arrays = {
        "steps": np.array(tables.steps[start:end], np.int32),
        "wall_times": np.array(tables.wall_times[start:end], np.float64),
        "global_steps": np.array(tables.global_steps[start:end], np.float64),
        "values": tables.values(start, end),
    }
    return frame(header, arrays)


def maps(
    run: str,
    layer: str,
    channels: int | None,
    series: LayerSeries,
    probe: int | str | None,
    first: int | None,
    last: int | None,
) -> bytes:
    """`maps`: entropy maps of one layer, of one probe or of all that are shown."""
    limit = MAX_ANSWER - _SLACK - 2 * len(_json({"run": run, "layer": layer}))
    found = layer_series.maps(layer, series, probe=probe, first=first, last=last, limit=limit)
    header = {
        "run": run,
        "layer": layer,
        "channels": channels,
        "probes": found.probes,
        "pooled_from": found.pooled_from,
        "left_out": found.left_out,
        "truncated_at": found.truncated_at,
        **_place(series.events, found.steps, first, found.truncated_at),
        "warnings": _bounded(found.warnings),
    }
    ranges = np.array(found.ranges, np.float32).reshape(-1, 2)
    arrays: Arrays = {
        "steps": np.array(found.steps, np.int32),
        "lo": ranges[:, 0],
        "hi": ranges[:, 1],
        "codes": found.codes,
    }
    return frame(header, arrays)


def correlation(
    run: str, layer: str, series: LayerSeries, first: int | None, last: int | None
) -> bytes:
    """`correlation`: histograms of the filter correlations of one layer."""
    limit = MAX_ANSWER - _SLACK - 2 * len(_json({"run": run, "layer": layer}))
    found = layer_series.correlations(layer, series, first=first, last=last, limit=limit)
    header = {
        "run": run,
        "layer": layer,
        "truncated_at": found.truncated_at,
        **_place(series.events, found.steps, first, found.truncated_at),
        "warnings": _bounded(found.warnings),
    }
    return frame(header, {"steps": np.array(found.steps, np.int32), "counts": found.counts})


def _place(
    events: Sequence[Event], steps: Sequence[int], first: int | None, truncated_at: int | None
) -> Json:
    """Which records lie before an answer with these steps, and which up to its end.

    An answer that was cut ends before the first step that did not fit, damaged records and all.

    Another answer goes on from this one where its `since` is this one's `until`: nothing that this
    one holds was dropped, and nothing was put between.
    """
    start = 0 if first is None else sum(step < first for step, _ in events)
    end = sum(step <= steps[-1] for step, _ in events) if steps else start
    if truncated_at is not None:
        end = sum(step < truncated_at for step, _ in events)
    return {"since": _digest(events[:start]), "until": _digest(events[:end])}


def _digest(events: Sequence[Event]) -> str:
    return hashlib.sha256(repr([*events]).encode()).hexdigest()[:16]


def frame(header: Mapping[str, Any], arrays: Arrays) -> bytes:
    """A binary answer: length and text of the header, then the arrays at multiples of 8 bytes."""
    described = [
        {"name": name, "dtype": array.dtype.name, "shape": array.shape}
        for name, array in arrays.items()
    ]
    text = _json({**header, "arrays": described})
    text += b" " * (-(4 + len(text)) % 8)
    pieces = [struct.pack("<I", len(text)), text]
    for array in arrays.values():
        content = array.astype(_DTYPES[array.dtype.name], copy=False).tobytes()
        pieces += [content, bytes(-len(content) % 8)]
    return b"".join(pieces)


def _json(fields: Mapping[str, Any]) -> bytes:
    return json.dumps(fields, separators=(",", ":"), allow_nan=False).encode()


def _finite(values: NDArray[np.floating[Any]]) -> list[float | None]:
    """JSON holds no NaN and no infinity."""
    return [value if math.isfinite(value) else None for value in values.tolist()]


def _bounded(warnings: Sequence[str]) -> list[str]:
    """A page of warnings: names in them may be 10,000 characters long, and there may be many."""
    shown = [
        text if len(text) <= 400 else f"{text[:200]} … {text[-200:]}" for text in warnings[:40]
    ]
    return shown + ([f"and {len(warnings) - 40} more warnings"] if len(warnings) > 40 else [])


def _picture(item: bytes) -> str | None:
    if not item.startswith(_PNG):
        return None
    return "data:image/png;base64," + base64.b64encode(item).decode()


def _numbers(item: bytes) -> list[float | None] | None:
    if len(item) % 4:
        return None
    return _finite(np.frombuffer(item, "<f4"))


def _fitting(items: Sequence[Any]) -> int:
    """How many of the items fit into an answer."""
    room = MAX_ANSWER - _SLACK
    for number, item in enumerate(items):
        room -= len(json.dumps(item)) + 1
        if room < 0:
            return number
    return len(items)

"""Names for the layers of an optimised model: those that their weights have in the original.

ONNX Runtime gives fused operators and folded weights names of its own. The numbers tell what they
were: equal ones, and ones that are alike filter by filter up to a factor, since batch normalisation
is folded into weights as a factor a filter and a quantised weight is a multiple of its scale.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError, UsageError
from .layer_names import free_name
from .model import Model, open_model
from .taps import Tap, Taps, filters, find_taps

__all__ = ["renamed"]

_MOST_ROWS = 64  # filters of a layer that are compared
_EQUAL = 1e-3  # relative; numbers of 16 bits differ by half of it
_ALIKE = 0.5  # mean cosine
_SURE = 5.0  # standard deviations above what unrelated filters have
_CLEARER = 0.25  # than the next best

_Rows = NDArray[np.float32]


@dataclass(frozen=True)
class _Layer:
    """Some filters of a layer, a row each, in the orders that its weights may be stored in."""

    name: str
    shape: tuple[int, int]
    """Filters, and numbers of each."""
    forms: tuple[_Rows, ...]


def renamed(model: Model, found: Taps, original: str | Path) -> Taps:
    """The same layers with the names that their weights have in another file of the network.

    A layer whose weights no layer of the original has, or more than one, keeps its own name; a
    remark says which. Raises UsageError where the original cannot be read or has no layers.
    """
    known = _layers_of(str(original), _changed(original))
    own = list(_layers(model, found.taps))
    names = _equal(own, known)
    equal = len(names)
    names |= _alike(own, known, names)
    taken = set(names.values())
    taps = []
    for tap in found.taps:
        name = names.get(tap.name) or free_name(tap.name, taken)
        taken.add(name)
        taps.append(replace(tap, name=name))
    kept = [tap.name for tap in found.taps if tap.name not in names]
    remark = f"names from {original}: {_told(equal, len(names) - equal, kept)}"
    return replace(found, taps=tuple(taps), remarks=(*found.remarks, remark))


def _told(equal: int, alike: int, kept: Sequence[str]) -> str:
    parts = [f"{equal} by equal weights"] if equal else []
    parts += [f"{alike} by weights that are alike"] if alike else []
    if kept:
        parts.append(f"{len(kept)} kept, since no one layer there has its weights: {_few(kept)}")
    return "; ".join(parts)


def _few(names: Sequence[str]) -> str:
    more = len(names) - 5
    return ", ".join(names[:5]) + (f" and {more} more" if more > 0 else "")


def _changed(path: str | Path) -> int:
    """When a file was written, so that what is remembered of it is not of an older one."""
    try:
        return Path(path).stat().st_mtime_ns
    except OSError:
        return 0


@lru_cache(maxsize=1)
def _layers_of(path: str, changed: int) -> tuple[_Layer, ...]:
    try:
        model = open_model(path)
        layers = tuple(_layers(model, find_taps(model).taps))
    except ModelError as error:
        raise UsageError(f"names cannot be taken from {path}: {error}") from None
    if not layers:
        raise UsageError(f"names cannot be taken from {path}: it has no layers with weights")
    return layers


def _layers(model: Model, taps: Sequence[Tap]) -> Iterator[_Layer]:
    for tap in taps:
        rows = filters(model, tap)
        if rows is None or not rows.size:
            continue
        forms = [rows] if rows.ndim < 3 else [rows, np.moveaxis(rows, 1, -1)]
        size = rows[0].size
        chosen = np.unique(np.linspace(0, len(rows) - 1, _MOST_ROWS).astype(int))
        flat = tuple(form[chosen].reshape(-1, size).astype(np.float32) for form in forms)
        yield _Layer(tap.name, (len(rows), size), flat)


def _equal(own: Sequence[_Layer], known: Sequence[_Layer]) -> dict[str, str]:
    """Names by equal numbers; of weights that are used more than once, use by use."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for layer in own:
        same = tuple(other.name for other in known if _are_equal(layer, other))
        groups.setdefault(same, []).append(layer.name)
    return {
        name: other
        for same, names in groups.items()
        if len(same) == len(names)
        for name, other in zip(names, same, strict=True)
    }


def _alike(
    own: Sequence[_Layer], known: Sequence[_Layer], names: Mapping[str, str]
) -> dict[str, str]:
    """Names by the cosine of filters, for those that are left, where each is the other's best."""
    left = [layer for layer in own if layer.name not in names]
    free = [layer for layer in known if layer.name not in names.values()]
    table = np.array([[_likeness(a, b) for b in free] for a in left]).reshape(len(left), len(free))
    found = {}
    for row, layer in enumerate(left if free else []):
        column = int(table[row].argmax())
        rivals = [*np.delete(table[row], column), *np.delete(table[:, column], row)]
        clear = table[row, column] - max(rivals, default=0.0) >= _CLEARER
        if clear and table[row, column] >= _threshold(layer):
            found[layer.name] = free[column].name
    return found


def _threshold(layer: _Layer) -> float:
    """What unrelated filters do not reach: of K numbers, |cosine| is .8 +- .6, over sqrt(K)."""
    rows = max(1, int((np.linalg.norm(layer.forms[0], axis=1) > 0).sum()))
    chance = (0.8 + _SURE * 0.6 / np.sqrt(rows)) / np.sqrt(layer.shape[1])
    return float(max(_ALIKE, chance))


def _are_equal(own: _Layer, other: _Layer) -> bool:
    if own.shape != other.shape:
        return False
    distances = [np.linalg.norm(own.forms[0] - form) for form in other.forms]
    return bool(min(distances) <= _EQUAL * np.linalg.norm(own.forms[0]))


def _likeness(own: _Layer, other: _Layer) -> float:
    """Mean of the filters' |cosine|, in the order that fits best; 0 where shapes differ."""
    if own.shape != other.shape:
        return 0.0
    return max(_cosine(own.forms[0], form) for form in other.forms)


def _cosine(rows: _Rows, others: _Rows) -> float:
    lengths = np.linalg.norm(rows, axis=1) * np.linalg.norm(others, axis=1)
    if not (lengths > 0).any():
        return 0.0
    products: NDArray[Any] = np.abs((rows * others).sum(axis=1))
    return float((products[lengths > 0] / lengths[lengths > 0]).mean())

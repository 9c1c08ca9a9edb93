"""Which axis of each input of a model counts the samples: given by the user, or suggested
by the names of its dimensions.

Most inputs are [N, ...]. A recurrent network's states are [layers, N, hidden], a sequence-first
network takes [L, N, D], and some inputs are the same for every sample.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from ..errors import UsageError, nearest
from .probe_set import InputSpec

__all__ = ["parse_axes", "with_axes"]

_BATCH = (re.compile(r"(num_?)?batch(es|_?size|_?dim)?", re.I), re.compile(r"n|b|bs", re.I))
"""What dimensions that count samples are called; the second only where there is none of the first,
since it may well be another number."""


def parse_axes(entries: Iterable[str]) -> dict[str, int | None]:
    """Axes by input of "h=1", "sr=none" and the like. Raises UsageError for anything else."""
    axes: dict[str, int | None] = {}
    for entry in entries:
        name, _, axis = entry.rpartition("=")
        number = re.fullmatch(r"-?\d+", axis)
        if not name or (number is None and axis.lower() != "none"):
            raise UsageError(
                f"--input-axis {entry!r}: expected NAME=AXIS, such as h=1, or NAME=none for "
                "an input that is the same for all samples"
            )
        axes[name] = None if number is None else int(axis)
    return axes


def with_axes(specs: Sequence[InputSpec], given: Mapping[str, int | None]) -> list[InputSpec]:
    """The inputs, each with the axis that counts its samples: as given, else as the names of its
    dimensions tell, else the first.

    Raises UsageError for an input or an axis that is not there.
    """
    names = [spec.name for spec in specs]
    for name in given:
        if name not in names:
            raise UsageError(f"the model has no input {name!r}; {nearest(name, names)}")
    free = [spec for spec in specs if spec.name not in given]
    by_name = {spec.name: _axis_by_name(spec, free) for spec in free}
    return [
        replace(spec, axis=_axis_given(spec, given[spec.name]))
        if spec.name in given
        else replace(spec, axis=by_name[spec.name])
        for spec in specs
    ]


def _axis_given(spec: InputSpec, axis: int | None) -> int | None:
    rank = None if spec.shape is None else len(spec.shape)
    if axis is None or rank is None or -rank <= axis < rank:
        return axis if axis is None or rank is None else axis % rank
    raise UsageError(
        f"input {spec.name!r} is {spec}: it has no axis {axis} to count the samples; it has "
        f"axes 0 to {rank - 1}"
        if rank
        else f"input {spec.name!r} is a single number: it has no axis to count the samples"
    )


def _axis_by_name(spec: InputSpec, specs: Sequence[InputSpec]) -> int:
    """The axis that counts the samples, by the names of all inputs' dimensions.

    One that is called batch tells it, wherever it stands. Else the name of another input's first
    dimension does, if the first dimension here is a number: [2, s0, 64] beside [s0, 16].
    """
    shape = spec.shape or ()
    for pattern in _BATCH:
        named = {s for other in specs for s in _names(other) if pattern.fullmatch(s)}
        if named:
            axes = [axis for axis, side in enumerate(shape) if side in named]
            return axes[0] if len(axes) == 1 else 0
    firsts = {other.shape[0] for other in specs if other.shape and _names(other, 1)}
    axes = [axis for axis, side in enumerate(shape) if side in firsts]
    return axes[0] if len(axes) == 1 and isinstance(shape[0], int) else 0


def _names(spec: InputSpec, first: int | None = None) -> list[str]:
    """The dimensions, or the first of them, that have a name."""
    return [s for s in (spec.shape or ())[:first] if isinstance(s, str) and s != "?"]

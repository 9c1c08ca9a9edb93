"""The parameters of a request."""

from __future__ import annotations

import math
from collections.abc import Mapping

from sparsight.errors import UsageError, nearest
from sparsight.maths.onset import SIGMA

__all__ = ["Query"]


class Query:
    """The parameters of a request. Raises UsageError for what is missing or makes no sense."""

    def __init__(self, values: Mapping[str, str], known: tuple[str, ...]) -> None:
        self._values = values
        for name in self._values:
            if name not in known:
                raise UsageError(f"unknown parameter {name!r}; {nearest(name, known)}")

    def text(self, name: str) -> str:
        """A parameter that must be there."""
        value = self.optional(name)
        if value is None:
            raise UsageError(f"missing parameter {name!r}")
        return value

    def optional(self, name: str) -> str | None:
        """A parameter that may be missing."""
        return self._values.get(name) or None

    def step(self, name: str) -> int | None:
        """A step, or None where it is not given."""
        value = self.optional(name)
        return None if value is None else _whole_number(name, value)

    def probe(self) -> int | str | None:
        """Index of a probe, "mean", or None for all."""
        value = self.optional("probe")
        if value is None or value == "mean":
            return value
        return _whole_number("probe", value, " or mean")

    def sigma(self) -> float:
        """Width of the smoothing in epochs."""
        value = self.optional("sigma")
        if value is None:
            return SIGMA
        try:
            sigma = float(value)
        except ValueError:
            sigma = math.nan
        if not 0 <= sigma <= 1e6:
            raise UsageError(f"sigma={value!r}: expected a number of epochs, 0 or more")
        return sigma


def _whole_number(name: str, value: str, more: str = "") -> int:
    try:
        number = int(value)
    except ValueError:
        number = 2**63
    if abs(number) >= 2**63:
        raise UsageError(f"{name}={value[:50]!r}: expected a whole number{more}")
    return number

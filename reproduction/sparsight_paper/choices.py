"""What the paper leaves open, as options; README.md argues for the defaults."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass, fields
from functools import cache
from typing import Any, Literal, get_args, get_type_hints

from sparsight.errors import UsageError
from sparsight.maths.correlation import Centre
from sparsight_torch.functional import Form, Reduction

from .networks import Initialisation, Padding, Placement

__all__ = ["DEFAULT", "VARIED", "Choices", "choices_of"]


@dataclass(frozen=True)
class Choices:
    """How the paper is read where it is silent. Raises UsageError for values there are not."""

    padding: Padding = "same"
    initialisation: Initialisation = "glorot"
    placement: Placement = "block"
    """Where dropNet's dropout and normNet's batch normalisation stand."""
    entropy_at: Literal["linear", "activation"] = "linear"
    reduction: Reduction = "sum"
    centre: Centre = "own"
    form: Form = "signed"
    lambda_: float = 1e-3
    kappa: float = 1.0

    def __post_init__(self) -> None:
        for name, known in _known().items():
            value = getattr(self, _field(name))
            if known and value not in known:
                raise UsageError(f"{name}={value}: expected one of {', '.join(known)}")
            if not known and not 0 <= value < math.inf:
                raise UsageError(f"{name}={value}: expected a strength, 0 or more")

    def changed(self) -> dict[str, Any]:
        """The choices that are not the defaults, by the names that `--choose` takes."""
        values = ((field, getattr(self, field.name)) for field in fields(self))
        return {field.name.strip("_"): value for field, value in values if value != field.default}

    def only(self, names: Collection[str]) -> Choices:
        """The same, but with the defaults wherever `names` does not say."""
        changed = self.changed()
        return Choices(**{_field(name): changed[name] for name in changed if name in names})

    @property
    def label(self) -> str:
        """What was changed, for tables and legends: "padding=valid"; empty for the defaults."""
        return ", ".join(f"{name}={value}" for name, value in self.changed().items())


def choices_of(given: Iterable[str]) -> Choices:
    """Choices from `name=value` texts. Raises UsageError for what is no choice."""
    found: dict[str, Any] = {}
    for text in given:
        name, _, value = text.partition("=")
        if name not in _known():
            raise UsageError(f"unknown choice {name!r}; there are: {', '.join(_known())}")
        found[_field(name)] = value if _known()[name] else _number(name, value)
    return Choices(**found)


@cache
def _known() -> dict[str, tuple[str, ...]]:
    """Values of each choice, by its name outside Python; none for the strengths, numbers."""
    kinds = get_type_hints(Choices)
    return {field.name.strip("_"): get_args(kinds[field.name]) for field in fields(Choices)}


def _field(name: str) -> str:
    return "lambda_" if name == "lambda" else name  # a keyword of Python


def _number(name: str, value: str) -> float:
    try:
        return float(value)
    except ValueError:
        raise UsageError(f"{name}={value}: expected a number") from None


DEFAULT = Choices()
"""What reproduction/README.md argues for."""

VARIED: dict[str, tuple[Choices, ...]] = {
    "vanillaNet": (Choices(padding="valid"), Choices(initialisation="torch")),
    "sr2Net": (
        Choices(reduction="mean"),
        Choices(entropy_at="activation"),
        Choices(padding="valid"),
        Choices(initialisation="torch"),
        Choices(lambda_=1e-4),
        Choices(lambda_=3e-3),
        Choices(lambda_=1e-2),
    ),
    "sr3Net": (
        Choices(centre="filters"),
        Choices(form="squared"),
        Choices(form="positive"),
        Choices(kappa=0.1),
    ),
    "dropNet": (Choices(placement="convolution"),),
    "normNet": (Choices(placement="convolution"),),
}
"""Other choices than the defaults, one at a time, by a network that they change."""

"""What values are compared with: nothing, the first record of their run, or another run."""

from __future__ import annotations

from typing import Literal

from ..runs.logdir import NamedRun
from . import page

__all__ = ["Base", "kind_of", "label_of", "title_of"]

Base = NamedRun | Literal["start"] | None
"""What is subtracted: another run's values at the same epochs, those of the first record, or
nothing."""


def kind_of(base: Base) -> Literal["change", "difference"] | None:
    """How a figure and its file are called."""
    if base is None:
        return None
    return "change" if base == "start" else "difference"


def title_of(title: str, base: Base) -> str:
    """A title that says what is subtracted."""
    if base is None:
        return title
    if base == "start":
        return f"{title}, change since the start"
    return f"{title}, minus {page.shortened(base.name, 2.5)}"


def label_of(unit: str, base: Base) -> str:
    """What stands at the colour bar."""
    return unit if base is None else f"{kind_of(base)}, {unit}"

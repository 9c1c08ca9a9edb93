"""Choosing by name: what a user writes where layers are asked for."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

__all__ = ["matching"]


def matching(names: Iterable[str], entry: str) -> list[str]:
    """The names that an entry fits: the one that it is, and those that match it as a glob.

    The first, since a name may hold a glob's own characters.
    """
    return [name for name in names if name == entry or fnmatchcase(name, entry)]

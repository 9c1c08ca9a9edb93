"""Warnings at the line of the user's own code that led to them."""

from __future__ import annotations

import sys
import warnings

__all__ = ["warn"]

_OTHERS = {
    *("sparsight", "sparsight_torch", "contextlib", "torch", "accelerate", "transformers"),
    *("lightning", "lightning_fabric", "pytorch_lightning"),
}
"""Packages whose lines tell the user nothing: ours, and what calls us for the user."""


def warn(message: str) -> None:
    """Warn at the innermost line that is no library's between the user and us.

    A number of levels, which `warnings.warn` wants, is another one for each way that leads here.
    """
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and _is_a_librarys(frame.f_globals):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, stacklevel=level)


def _is_a_librarys(names: dict[str, object]) -> bool:
    return str(names.get("__name__")).partition(".")[0] in _OTHERS

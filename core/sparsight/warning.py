"""Warnings at the line of the user's own code that led to them."""

from __future__ import annotations

import sys
import warnings

__all__ = ["warn"]

_OTHERS = {
    *("sparsight", "sparsight_torch", "contextlib", "torch", "accelerate", "transformers"),
    *("lightning", "lightning_fabric", "pytorch_lightning"),
}
"""Packages in which a warning helps nobody: ours, and those that call us for the user."""


def warn(message: str) -> None:
    """Warn at the innermost line of the user's own code.

    `warnings.warn` takes a number of levels, which differs for each way that leads here.
    """
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and _in_library(frame.f_globals):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, stacklevel=level)


def _in_library(names: dict[str, object]) -> bool:
    return str(names.get("__name__")).partition(".")[0] in _OTHERS

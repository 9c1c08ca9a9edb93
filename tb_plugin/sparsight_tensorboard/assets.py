"""The page's files: a fixed list, so that no request can reach anything else."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

__all__ = ["ENTRY", "Asset", "find"]

ENTRY = "/static/index.js"
"""The module whose `render()` TensorBoard calls."""

_FOLDER = Path(__file__).parent / "static"
_TYPES = {
    "index.html": "text/html",
    "index.js": "text/javascript",
    "index.css": "text/css",
}
_HOW = (
    "The page of the Sparsity tab has not been built: run `npm ci && npm run build` in the "
    "folder `frontend`, or install a released package (pip install sparsight)."
)


@dataclass(frozen=True)
class Asset:
    """One file of the page."""

    content: bytes
    media_type: str

    @property
    def digest(self) -> str:
        """Changes with the content."""
        return hashlib.sha256(self.content).hexdigest()[:20]


def find(name: str) -> Asset | None:
    """The file of this name; None for every name but index.html, index.js and index.css.

    Where the page was not built, a page that says how to build it.
    """
    media_type = _TYPES.get(name)
    if media_type is None:
        return None
    try:
        return Asset((_FOLDER / name).read_bytes(), media_type)
    except OSError:
        return Asset(_instead(name).encode(), media_type)


def _instead(name: str) -> str:
    if name == "index.js":
        return f"export function render() {{ document.body.textContent = {_HOW!r}; }}\n"
    return "" if name == "index.css" else f"<!doctype html><title>Sparsity</title><p>{_HOW}</p>\n"

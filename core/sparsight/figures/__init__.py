"""The Sparsity tab's views as figures for papers, drawn with matplotlib (the extra `figures`).

Nothing else of Sparsight imports this package, and matplotlib is loaded nowhere else.
"""

from __future__ import annotations

from importlib.util import find_spec

from ..errors import MissingExtraError

if find_spec("matplotlib") is None:
    raise MissingExtraError("matplotlib", "figures", "sparsight figures")

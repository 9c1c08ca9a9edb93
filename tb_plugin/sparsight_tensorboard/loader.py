"""How TensorBoard finds and starts the plugin. Imports next to nothing, and never raises.

An exception in a plugin's loader stops TensorBoard for everybody who has Sparsight installed.
"""

from __future__ import annotations

import sys
from typing import Any

from tensorboard.plugins import base_plugin

__all__ = ["SparsityLoader"]

_A_DAY = 86_400  # TensorBoard's default


class SparsityLoader(base_plugin.TBLoader):  # type: ignore[misc]  # TensorBoard has no types
    """The entry point `tensorboard_plugins` of the package."""

    def fix_flags(self, flags: Any) -> None:
        """Keep every epoch, and every event file of a run directory, unless the user said not to.

        TensorBoard would keep 10 (Python loader) or 100 (Rust loader) records of a tag, and would
        read only the newest file of a directory that two writers share.
        """
        try:
            from sparsight import schema

            samples = dict(flags.samples_per_plugin or {})
            for plugin in (schema.LAYERS_PLUGIN, schema.MAPS_PLUGIN):
                samples.setdefault(plugin, 0)  # 0: all of them
            flags.samples_per_plugin = samples
            if flags.reload_multifile is None:
                flags.reload_multifile = True
                # A file without news for a day would never be read again; an epoch may take longer.
                if flags.reload_multifile_inactive_secs == _A_DAY:
                    flags.reload_multifile_inactive_secs = -1
        except Exception as error:  # whatever it is, TensorBoard must start
            _warn("epochs may be left out", error)

    def load(self, context: Any) -> base_plugin.TBPlugin | None:
        """The plugin, or None and one line on standard error where it cannot be loaded."""
        try:
            from .plugin import SparsityPlugin

            return SparsityPlugin(context)
        except Exception as error:  # whatever it is, TensorBoard must start
            _warn("the Sparsity tab is missing", error)
            return None


def _warn(consequence: str, error: Exception) -> None:
    text = " ".join(f"{type(error).__name__}: {error}".split())
    print(f"WARNING: Sparsight's plugin: {consequence} ({text})", file=sys.stderr)

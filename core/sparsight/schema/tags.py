"""Tags, and the plugins that they belong to."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Literal

LAYERS_PLUGIN = "sparsity"
MAPS_PLUGIN = "sparsity_maps"

GLOBAL_STEP_TAG = "sparsity/global_step"

Kind = Literal["layers", "maps", "correlation", "probes"]

PLUGIN_OF: Mapping[Kind, str] = {
    "layers": LAYERS_PLUGIN,
    "probes": LAYERS_PLUGIN,
    "maps": MAPS_PLUGIN,
    "correlation": MAPS_PLUGIN,
}


def tag_of(kind: Kind, metadata: bytes) -> str:
    """Tag of the records of this kind that share this metadata."""
    return f"sparsity/{kind}/{hashlib.sha256(metadata).hexdigest()[:16]}"


def kind_of(tag: str) -> Kind | None:
    """Kind of the records of a tag, or None where the tag is not ours."""
    return next((kind for kind in PLUGIN_OF if tag.startswith(f"sparsity/{kind}/")), None)

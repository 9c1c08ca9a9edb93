"""The table of statistics: its layers and its columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sparsight.errors import SchemaError

from .framing import VERSION, counts, decode_metadata, strings, to_json
from .statistics import recorded


@dataclass(frozen=True)
class Column:
    """One statistic of a layer at one step."""

    name: str
    unit: str
    title: str


COLUMNS = tuple(Column(s.name, s.unit, s.title) for s in recorded())
"""What this version records of a layer; a value that was not measured is NaN."""


@dataclass(frozen=True)
class LayerInfo:
    """What is known of a measured layer, beside its values."""

    name: str
    operator: str
    channels: int
    """D, the length of its RFAVs."""
    map_shape: tuple[int, ...]
    """Shape of its entropy map: (A, B), (L,) for 1-D layers, (1, 1) for dense ones."""
    channel_axis: int
    tapped_at: str
    """Where it was measured, in words: "linear output", "after the activation"."""
    batch_norm_folded: bool | None = None
    """Whether batch normalisation was folded into its weights; None if unknown."""


def encode_layers(layers: Sequence[LayerInfo], columns: Sequence[Column] = COLUMNS) -> bytes:
    """Metadata of a table of statistics of these layers."""
    return to_json(
        {
            "version": VERSION,
            "layers": [asdict(layer) for layer in layers],
            "columns": [asdict(column) for column in columns],
        }
    )


def decode_layers(content: bytes) -> tuple[tuple[LayerInfo, ...], tuple[Column, ...]]:
    """Layers and columns, from the metadata of their table.

    Raises SchemaError for an unknown version or content that is not ours.
    """
    fields = decode_metadata(content)
    try:
        layers = tuple(_layer_info(layer) for layer in fields["layers"])
        columns = tuple(Column(*strings(c, "name", "unit", "title")) for c in fields["columns"])
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise SchemaError(f"metadata of a layer table is incomplete: {error!r}") from None
    return layers, columns


def _layer_info(fields: Mapping[str, Any]) -> LayerInfo:
    name, operator, tapped_at = strings(fields, "name", "operator", "tapped_at")
    folded = fields["batch_norm_folded"]
    return LayerInfo(
        name=name,
        operator=operator,
        channels=int(fields["channels"]),
        map_shape=counts(fields, "map_shape"),
        channel_axis=int(fields["channel_axis"]),
        tapped_at=tapped_at,
        batch_norm_folded=None if folded is None else bool(folded),
    )

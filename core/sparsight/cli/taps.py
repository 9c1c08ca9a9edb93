"""`sparsight taps`: what of a model is measured, and what is not."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from ..graph.taps import Tap, Taps

__all__ = ["taps"]

Shape = tuple[int | str, ...]


def taps(
    model: Annotated[Path, typer.Argument(help="An .onnx file.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    inputs: Annotated[
        list[str] | None,
        typer.Option(
            "--input",
            help="Value of a scalar input that decides which branches run.",
            metavar="NAME=VALUE",
        ),
    ] = None,
    names_from: Annotated[
        Path | None,
        typer.Option(help="The model before it was optimised: name the layers after its weights."),
    ] = None,
) -> None:
    """List the layers that are measured, and those left out, with the reason."""
    from ..analysis.analyze import scalar_inputs
    from ..graph.model import open_model, with_known
    from ..graph.renaming import renamed
    from ..graph.taps import find_taps
    from .output import remark, write

    opened = open_model(model)
    if inputs:
        opened = with_known(opened, scalar_inputs(opened, inputs))
    found = find_taps(opened)
    if names_from is not None:
        found = renamed(opened, found, names_from)
    maps = {tap.name: _map_shape(opened.inferred.get(tap.tensor), tap) for tap in found.taps}
    if as_json:
        write(json.dumps(_as_json(found, maps), indent=2))
    else:
        _print_tables(str(model), found, maps)
    for line in found.remarks:
        remark(line)


def _map_shape(shape: Shape | None, tap: Tap) -> Shape | None:
    """Shape of a layer's map, where it is known; sides that may be anything are text."""
    if shape is None:
        return None
    sides = [side for axis, side in enumerate(shape) if axis != tap.channel_axis % len(shape)]
    return tuple(sides[1:]) or (1, 1)


def _as_json(found: Taps, maps: Mapping[str, Shape | None]) -> dict[str, Any]:
    return {
        "layers": [
            {
                "name": tap.name,
                "operator": tap.operator,
                "channels": tap.channels,
                "weight_shape": list(tap.weight_shape),
                "map_shape": maps[tap.name],
                "tensor": tap.tensor,
                "tapped_at": tap.tapped_at,
                "relu": tap.relu,
                "batch_norm_folded": tap.batch_norm_folded,
                "output_layer": tap.output_layer,
            }
            for tap in found.taps
        ],
        "left_out": [
            {"name": part.name, "operator": part.operator, "reason": part.reason}
            for part in found.left_out
        ],
    }


def _print_tables(model: str, found: Taps, maps: Mapping[str, Shape | None]) -> None:
    from .output import console, print_table

    columns = ["layer", "operator", "measured at", "ReLU", "BN folded?", "weights", "map", "D"]
    rows = [_row(tap, maps[tap.name]) for tap in found.taps]
    print_table(f"{len(found.taps)} layers of {model}", columns, rows, right=3)
    if any(tap.output_layer for tap in found.taps):
        console().print(_legend(found))
    if found.left_out:
        console().print()
        rows = [[part.name, part.operator, part.reason] for part in found.left_out]
        print_table("Not measured:", ["layer", "operator", "reason"], rows)


def _legend(found: Taps) -> str:
    if all(tap.output_layer for tap in found.taps):
        return "* output layer: measured, because there is no other layer"
    return "* output layer: left out unless named, because its entropy falls by design"


def _row(tap: Tap, map_shape: Shape | None) -> list[str]:
    folded = {True: "yes", False: "no", None: "unknown"}[tap.batch_norm_folded]
    relu = "–" if tap.relu is None else "yes"
    shape = "x".join(map(str, tap.weight_shape))
    name = tap.name + " *" * tap.output_layer
    positions = "?" if map_shape is None else "x".join(map(str, map_shape))
    return [name, tap.operator, tap.tapped_at, relu, folded, shape, positions, str(tap.channels)]

"""`sparsight figures`: the Sparsity tab's views as PDF or SVG, without TensorBoard."""

from __future__ import annotations

import math
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import typer

from ..errors import UsageError

__all__ = ["figures"]


class Format(StrEnum):
    """What matplotlib writes."""

    PDF = "pdf"
    SVG = "svg"
    PNG = "png"


class View(StrEnum):
    """What is drawn."""

    OVERVIEW = "overview"
    MAPS = "maps"
    CURVES = "curves"
    CORRELATIONS = "correlations"


def figures(
    logdir: Annotated[Path, typer.Argument(help="A run, or a folder of runs.")],
    out: Annotated[Path, typer.Option(help="Folder for the figures.")],
    format: Annotated[
        list[Format] | None,
        typer.Option(help="Repeatable; default: pdf and svg."),
    ] = None,
    view: Annotated[
        list[View] | None,
        typer.Option(help="Repeatable; default: all of them."),
    ] = None,
    statistic: Annotated[
        list[str] | None,
        typer.Option(help="For overview and curves; repeatable; default: relative_entropy."),
    ] = None,
    layers: Annotated[
        list[str] | None, typer.Option(help="Names or globs of layers; repeatable.")
    ] = None,
    runs: Annotated[
        list[str] | None,
        typer.Option(help="Names or globs of runs, as paths below LOGDIR; repeatable."),
    ] = None,
    probe: Annotated[
        str | None,
        typer.Option(
            help="Whose maps to draw: a position in the probe set, or mean; default: the first."
        ),
    ] = None,
    epochs: Annotated[
        str | None,
        typer.Option(
            help="Epochs of the maps, comma-separated, such as -1,0,10; default: evenly spread."
        ),
    ] = None,
    difference: Annotated[
        str | None,
        typer.Option(help="Also draw overview and maps of the other runs minus this run."),
    ] = None,
    change: Annotated[
        bool, typer.Option(help="Also draw overview and maps minus each layer's first epoch.")
    ] = False,
    limits: Annotated[
        str | None,
        typer.Option(
            "--range",
            help="Colour range of overview and maps, such as 0:1; default: that of the values.",
        ),
    ] = None,
    spread: Annotated[
        bool, typer.Option(help="Draw curves with a band from the 5th to the 95th percentile.")
    ] = False,
    log: Annotated[bool, typer.Option(help="Colour correlations on a logarithmic scale.")] = False,
    width: Annotated[
        float,
        typer.Option(
            min=2.5,
            max=30,
            help="Width in inches: 3.4 for one column of a paper, 7 for a page of two.",
        ),
    ] = 7.0,
) -> None:
    """Draw the Sparsity tab's views as PDF, SVG or PNG, for papers."""
    from ..figures.drawing import FigureOptions, draw
    from ..figures.page import save, style
    from .output import console, plain

    options = FigureOptions(
        views=tuple(chosen.value for chosen in view or View),
        statistics=tuple(statistic or ["relative_entropy"]),
        layers=tuple(layers or ()),
        runs=tuple(runs or ()),
        probe=_probe(probe),
        epochs=_epochs(epochs),
        change=change,
        difference=difference,
        limits=_limits(limits),
        spread=spread,
        logarithmic=log,
        width=width,
    )
    formats = list(dict.fromkeys(chosen.value for chosen in format or (Format.PDF, Format.SVG)))
    for name, figure in draw(logdir, options):
        with style():
            for path in save(figure, out / name, formats):
                console().print(plain(str(path)), soft_wrap=True)


def _probe(text: str | None) -> int | Literal["mean"] | None:
    if text is None:
        return None
    if text == "mean":
        return "mean"
    try:
        return int(text)
    except ValueError:
        raise UsageError(
            f"--probe {text!r}: expected mean, or a position in the probe set, such as 0"
        ) from None


def _epochs(text: str | None) -> tuple[int, ...]:
    if text is None:
        return ()
    try:
        return tuple(sorted({int(part) for part in text.split(",")}))
    except ValueError:
        raise UsageError(
            f"--epochs {text!r}: expected comma-separated whole numbers, such as -1,0,10"
        ) from None


def _limits(text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    low, _, high = text.partition(":")
    try:
        lowest, highest = float(low), float(high)
    except ValueError:
        lowest, highest = math.nan, math.nan
    if not -math.inf < lowest < highest < math.inf:
        raise UsageError(
            f"--range {text!r}: expected two numbers, the lower one first, such as 0:1"
        )
    return lowest, highest

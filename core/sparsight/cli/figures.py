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
    logdir: Annotated[Path, typer.Argument(help="Log directory: a run, or runs below it.")],
    out: Annotated[Path, typer.Option(help="Directory for the figures.")],
    format: Annotated[
        list[Format] | None,
        typer.Option(help="May be given several times; PDF and SVG unless given."),
    ] = None,
    view: Annotated[
        list[View] | None,
        typer.Option(help="May be given several times; all of them unless given."),
    ] = None,
    statistic: Annotated[
        list[str] | None,
        typer.Option(help="Of overview and curves; relative_entropy unless given. Several times."),
    ] = None,
    layers: Annotated[
        list[str] | None, typer.Option(help="Names or globs of layers, several times.")
    ] = None,
    runs: Annotated[
        list[str] | None,
        typer.Option(help="Names or globs of runs, by their paths below LOGDIR; several times."),
    ] = None,
    probe: Annotated[
        str | None,
        typer.Option(help="Whose maps: a position in the probe set, or mean. The first shown one."),
    ] = None,
    epochs: Annotated[
        str | None,
        typer.Option(help="Of the maps, with commas between them: -1,0,10. Some, evenly spread."),
    ] = None,
    difference: Annotated[
        str | None,
        typer.Option(help="A run: also overview and maps of the others, less this one."),
    ] = None,
    change: Annotated[
        bool, typer.Option(help="Also overview and maps, less those of each layer's first epoch.")
    ] = False,
    limits: Annotated[
        str | None,
        typer.Option(
            "--range", help="Of the colours of overview and maps, as 0:1; else that of the values."
        ),
    ] = None,
    spread: Annotated[
        bool, typer.Option(help="Curves with a band from the 5th to the 95th percentile.")
    ] = False,
    log: Annotated[bool, typer.Option(help="Correlations coloured by the logarithm.")] = False,
    width: Annotated[
        float, typer.Option(min=2.5, max=30, help="Inches; 3.4 is a column, 7 a page of two.")
    ] = 7.0,
) -> None:
    """Draw the Sparsity tab's views as PDF, SVG or PNG, for papers."""
    from ..figures.drawing import Wanted, draw
    from ..figures.page import save, style
    from .output import console, plain

    wanted = Wanted(
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
    for name, figure in draw(logdir, wanted):
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
            f"--probe {text!r}: a position in the probe set, as 0, or mean was expected"
        ) from None


def _epochs(text: str | None) -> tuple[int, ...]:
    if text is None:
        return ()
    try:
        return tuple(sorted({int(part) for part in text.split(",")}))
    except ValueError:
        raise UsageError(
            f"--epochs {text!r}: whole numbers with commas between them, as -1,0,10, were expected"
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
            f"--range {text!r}: two numbers, the lower one first, as 0:1, were expected"
        )
    return lowest, highest

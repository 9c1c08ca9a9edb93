"""Layers by epochs, coloured by one statistic: which layers changed, and when."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ..runs.logdir import NamedRun
from ..schema import Statistic
from . import colours, page
from .comparison import Base, label_of, title_of
from .statistics import change, difference, grid
from .statistics import label_of as statistic_label

__all__ = ["draw_overview"]

_ROW = 0.15  # inches
_TALLEST = 3.2  # of one panel
_PAGE = 8.0


def draw_overview(
    runs: Sequence[NamedRun],
    layers: dict[str, list[str]],
    statistic: Statistic,
    width: float,
    base: Base = None,
    limits: colours.Limits | None = None,
) -> list[Figure]:
    """One panel a run, on one colour scale, over the values' range or a fixed one.

    Several figures where the panels do not fit on one.
    """
    values = {run.name: _values(run, layers[run.name], statistic, base) for run in runs}
    everything = [*values.values()]
    scale = (
        colours.diverging(everything, limits)
        if base
        else colours.sequential(everything, statistic.logarithmic, limits)
    )
    across = 1 if width < 5 or len(runs) == 1 else 2
    tall = min(_TALLEST, _ROW * max(len(layers[run.name]) for run in runs))
    down = max(1, int(_PAGE / (tall + 0.45)))
    return [
        _page(part, layers, values, scale, statistic, (width, tall, across), base)
        for part in page.pages(runs, across * down)
    ]


def _values(
    run: NamedRun, layers: Sequence[str], statistic: Statistic, base: Base
) -> NDArray[np.float64]:
    if base is None:
        return grid(run.run, layers, statistic)
    if base == "start":
        return change(run.run, layers, statistic)
    return difference(run.run, base.run, layers, statistic)


def _page(
    runs: Sequence[NamedRun],
    layers: dict[str, list[str]],
    values: dict[str, NDArray[np.float64]],
    scale: colours.Scale,
    statistic: Statistic,
    size: tuple[float, float, int],
    base: Base,
) -> Figure:
    width, tall, across = size
    rows = -(-len(runs) // across)
    title = title_of(f"{statistic.title} by layer and epoch", base)
    below = width < 5
    figure = page.sheet(width, rows * (tall + 0.42) + (1.05 if below else 0.75), title)
    grid_of_axes = figure.subplots(rows, across, squeeze=False, sharex=True)
    edges = [page.epoch_edges(run.run.steps) for run in runs]
    first, last_edge = min(e[0] for e in edges), max(e[-1] for e in edges)
    for number, axes in enumerate(grid_of_axes.flat):
        if number >= len(runs):
            axes.remove()
            continue
        run = runs[number]
        last = number + across >= len(runs)
        names = layers[run.name]
        page.label_layers(axes, names, 0.25 * width / across, tall)
        _panel(axes, run, names, values[run.name], scale)
        page.nothing_behind(axes, first, -0.5, last_edge - first, len(names))
        axes.set_title(page.shortened(run.name, 0.62 * width / across, 7.5))
        page.epoch_axis(axes, label=last)
        axes.tick_params(labelbottom=last)
    drawn = [values[run.name] for run in runs]
    if any(e[0] > first or e[-1] < last_edge for e in edges):
        drawn.append(np.array([[np.nan]]))  # epochs that only others have
    label = label_of(statistic_label(statistic, compared=bool(base)), base)
    page.colour_bar(figure, scale, list(figure.axes), label, below)
    page.legend(figure, [*page.onset_key(runs), *page.nothing_key(drawn)], width)
    return figure


def _panel(
    axes: Axes,
    run: NamedRun,
    names: Sequence[str],
    values: NDArray[np.float64],
    scale: colours.Scale,
) -> None:
    edges = page.epoch_edges(run.run.steps)
    rows = np.arange(len(names) + 1) - 0.5
    axes.pcolormesh(
        edges,
        rows,
        np.ma.masked_invalid(values),
        cmap=scale.colours,
        norm=scale.norm,
        rasterized=True,  # as paths, the cells would show seams between them
    )
    axes.set_ylim(len(names) - 0.5, -0.5)
    page.onset_line(axes, run.onset)

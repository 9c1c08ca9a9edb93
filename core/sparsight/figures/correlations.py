"""Correlation between the filters of each layer: epochs by coefficient, in the 201 bins."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from ..runs.logdir import NamedRun
from . import colours, page

__all__ = ["draw_correlations"]

_EDGES = (np.arange(202) - 100.5) / 100
_PANEL = 0.95  # inches
_PAGE = 7.6
_NARROWEST = 1.25

Shares = dict[tuple[str, str], NDArray[np.float64]]
"""Share of the filter pairs in each bin, [201, epochs], by run and layer."""


def draw_correlations(
    runs: Sequence[NamedRun],
    layers: dict[str, list[str]],
    width: float,
    logarithmic: bool = False,
) -> list[Figure]:
    """A row a layer, a column a run, on one colour scale; several figures where there is no room.

    Runs and layers without histograms are left out; no figure where there is none.
    """
    shares: Shares = {
        (run.name, name): _shares(run, name)
        for run in runs
        for name in layers[run.name]
        if name in run.run.correlations
    }
    if not shares:
        return []
    make = colours.logarithmic_counts if logarithmic else colours.linear_counts
    scale = make(shares.values())
    columns = [run for run in runs if any(name == run.name for name, _ in shares)]
    names = list(dict.fromkeys(name for run in runs for name in layers[run.name]))
    names = [name for name in names if any(name == layer for _, layer in shares)]
    across = max(1, int((width - 0.9) / _NARROWEST))
    return [
        _page(some, part, shares, scale, width, logarithmic)
        for some in page.pages(columns, across)
        for part in page.pages(names, int(_PAGE / _PANEL))
    ]


def _shares(run: NamedRun, layer: str) -> NDArray[np.float64]:
    result = np.full((201, len(run.run.steps)), np.nan)
    for at, step in enumerate(run.run.steps):
        counts = run.run.correlations[layer].get(step)
        if counts is not None and counts.sum() > 0:
            result[:, at] = counts / counts.sum()
    return result


def _page(
    runs: Sequence[NamedRun],
    names: Sequence[str],
    shares: Shares,
    scale: colours.Scale,
    width: float,
    logarithmic: bool,
) -> Figure:
    below = width < 5
    height = _PANEL * len(names) + (1.15 if below else 0.85)
    figure = page.sheet(width, height, "Filter correlations by epoch")
    panels = figure.subplots(len(names), len(runs), squeeze=False, sharex="col", sharey=True)
    for row, name in enumerate(names):
        for column, run in enumerate(runs):
            axes = panels[row, column]
            if (run.name, name) in shares:
                _panel(axes, run, shares[run.name, name], scale, logarithmic)
            else:
                axes.set_axis_off()
            if row == 0:
                room = 0.8 * width / len(runs)
                axes.set_title(page.shortened(run.name, room, 7.5))
            page.epoch_axis(axes, label=row == len(names) - 1)
        panels[row, 0].set_axis_on()
        panels[row, 0].set_ylabel(page.shortened(name, _PANEL, 7))
        panels[row, 0].set_yticks([-1, 0, 1])
    drawn = [part for (run, layer), part in shares.items() if layer in names]
    keys: list[Artist] = [*page.onset_key(runs), *page.nothing_key(drawn)]
    if logarithmic:
        keys.append(Patch(facecolor="white", edgecolor="#8a8a8a", linewidth=0.4, label="no pairs"))
    figure.supylabel("coefficient of filter pairs", fontsize=7)
    page.colour_bar(figure, scale, list(panels.flat), "share of filter pairs, bins of 0.01", below)
    page.legend(figure, keys, width)
    return figure


def _panel(
    axes: Axes,
    run: NamedRun,
    shares: NDArray[np.float64],
    scale: colours.Scale,
    logarithmic: bool,
) -> None:
    edges = page.epoch_edges(run.run.steps)
    page.nothing_behind(axes, edges[0], -1.005, edges[-1] - edges[0], 2.01)
    if logarithmic:  # 0 has no logarithm, and is not "not measured"
        shares = np.where(shares == 0, (scale.norm.vmin or 1) / 10, shares)
    axes.pcolormesh(
        edges,
        _EDGES,
        np.ma.masked_invalid(shares),
        cmap=scale.colours,
        norm=scale.norm,
        rasterized=True,
    )
    page.onset_line(axes, run.onset)

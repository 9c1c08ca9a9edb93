"""One statistic of each layer over the epochs, several runs in one, validation loss beside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter

from ..errors import UsageError
from ..runs.logdir import NamedRun
from ..schema import STATISTICS, Statistic
from . import colours, page
from .statistics import grid, label_of, spread

__all__ = ["check_spread", "draw_curves"]

_RAW: dict[str, Any] = {"linewidth": 0.6, "alpha": 0.45}


def draw_curves(
    runs: Sequence[NamedRun],
    layers: dict[str, list[str]],
    statistic: Statistic,
    width: float,
    with_spread: bool = False,
) -> Figure:
    """Colour: layer; line style: run; a band from the 5th to the 95th percentile where asked for.

    Raises UsageError for the spread of a statistic of which none is recorded.
    """
    if with_spread:
        check_spread(statistic)
    names = list(dict.fromkeys(name for run in runs for name in layers[run.name]))
    colour_of = dict(zip(names, colours.layer_colours(len(names)), strict=True))
    losses = any(run.loss for run in runs)
    wide = width >= 5
    keys = _keys(runs, colour_of, with_spread, losses)
    figure, panels = _sheet(width, losses, wide, f"{statistic.title} over epochs", keys)
    for number, run in enumerate(runs):
        _draw_run(panels[0], run, layers[run.name], statistic, colour_of, number, with_spread)
    panels[0].set_ylabel(label_of(statistic))
    values = [grid(run.run, layers[run.name], statistic) for run in runs]
    if statistic.logarithmic and _all_above_zero(values):
        panels[0].set_yscale("log")
        for axis_formatter in (
            panels[0].yaxis.set_major_formatter,
            panels[0].yaxis.set_minor_formatter,
        ):
            axis_formatter(FuncFormatter(_round_only))
    if losses:
        _draw_losses(panels[1], runs)
    for axes in panels:
        for number, run in enumerate(runs):
            page.onset_line(axes, run.onset, linestyle=colours.dash_of(number), **_ONSET_LINE)
        axes.spines[["top", "right"]].set_visible(False)
        page.epoch_axis(axes, label=wide or axes is panels[-1])
    return figure


def check_spread(statistic: Statistic) -> None:
    """Raises UsageError for a statistic of which no percentiles are recorded."""
    if statistic.spread is None:
        known = ", ".join(name for name, other in STATISTICS.items() if other.spread)
        raise UsageError(
            f"no percentiles of {statistic.name} are recorded; leave out --spread, or draw {known}"
        )


_ONSET_LINE: dict[str, Any] = {"color": "#555555", "linewidth": 0.8, "zorder": 1}


def _sheet(
    width: float, losses: bool, wide: bool, title: str, keys: Sequence[Artist]
) -> tuple[Figure, list[Axes]]:
    longest = max(len(str(key.get_label())) for key in keys)
    below = -(-len(keys) // max(1, int(width / (longest * 0.055 + 0.5)))) * 0.14
    panel = 2.3 if wide else 1.9
    height = panel * (2 if losses and not wide else 1) + 0.35 + below
    figure = page.sheet(width, height, title)
    if not losses:
        panels = [figure.subplots()]
    elif wide:
        panels = list(figure.subplots(1, 2, width_ratios=[1.7, 1]))
    else:
        panels = list(figure.subplots(2, 1, height_ratios=[1.4, 1], sharex=True))
    page.legend(figure, keys, width)
    return figure, panels


def _draw_run(
    axes: Axes,
    run: NamedRun,
    layers: Sequence[str],
    statistic: Statistic,
    colour_of: dict[str, Any],
    number: int,
    with_spread: bool,
) -> None:
    epochs = run.run.steps
    band = spread(run.run, layers, statistic) if with_spread else None
    for row, (name, values) in enumerate(
        zip(layers, grid(run.run, layers, statistic), strict=True)
    ):
        look = {"color": colour_of[name], "linestyle": colours.dash_of(number)}
        alone = len(epochs) == 1
        axes.plot(epochs, values, label=f"{run.name}: {name}", marker="o" if alone else "", **look)
        if band is not None:
            low, high = band[0][row], band[1][row]
            axes.fill_between(epochs, low, high, color=colour_of[name], alpha=0.15, linewidth=0)


def _draw_losses(axes: Axes, runs: Sequence[NamedRun]) -> None:
    for number, run in enumerate(runs):
        if run.loss:
            look = {"color": "black", "linestyle": colours.dash_of(number)}
            axes.plot(run.loss.epochs, run.loss.values, **{**look, "linestyle": "-"}, **_RAW)
            axes.plot(run.loss.epochs, run.loss.smoothed, label=f"{run.name}: loss", **look)
    names = dict.fromkeys(run.loss.name for run in runs if run.loss)
    axes.set_ylabel(f"validation loss\n{page.shortened(', '.join(names), 1.9, 7)}")


def _keys(
    runs: Sequence[NamedRun], colour_of: dict[str, Any], with_spread: bool, losses: bool
) -> list[Artist]:
    keys: list[Artist] = [
        Line2D([], [], color=colour, label=page.shortened(name, 1.2))
        for name, colour in colour_of.items()
    ]
    keys += [
        Line2D([], [], color="black", linestyle=colours.dash_of(number), label=_named(run))
        for number, run in enumerate(runs)
    ]
    if with_spread:
        keys.append(Patch(color="black", alpha=0.15, label="5th–95th percentile"))
    if losses:
        keys.append(Line2D([], [], color="black", label="loss per epoch", **_RAW))
    if any(run.onset is not None for run in runs):
        keys.append(Line2D([], [], label="onset, in the style of its run", **_ONSET_LINE))
    return keys


def _named(run: NamedRun) -> str:
    return page.shortened(run.name, 1.7)


def _all_above_zero(values: Sequence[Any]) -> bool:
    finite = [part[np.isfinite(part)] for part in values]
    return all((part > 0).all() for part in finite) and any(part.size for part in finite)


def _round_only(value: float, position: int | None = None) -> str:
    """1, 2 and 5 times a power of ten have a number; what lies between has only a tick."""
    digits = f"{value:.0e}"[0]
    return f"{value:g}" if digits in "125" else ""

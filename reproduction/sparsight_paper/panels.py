"""What the paper's figures show, drawn from event files; a cell that is not there is "not run"."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from sparsight.maths.entropy import relative_entropy
from sparsight.maths.onset import find_onset, smooth
from sparsight.runs.reader import Run
from sparsight.schema.statistics import STATISTICS

from .cells import Cell

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Runs", "choices", "correlations", "curves", "losses", "maps"]

Runs = Mapping[Cell, Run | None]
"""None: not run."""

LAYERS = ("conv1", "conv2", "conv3", "conv4", "fc1")
_COLUMNS = 8  # epochs of which maps are shown
_STATISTICS = tuple(STATISTICS[name] for name in ("relative_entropy", "scale_free_entropy", "rms"))


def maps(figure: Figure, runs: Runs) -> None:
    """Layers by epochs for the first shown probe, one block a network, beside the probe."""
    figure.set_size_inches(1.1 * (_COLUMNS + 1), 5.2 * len(runs))
    for block, (cell, run) in zip(_blocks(figure, len(runs)), runs.items(), strict=True):
        block.suptitle(cell.network)
        grid = block.subplots(len(LAYERS), _COLUMNS + 1, squeeze=False)
        for axes in grid.flat:
            axes.set_xticks([])
            axes.set_yticks([])
        if run is None:
            _say_not_run(grid[0, 0])
            continue
        _probe(grid[0, 0], run)
        for axes in grid[1:, 0]:
            axes.axis("off")
        _maps_of(grid[:, 1:], run)
        images = [image for axes in grid[:, 1:].flat for image in axes.images]
        if images:
            block.colorbar(images[0], ax=grid, shrink=0.4, label="H / ln D")


def _maps_of(grid: Any, run: Run) -> None:
    picked = np.linspace(0, len(run.steps) - 1, _COLUMNS).round().astype(int)
    for row, layer in zip(grid, LAYERS, strict=True):
        for axes, at in zip(row, picked, strict=True):
            _map(axes, run, layer, run.steps[at])
        row[0].set_ylabel(layer)
    for axes, at in zip(grid[0], picked, strict=True):
        axes.set_title(f"epoch {run.steps[at]}", fontsize=8)


def _map(axes: Axes, run: Run, layer: str, step: int) -> None:
    maps = run.maps.get(layer, {}).get(step)
    if maps is None:
        axes.axis("off")
        return
    relative = relative_entropy(maps.values()[0], run.tables[step].channels(layer))
    axes.imshow(np.atleast_2d(relative), vmin=0, vmax=1, cmap="viridis", interpolation="nearest")


def _probe(axes: Axes, run: Run) -> None:
    axes.set_title("probe", fontsize=8)
    if run.probes is not None and run.probes.kind == "image":
        axes.imshow(np.asarray(Image.open(io.BytesIO(run.probes.items[0]))), cmap="gray")


def _blocks(figure: Figure, number: int) -> list[Any]:
    return list(np.atleast_1d(np.asarray(figure.subfigures(number, 1))))


def losses(figure: Figure, runs: Runs) -> None:
    """Validation loss of all networks in one panel."""
    figure.set_size_inches(9, 4.5)
    axes = figure.subplots()
    for cell, run in runs.items():
        _loss(axes, _label(cell.network, run, runs), run)
    axes.set_xlabel("epoch")
    axes.set_ylabel("validation loss")
    axes.legend(fontsize=8)


def _label(name: str, run: Run | None, runs: Runs) -> str:
    """Says so of a run that is not there, or shorter than the others: it may be under way."""
    if run is None:
        return f"{name}: not run"
    longest = max(other.steps[-1] for other in runs.values() if other is not None)
    done = run.steps[-1]
    return name if done == longest else f"{name}: {done + 1} of {longest + 1} epochs"


def _loss(axes: Axes, label: str, run: Run | None, **style: Any) -> None:
    """Validation loss without the penalties: raw thin, smoothed thick, the onset marked."""
    if run is None:
        axes.plot([], [], color="none", label=label)
        return
    losses = run.scalars["loss/validation"]
    epochs, values = list(losses), np.array(list(losses.values()))
    (line,) = axes.plot(epochs, smooth(epochs, values), label=label, **style)
    axes.plot(epochs, values, color=line.get_color(), linewidth=0.5, alpha=0.5)
    onset = find_onset(epochs, values)
    if onset is not None:
        axes.plot(onset.epoch, onset.loss, "o", color=line.get_color())


def choices(figure: Figure, runs: Runs) -> None:
    """A row a network: validation loss, and of conv4 what tells sparsity from growth."""
    networks = list(dict.fromkeys(cell.network for cell in runs))
    figure.set_size_inches(14, 2.6 * len(networks))
    grid = figure.subplots(len(networks), 1 + len(_STATISTICS), squeeze=False, sharex=True)
    for row, network in zip(grid, networks, strict=True):
        for cell, run in runs.items():
            if cell.network == network:
                _choice(row, cell, run, runs)
        row[0].set_ylabel(f"{network}: validation loss")
        row[-1].sharey(grid[0, -1])
        _legend_beside(row[-1], row[0])
        for axes, statistic in zip(row[1:], _STATISTICS, strict=True):
            _scale(axes, statistic.name)
    for axes, statistic in zip(grid[0, 1:], _STATISTICS, strict=True):
        axes.set_title(f"conv4: {statistic.title}")
    for axes in grid[-1]:
        axes.set_xlabel("epoch")


def _choice(row: Sequence[Axes], cell: Cell, run: Run | None, runs: Runs) -> None:
    changed = cell.choices.label
    style: dict[str, Any] = {} if changed else {"color": "black"}
    _loss(row[0], _label(changed or "defaults", run, runs), run, **style)
    if run is not None and "conv4" in {layer.name for layer in run.tables[run.steps[0]].layers}:
        color = row[0].lines[-1].get_color()
        for axes, statistic in zip(row[1:], _STATISTICS, strict=True):
            axes.plot(run.steps, _statistic(run, "conv4", statistic.name), color=color)


def curves(figure: Figure, runs: Runs) -> None:
    """A row a network: entropy of each layer, and beside it what tells sparsity from growth."""
    figure.set_size_inches(11, 2.2 * len(runs))
    grid = figure.subplots(len(runs), len(_STATISTICS), squeeze=False, sharex=True, sharey="col")
    for row, (cell, run) in zip(grid, runs.items(), strict=True):
        row[0].set_ylabel(cell.network)
        if run is None:
            _say_not_run(row[0])
            continue
        for axes, statistic in zip(row, _STATISTICS, strict=True):
            for layer in LAYERS:
                axes.plot(run.steps, _statistic(run, layer, statistic.name), label=layer)
            _scale(axes, statistic.name)
    for axes, statistic in zip(grid[0], _STATISTICS, strict=True):
        axes.set_title(statistic.title)
    drawn = next((axes for axes in grid[:, 0] if axes.lines), grid[0, 0])
    _legend_beside(grid[0, -1], drawn)
    for axes in grid[-1]:
        axes.set_xlabel("epoch")


def _legend_beside(axes: Axes, drawn: Axes) -> None:
    """The legend of what was drawn in one panel, to the right of another."""
    lines, labels = drawn.get_legend_handles_labels()
    axes.legend(lines, labels, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))


def _scale(axes: Axes, statistic: str) -> None:
    if statistic == "rms":
        axes.set_yscale("log")
    else:
        axes.set_ylim(0, 1.02)


def _statistic(run: Run, layer: str, name: str) -> Any:
    return run.relative_entropy(layer) if name == "relative_entropy" else run.statistic(layer, name)


def correlations(figure: Figure, runs: Runs) -> None:
    """Histograms of conv1's filter correlations, epochs by coefficients, one panel a network."""
    figure.set_size_inches(3 * len(runs), 3.5)
    grid = figure.subplots(1, len(runs), squeeze=False, sharey=True)[0]
    for axes, (cell, run) in zip(grid, runs.items(), strict=True):
        axes.set_title(cell.network)
        axes.set_xlabel("epoch")
        if run is None or "conv1" not in run.correlations:
            _say_not_run(axes)
            continue
        steps = run.correlations["conv1"]
        counts = np.stack(list(steps.values()), axis=1)
        share = counts / np.maximum(counts.sum(axis=0), 1)  # no filter of an epoch may be finite
        extent = (min(steps) - 0.5, max(steps) + 0.5, -1.005, 1.005)
        axes.imshow(share, origin="lower", aspect="auto", extent=extent, cmap="magma")
    grid[0].set_ylabel("coefficient")


def _say_not_run(axes: Axes) -> None:
    axes.text(0.5, 0.5, "not run", ha="center", va="center", transform=axes.transAxes)

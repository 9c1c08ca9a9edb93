"""The paper's figures, drawn from event files; a run that is not there is said to be "not run".

Figures 1 and 4 show entropy maps, layers by epochs; 3 and 6 validation loss; 5 and A.1 the mean
entropy of each layer; 7 and A.2 the filter correlations of conv1. A.1 and A.2 are of Adam.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from sparsight.errors import MissingExtraError, RunError, UsageError, nearest
from sparsight.onset import find_onset, smooth
from sparsight.reader import Run, read_run

from .cells import Optimiser
from .networks import NETWORKS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["FIGURES", "FigureSpec", "draw", "save"]

Runs = Mapping[str, Run | None]
"""By network; None: not run."""

LAYERS = ("conv1", "conv2", "conv3", "conv4", "fc1")
_COLUMNS = 8  # epochs of which maps are shown
_STATISTICS = (
    ("relative_entropy", "H / ln D"),
    ("scale_free_entropy", "scale-free entropy"),
    ("rms", "RMS of activations"),
)


@dataclass(frozen=True)
class FigureSpec:
    """One figure of the paper."""

    title: str
    draw: Callable[[Figure, Runs], None]
    networks: tuple[str, ...] = tuple(NETWORKS)
    optimiser: Optimiser = "sgd"


def draw(name: str, runs: Path, data: str, size: str, seed: int) -> Figure:
    """Draw a figure of the cells of one data set, size and seed.

    Raises UsageError for an unknown figure, RunError where none of its cells has been run,
    MissingExtraError without matplotlib.
    """
    if name not in FIGURES:
        raise UsageError(f"no figure {name!r}; {nearest(name, FIGURES)}")
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtraError("matplotlib", "figures", "Drawing the paper's figures") from None
    spec = FIGURES[name]
    end = f"-{size}_{spec.optimiser}_seed{seed}"
    folders = {network: runs / f"{data}_{network}{end}" for network in spec.networks}
    found = {network: _run(folder) for network, folder in folders.items()}
    if not any(found.values()):
        raise RunError(f"{runs} holds no run for {name}: {next(iter(folders.values())).name}, say")
    figure = Figure(layout="constrained")
    spec.draw(figure, found)
    figure.suptitle(f"{spec.title} ({data}, size {size}, {spec.optimiser}, seed {seed})")
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write a figure; its format is the file's ending. Raises UsageError for one unknown."""
    known = sorted(figure.canvas.get_supported_filetypes())
    if path.suffix.removeprefix(".") not in known:
        raise UsageError(f"{path}: a file that ends in one of {', '.join(known)} was wanted")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=150)
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror or error}") from None


def _run(folder: Path) -> Run | None:
    if not folder.is_dir() or not any(folder.glob("events.*")):
        return None
    run = read_run(folder)
    return run if run.tables else None


def _maps(figure: Figure, runs: Runs) -> None:
    """Layers by epochs for the first shown probe, one block a network, beside the probe."""
    figure.set_size_inches(1.1 * (_COLUMNS + 1), 5.2 * len(runs))
    for block, (network, run) in zip(_blocks(figure, len(runs)), runs.items(), strict=True):
        block.suptitle(network)
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
        picked = np.linspace(0, len(run.steps) - 1, _COLUMNS).round().astype(int)
        for row, layer in zip(grid, LAYERS, strict=True):
            for axes, at in zip(row[1:], picked, strict=True):
                _map(axes, run, layer, run.steps[at])
            row[1].set_ylabel(layer)
        for axes, at in zip(grid[0, 1:], picked, strict=True):
            axes.set_title(f"epoch {run.steps[at]}", fontsize=8)


def _map(axes: Axes, run: Run, layer: str, step: int) -> None:
    maps = run.maps.get(layer, {}).get(step)
    if maps is None:
        axes.axis("off")
        return
    channels = next(x.channels for x in run.tables[step].layers if x.name == layer)
    relative = np.atleast_2d(maps.values()[0]) / np.log(channels)
    axes.imshow(relative, vmin=0, vmax=1, cmap="viridis", interpolation="nearest")


def _probe(axes: Axes, run: Run) -> None:
    axes.set_title("probe", fontsize=8)
    if run.probes is not None and run.probes.kind == "image":
        axes.imshow(np.asarray(Image.open(io.BytesIO(run.probes.items[0]))), cmap="gray")


def _blocks(figure: Figure, number: int) -> list[Any]:
    return list(np.atleast_1d(np.asarray(figure.subfigures(number, 1))))


def _losses(figure: Figure, runs: Runs) -> None:
    """Validation loss without the penalties: raw thin, smoothed thick, the onset marked."""
    figure.set_size_inches(9, 4.5)
    axes = figure.subplots()
    for network, run in runs.items():
        if run is None:
            axes.plot([], [], color="none", label=f"{network}: not run")
            continue
        losses = run.scalars["loss/validation"]
        epochs, values = list(losses), np.array(list(losses.values()))
        smoothed = smooth(epochs, values)
        (line,) = axes.plot(epochs, smoothed, label=network)
        axes.plot(epochs, values, color=line.get_color(), linewidth=0.5, alpha=0.5)
        onset = find_onset(epochs, values)
        if onset is not None:
            axes.plot(onset.epoch, onset.loss, "o", color=line.get_color())
    axes.set_xlabel("epoch")
    axes.set_ylabel("validation loss")
    axes.legend(fontsize=8)


def _curves(figure: Figure, runs: Runs) -> None:
    """A row a network: entropy of each layer, and beside it what tells sparsity from growth."""
    figure.set_size_inches(11, 2.2 * len(runs))
    grid = figure.subplots(len(runs), len(_STATISTICS), squeeze=False, sharex=True)
    for row, (network, run) in zip(grid, runs.items(), strict=True):
        row[0].set_ylabel(network)
        if run is None:
            _say_not_run(row[0])
            continue
        for axes, (statistic, _) in zip(row, _STATISTICS, strict=True):
            for layer in LAYERS:
                axes.plot(run.steps, _statistic(run, layer, statistic), label=layer)
            axes.set_yscale("log" if statistic == "rms" else "linear")
            if statistic != "rms":
                axes.set_ylim(0, 1.02)
        row[0].legend(fontsize=6, loc="lower left")
    for axes, (_, title) in zip(grid[0], _STATISTICS, strict=True):
        axes.set_title(title)
    for axes in grid[-1]:
        axes.set_xlabel("epoch")


def _statistic(run: Run, layer: str, name: str) -> Any:
    if name != "relative_entropy":
        return run.statistic(layer, name)
    channels = next(
        x.channels for table in run.tables.values() for x in table.layers if x.name == layer
    )
    return run.statistic(layer, "entropy") / np.log(channels)


def _correlations(figure: Figure, runs: Runs) -> None:
    """Histograms of conv1's filter correlations, epochs by coefficients, one panel a network."""
    figure.set_size_inches(3 * len(runs), 3.5)
    grid = figure.subplots(1, len(runs), squeeze=False, sharey=True)[0]
    for axes, (network, run) in zip(grid, runs.items(), strict=True):
        axes.set_title(network)
        axes.set_xlabel("epoch")
        if run is None or "conv1" not in run.correlations:
            _say_not_run(axes)
            continue
        steps = run.correlations["conv1"]
        counts = np.stack(list(steps.values()), axis=1)
        share = counts / counts.sum(axis=0)
        extent = (min(steps) - 0.5, max(steps) + 0.5, -1.005, 1.005)
        axes.imshow(share, origin="lower", aspect="auto", extent=extent, cmap="magma")
    grid[0].set_ylabel("coefficient")


def _say_not_run(axes: Axes) -> None:
    axes.text(0.5, 0.5, "not run", ha="center", va="center", transform=axes.transAxes)


FIGURES = {
    "figure1": FigureSpec("Entropy maps", _maps, ("vanillaNet",)),
    "figure3": FigureSpec("Validation loss", _losses),
    "figure4": FigureSpec("Entropy maps", _maps, ("vanillaNet", "sr2Net")),
    "figure5": FigureSpec("Entropy of each layer", _curves),
    "figure6": FigureSpec("Validation loss over 200 epochs", _losses),
    "figure7": FigureSpec("Filter correlations of conv1", _correlations),
    "a1": FigureSpec("Entropy of each layer", _curves, optimiser="adam"),
    "a2": FigureSpec("Filter correlations of conv1", _correlations, optimiser="adam"),
}
"""By the name that the command takes."""

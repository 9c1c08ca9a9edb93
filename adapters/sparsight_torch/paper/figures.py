"""The paper's figures, drawn from event files; a run that is not there is said to be "not run".

Figures 1 and 4 show entropy maps, layers by epochs; 3 and 6 validation loss; 5 and A.1 the mean
entropy of each layer; 7 and A.2 the filter correlations of conv1. A.1 and A.2 are of Adam. One that
is not the paper's shows what its open choices do.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sparsight.errors import MissingExtraError, RunError, UsageError, nearest
from sparsight.reader import Run, read_run

from .cells import Cell, Optimiser, Preset
from .networks import NETWORKS, WIDTHS
from .panels import Runs, choices, correlations, curves, losses, maps

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["FIGURES", "FigureSpec", "draw", "save"]


@dataclass(frozen=True)
class FigureSpec:
    """One figure of the paper."""

    title: str
    draw: Callable[[Figure, Runs], None]
    networks: tuple[str, ...] = tuple(NETWORKS)
    optimiser: Optimiser = "sgd"
    preset: str = "full"
    """Whose cells it shows if nothing else is said."""
    varied: bool = False
    """Whether it shows other choices than the defaults too."""


def draw(
    name: str,
    preset: Preset,
    runs: Path,
    data: str | None = None,
    size: str | None = None,
    seed: int = 0,
) -> Figure:
    """Draw a figure of a preset's cells: of one data set, the first, and one size, the largest.

    Raises UsageError for an unknown figure, and for what the preset does not hold; RunError where
    none of the cells has been run; MissingExtraError without matplotlib.
    """
    if name not in FIGURES:
        raise UsageError(f"no figure {name!r}; {nearest(name, FIGURES)}")
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtraError("matplotlib", "figures", "Drawing the paper's figures") from None
    spec = FIGURES[name]
    cells = _cells(name, preset, data, size, seed)
    found = {cell: _run(runs / cell.name) for cell in cells}
    first = cells[0]
    what = f"{first.data}, size {first.size}, {first.optimiser}, seed {seed}"
    if not any(found.values()):
        raise RunError(
            f"{runs} holds no run of {name} ({what}); `sparsight paper run` makes some, and --runs,"
            " --data-set, --size and --seed choose others"
        )
    figure = Figure(layout="constrained")
    spec.draw(figure, found)
    figure.suptitle(f"{spec.title} ({what})")
    return figure


def _cells(name: str, preset: Preset, data: str | None, size: str | None, seed: int) -> list[Cell]:
    """The cells that a figure shows, with the seed asked for."""
    spec = FIGURES[name]
    there = [
        cell
        for cell in preset.cells
        if cell.network in spec.networks
        and cell.optimiser == spec.optimiser
        and (spec.varied or not cell.choices.changed())
    ]
    if not there:
        raise UsageError(
            f"the preset has no cell that {name} shows, trained by {spec.optimiser}; pass another "
            "--preset"
        )
    data = _one("data set", data, [cell.data for cell in there], 0)
    there = [cell for cell in there if cell.data == data]
    sizes = sorted({cell.size for cell in there}, key=list(WIDTHS).index)
    size = _one("size", size, sizes, -1)
    chosen = [dataclasses.replace(cell, seed=seed) for cell in there if cell.size == size]
    return list(dict.fromkeys(chosen))


def _one(kind: str, wanted: str | None, there: Sequence[str], default: int) -> str:
    if wanted is not None and wanted not in there:
        raise UsageError(f"the preset has no {kind} {wanted!r}; {nearest(wanted, set(there))}")
    return there[default] if wanted is None else wanted


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


FIGURES = {
    "figure1": FigureSpec("Entropy maps", maps, ("vanillaNet",)),
    "figure3": FigureSpec("Validation loss", losses),
    "figure4": FigureSpec("Entropy maps", maps, ("vanillaNet", "sr2Net")),
    "figure5": FigureSpec("Entropy of each layer", curves),
    "figure6": FigureSpec("Validation loss over 200 epochs", losses, preset="long"),
    "figure7": FigureSpec("Filter correlations of conv1", correlations),
    "a1": FigureSpec("Entropy of each layer", curves, optimiser="adam"),
    "a2": FigureSpec("Filter correlations of conv1", correlations, optimiser="adam"),
    "choices": FigureSpec("Open choices, one at a time", choices, preset="choices", varied=True),
}
"""By the name that the command takes."""

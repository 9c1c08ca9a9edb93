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
from sparsight.runs.reader import Run, read_run

from .cells import PRESETS, Cell, Optimiser, Preset
from .networks import NETWORKS, WIDTHS
from .panels import Runs, choices, correlations, curves, losses, maps

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["FIGURES", "FigureSpec", "draw", "save"]


@dataclass(frozen=True)
class FigureSpec:
    """One figure of the paper."""

    title: str
    summary: str
    """What the command's help says that it draws."""
    draw: Callable[[Figure, Runs], None]
    networks: tuple[str, ...] = tuple(NETWORKS)
    optimiser: Optimiser = "sgd"
    preset: str = "small"
    """Whose cells it shows if nothing else is said."""
    varied: bool = False
    """Whether it shows other choices than the defaults too."""

    def shows(self, cell: Cell) -> bool:
        """Whether a cell stands in it."""
        return (
            cell.network in self.networks
            and cell.optimiser == self.optimiser
            and (self.varied or not cell.choices.changed())
        )


def draw(
    name: str,
    preset: Preset,
    runs: Path,
    data: str | None = None,
    size: str | None = None,
    seed: int = 0,
) -> Figure:
    """Draw a figure of a preset's cells: of one data set, its first, and one size.

    That is the size of which most cells have been run, the larger of equals. Raises UsageError for
    an unknown figure, and for what the preset does not hold; RunError where none of the cells has
    been run; MissingExtraError without matplotlib.
    """
    if name not in FIGURES:
        raise UsageError(f"unknown figure {name!r}; {nearest(name, FIGURES)}")
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtraError("matplotlib", "figures", "Drawing the paper's figures") from None
    spec = FIGURES[name]
    found = _most_run(runs, _cells(name, preset, data, size, seed))
    first = next(iter(found))
    what = f"{first.data}, size {first.size}, {first.optimiser}, seed {seed}"
    if not any(found.values()):
        raise RunError(
            f"{runs} holds no run of {name} ({what}); train some with `sparsight paper run`, "
            "or choose others with --runs, --data-set, --size and --seed"
        )
    figure = Figure(layout="constrained")
    spec.draw(figure, found)
    figure.suptitle(f"{spec.title} ({what})")
    return figure


def _cells(
    name: str, preset: Preset, data: str | None, size: str | None, seed: int
) -> list[list[Cell]]:
    """The cells that a figure can show, with the seed asked for: a list a size, smallest first."""
    spec = FIGURES[name]
    there = [cell for cell in preset.cells if spec.shows(cell)]
    if not there:
        others = [other for other in PRESETS if any(map(spec.shows, PRESETS[other].cells))]
        raise UsageError(
            f"the preset has no cell that {name} shows, trained by {spec.optimiser}; pass --preset "
            + " or ".join(others)
        )
    data = _one(name, "--data-set", data, [cell.data for cell in there])
    there = [cell for cell in there if cell.data == data]
    sizes = sorted({cell.size for cell in there}, key=list(WIDTHS).index)
    if size is not None:
        sizes = [_one(name, "--size", size, sizes)]
    seeded = dict.fromkeys(dataclasses.replace(cell, seed=seed) for cell in there)
    return [[cell for cell in seeded if cell.size == size] for size in sizes]


def _most_run(runs: Path, sizes: list[list[Cell]]) -> Runs:
    """The size of which most has been run: the larger of equals, the smallest where none has."""
    read: list[Runs] = []
    for cells in reversed(sizes):
        read.append({cell: _run(runs / cell.name) for cell in cells})
        if all(read[-1].values()):
            break
    return max(read, key=_number) if any(map(_number, read)) else read[-1]


def _number(found: Runs) -> int:
    return sum(run is not None for run in found.values())


def _one(name: str, option: str, wanted: str | None, there: Sequence[str]) -> str:
    if wanted is not None and wanted not in there:
        known = nearest(wanted, there)
        raise UsageError(f"no cell of the preset that {name} shows has {option} {wanted}; {known}")
    return there[0] if wanted is None else wanted


def save(figure: Figure, path: Path) -> None:
    """Write a figure; its format is the file's ending. Raises UsageError for one unknown."""
    known = sorted(figure.canvas.get_supported_filetypes())
    if path.suffix.removeprefix(".") not in known:
        raise UsageError(f"{path}: expected a file name that ends in one of {', '.join(known)}")
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
    "figure1": FigureSpec(
        "Entropy maps",
        "Figure 1: entropy maps of vanillaNet, layers by epochs",
        maps,
        ("vanillaNet",),
    ),
    "figure3": FigureSpec(
        "Validation loss",
        "Figure 3: validation loss of the six networks, and where each begins to overfit",
        losses,
    ),
    "figure4": FigureSpec(
        "Entropy maps",
        "Figure 4: entropy maps of vanillaNet and sr2Net, layers by epochs",
        maps,
        ("vanillaNet", "sr2Net"),
    ),
    "figure5": FigureSpec(
        "Entropy of each layer",
        "Figure 5: each layer's entropy, and its scale-free entropy and RMS",
        curves,
    ),
    "figure6": FigureSpec(
        "Validation loss over 200 epochs",
        "Figure 6: validation loss as in Figure 3, over 200 epochs",
        losses,
        preset="long",
    ),
    "figure7": FigureSpec(
        "Filter correlations of conv1",
        "Figure 7: filter correlations of conv1, epochs by coefficients",
        correlations,
    ),
    "a1": FigureSpec(
        "Entropy of each layer",
        "Figure A.1: what Figure 5 shows, of networks trained with Adam",
        curves,
        optimiser="adam",
        preset="adam",
    ),
    "a2": FigureSpec(
        "Filter correlations of conv1",
        "Figure A.2: what Figure 7 shows, of networks trained with Adam",
        correlations,
        optimiser="adam",
        preset="adam",
    ),
    "choices": FigureSpec(
        "Open choices, one at a time",
        "what each choice that the paper leaves open changes (no figure of the paper)",
        choices,
        preset="choices",
        varied=True,
    ),
}
"""By the name that the command takes."""

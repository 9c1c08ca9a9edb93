"""What all figures share: type, sizes in inches, legends, axes of epochs, and files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import matplotlib
import matplotlib.style
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from ..errors import RunError
from ..runs.logdir import NamedRun
from .colours import NOTHING, Scale

__all__ = [
    "FORMATS",
    "colour_bar",
    "epoch_axis",
    "epoch_edges",
    "label_layers",
    "legend",
    "nothing_behind",
    "nothing_key",
    "onset_key",
    "onset_line",
    "pages",
    "save",
    "sheet",
    "shortened",
    "style",
]

T = TypeVar("T")

FORMATS = ("pdf", "svg", "png")

_STYLE: dict[str, Any] = {
    "font.size": 7,
    "axes.titlesize": 7.5,
    "axes.labelsize": 7,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5,
    "legend.fontsize": 6.5,
    "figure.titlesize": 8.5,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.minor.size": 1.5,
    "ytick.minor.size": 1.5,
    "lines.linewidth": 1.1,
    "hatch.linewidth": 0.4,
    "legend.frameon": False,
    "legend.handlelength": 2.6,
    "legend.columnspacing": 1.4,
    "axes.titlelocation": "left",
    "text.parse_math": False,  # layers may be called $x$
    "pdf.fonttype": 42,  # letters stay letters that can be searched and edited
    "svg.fonttype": "none",
    "svg.hashsalt": "sparsight",  # else its ids differ from one drawing to the next
}
_DPI = {"pdf": 600, "svg": 600, "png": 300}
_METADATA: dict[str, dict[str, Any]] = {
    "pdf": {"Creator": "Sparsight", "Producer": None, "CreationDate": None},
    "svg": {"Creator": "Sparsight", "Date": None},
    "png": {"Software": "Sparsight"},
}
"""Without dates: the same data give the same bytes."""

_ONSET: dict[str, Any] = {"color": "black", "linestyle": (0, (3, 2)), "linewidth": 0.9}


@contextmanager
def style() -> Iterator[None]:
    """Our type and lines, whatever the user's matplotlibrc says."""
    with matplotlib.style.context(["default", _STYLE]):
        yield


def sheet(width: float, height: float, title: str) -> Figure:
    """An empty figure, in inches, that keeps its parts from overlapping."""
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.suptitle(_wrapped(title, width, 8.5), x=0.01, ha="left", wrap=False)
    return figure


def save(figure: Figure, path: Path, formats: Sequence[str]) -> list[Path]:
    """Write a figure, once a format, to `path` with the format as ending.

    Raises RunError where it cannot be written.
    """
    written = []
    for ending in formats:
        target = path.with_name(f"{path.name}.{ending}")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            figure.savefig(target, dpi=_DPI[ending], metadata=_METADATA[ending])
        except OSError as error:
            raise RunError(f"cannot write {target}: {error.strerror or error}") from None
        written.append(target)
    return written


def pages(parts: Sequence[T], size: int) -> list[Sequence[T]]:
    """Parts in groups of `size` at most, of about the same size."""
    count = -(-len(parts) // max(1, size))
    return [
        part
        for part in (
            parts[i * len(parts) // count : (i + 1) * len(parts) // count] for i in range(count)
        )
        if part
    ]


def shortened(text: str, inches: float = 1.0, points: float = 6.5) -> str:
    """A name on one line that fits into so many inches; its middle makes room."""
    line = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
    most = max(8, _letters(inches, points))
    if len(line) <= most:
        return line
    tail = (most - 1) * 2 // 3
    return f"{line[: most - 1 - tail]}…{line[-tail:]}"


def _letters(inches: float, points: float) -> int:
    return int(inches * 72 / (0.58 * points))  # DejaVu Sans: 0.58 em a letter on average


def _wrapped(text: str, inches: float, points: float) -> str:
    import textwrap

    return "\n".join(textwrap.wrap(text, max(20, _letters(inches - 0.1, points))))


# -- axes -----------------------------------------------------------------------------------------


def epoch_edges(epochs: Sequence[int]) -> NDArray[np.float64]:
    """Edges of cells around the epochs, midway between neighbours, [epochs + 1]."""
    at = np.asarray(epochs, np.float64)
    if len(at) == 1:
        return np.array([at[0] - 0.5, at[0] + 0.5])
    middle = (at[1:] + at[:-1]) / 2
    return np.concatenate([[2 * at[0] - middle[0]], middle, [2 * at[-1] - middle[-1]]])


def epoch_axis(axes: Axes, label: bool = True) -> None:
    """Whole epochs below the axes."""
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, steps=[1, 2, 5, 10]))
    if label:
        axes.set_xlabel("epoch")


def label_layers(axes: Axes, names: Sequence[str], inches: float, height: float) -> None:
    """Names beside rows 0, 1 …, the first on top; as many as have room in `height` inches."""
    every = max(1, -(-len(names) * 10 // max(1, int(height * 72))))
    rows = range(0, len(names), every)
    axes.set_yticks(list(rows), [shortened(names[row], inches) for row in rows])
    axes.tick_params(axis="y", length=0)


def nothing_behind(axes: Axes, left: float, bottom: float, width: float, height: float) -> None:
    """What shows where there is no value: grey and hatched."""
    axes.add_patch(Rectangle((left, bottom), width, height, zorder=0, **NOTHING))


def onset_line(axes: Axes, epoch: int | None, **line: Any) -> None:
    """A dashed line at the onset, where there is one."""
    if epoch is not None:
        look = {**_ONSET, **line}
        if "linestyle" not in line:  # white between the dashes, to be seen on dark colours
            axes.axvline(epoch, **{**look, "color": "white", "linestyle": "-"})
        axes.axvline(epoch, gid="onset", **look)


# -- legends --------------------------------------------------------------------------------------


def onset_key(runs: Sequence[NamedRun]) -> list[Artist]:
    """What explains the dashed line, where one is drawn."""
    if all(run.onset is None for run in runs):
        return []
    return [Line2D([], [], label="onset: lowest smoothed validation loss", **_ONSET)]


def nothing_key(values: Sequence[NDArray[Any]], text: str = "not measured, or NaN") -> list[Artist]:
    """What explains the hatching, where there is any."""
    if all(np.isfinite(part).all() for part in values):
        return []
    return [Patch(label=text, **NOTHING)]


def legend(figure: Figure, keys: Sequence[Artist], width: float) -> None:
    """The keys below the figure, in as many columns as there is room for."""
    if not keys:
        return
    longest = max(len(str(key.get_label())) for key in keys)
    columns = max(1, min(len(keys), int(width / (longest * 0.055 + 0.5))))
    figure.legend(handles=list(keys), loc="outside lower left", ncols=columns)


def colour_bar(figure: Figure, scale: Scale, axes: Any, label: str, below: bool) -> Any:
    """The scale that coloured the axes, with its unit."""
    place: dict[str, Any] = {"location": "right", "aspect": 25, "fraction": 0.04}
    if below:
        place = {"location": "bottom", "aspect": 40, "fraction": 0.04}
    place |= {"label": label, "pad": 0.02, "panchor": False, "extend": scale.extend}
    bar = figure.colorbar(scale.mappable(), ax=axes, **place)
    bar.outline.set_linewidth(0.4)
    axis = bar.ax.xaxis if below else bar.ax.yaxis
    axis.set_major_formatter(FuncFormatter(_plain))
    axis.set_minor_formatter(FuncFormatter(lambda value, position: ""))
    return bar


def _plain(value: float, position: int | None = None) -> str:
    """A number without mathematics: matplotlib's powers of ten are $10^{-3}$."""
    return f"{value:.4g}".replace("-", "\N{MINUS SIGN}")

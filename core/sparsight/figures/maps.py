"""Entropy maps of one probe: layers by chosen epochs, beside the input itself."""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray
from PIL import Image

from ..errors import UsageError
from ..maths.entropy import relative_entropy
from ..runs.logdir import NamedRun
from ..schema import STATISTICS, LayerInfo
from . import colours, page
from .comparison import Base, label_of, title_of

__all__ = ["Probe", "check_maps", "draw_maps", "first_probe"]

Probe = int | Literal["mean"]
"""A shown probe, by its position in the probe set; "mean": the mean map over the whole set."""

_STRIP = 0.36  # height of a series or a single cell, in tiles
_GAP = 0.1
_LARGEST = 0.75  # inches of a tile
_PAGE = 7.6


@dataclass(frozen=True)
class _Row:
    """The maps of one layer at the chosen epochs, in H / ln D, or less what they are compared
    with."""

    layer: LayerInfo
    maps: list[NDArray[np.float64] | None]
    """[A, B] each; None where none is recorded."""

    @property
    def height(self) -> float:
        """In tiles."""
        shape = next((m.shape for m in self.maps if m is not None), (1, 1))
        return 1.0 if shape[0] > 1 else _STRIP

    @property
    def label(self) -> str:
        return "×".join(map(str, self.layer.map_shape))


def first_probe(runs: Sequence[NamedRun]) -> Probe | None:
    """The first probe that any of the runs shows; "mean" where only mean maps are recorded, None
    where there are no maps."""
    recorded = [
        maps for run in runs for by_step in run.run.maps.values() for maps in by_step.values()
    ]
    shown = sorted({probe for maps in recorded for probe in maps.probe_ids})
    return shown[0] if shown else "mean" if recorded else None


def draw_maps(
    runs: Sequence[NamedRun],
    layers: dict[str, list[str]],
    probe: Probe,
    width: float,
    epochs: Sequence[int] | None = None,
    base: Base = None,
    limits: colours.Limits | None = None,
) -> dict[str, list[Figure]]:
    """The figures of each run that has maps of this probe, by its name, on one colour scale, over
    the values' range or a fixed one.

    Raises UsageError for a probe or an epoch of which no run has maps.
    """
    check_maps(runs, probe, epochs)
    columns = int((width - 1.5) / (0.52 if width >= 5 else 0.37))
    chosen = {run.name: epochs or _chosen(run, columns, base) for run in runs}
    rows = {run.name: _rows(run, layers[run.name], probe, chosen[run.name], base) for run in runs}
    drawn = [m for found in rows.values() for row in found for m in row.maps if m is not None]
    scale = colours.diverging(drawn, limits) if base else colours.sequential(drawn, limits=limits)
    return {
        run.name: [
            _page(run, part, chosen[run.name], probe, scale, width, base)
            for part in _pages(rows[run.name], width, len(chosen[run.name]))
        ]
        for run in runs
        if any(m is not None for row in rows[run.name] for m in row.maps)
    }


def check_maps(runs: Sequence[NamedRun], probe: Probe, epochs: Sequence[int] | None) -> None:
    """Raises UsageError for a probe or an epoch of which no run has maps."""
    recorded = [maps for run in runs for maps in run.run.maps.values()]
    shown = sorted({p for maps in recorded for at in maps.values() for p in at.probe_ids})
    if probe != "mean" and probe not in shown:
        near = f"nearest: {min(shown, key=lambda other: abs(other - probe))}" if shown else "none"
        listed = ", ".join(map(str, shown[:16])) or "none"
        raise UsageError(
            f"no maps of probe {probe} are recorded; expected one of {listed} ({near}), or mean"
        )
    known = sorted({step for maps in recorded for step in maps})
    for epoch in epochs or ():
        if epoch not in known:
            near = f"; the nearest is {min(known, key=lambda e: abs(e - epoch))}" if known else ""
            raise UsageError(f"no maps of epoch {epoch} are recorded{near}")


def _chosen(run: NamedRun, most: int, base: Base) -> list[int]:
    """As many epochs as have room: the first (-1), the last, the onset, and others between them;
    of those that another run which is subtracted has too."""
    known = sorted(_epochs(run) & _epochs(base) if isinstance(base, NamedRun) else _epochs(run))
    if len(known) <= most:
        return known
    chosen = {known[round(at)] for at in np.linspace(0, len(known) - 1, most)}
    inner = sorted(chosen)[1:-1]
    if run.onset in known and inner:
        onset = int(run.onset or 0)
        chosen -= {min(inner, key=lambda epoch: abs(epoch - onset))}
        chosen.add(onset)
    return sorted(chosen)


def _epochs(run: NamedRun) -> set[int]:
    return {step for maps in run.run.maps.values() for step in maps}


def _rows(
    run: NamedRun, names: Sequence[str], probe: Probe, epochs: Sequence[int], base: Base
) -> list[_Row]:
    infos = {layer.name: layer for layer in run.layers}
    return [
        _Row(infos[name], [_compared(run, name, epoch, probe, base) for epoch in epochs])
        for name in names
        if name in run.run.maps
    ]


def _compared(
    run: NamedRun, layer: str, epoch: int, probe: Probe, base: Base
) -> NDArray[np.float64] | None:
    """A map less what it is compared with; None where one of the two was not recorded, or they
    are of different shapes."""
    values = _map(run, layer, epoch, probe)
    if base is None or values is None:
        return values
    if base == "start":
        less = _map(run, layer, min(run.run.maps[layer]), probe)
    else:
        less = _map(base, layer, epoch, probe)
    return values - less if less is not None and less.shape == values.shape else None


def _map(run: NamedRun, layer: str, epoch: int, probe: Probe) -> NDArray[np.float64] | None:
    """In H / ln D, by the run's own D: networks that are compared may be of other widths."""
    encoded = run.run.maps.get(layer, {}).get(epoch)
    channels = run.channels.get(layer)
    if encoded is None or channels is None:
        return None
    if probe != "mean" and probe not in encoded.probe_ids:
        return None
    at = -1 if probe == "mean" else encoded.probe_ids.index(probe)
    entropy = encoded.values()[at].astype(np.float64)
    values = relative_entropy(entropy, channels).astype(np.float64)
    return (
        values if values.ndim == 2 else values.reshape(-1, values.shape[-1] if values.ndim else 1)
    )


def _tile(width: float, columns: int) -> float:
    """Side of a tile in inches."""
    return min(_LARGEST, (width - 1.55) / columns / (1 + _GAP))


def _pages(rows: Sequence[_Row], width: float, columns: int) -> list[Sequence[_Row]]:
    high = sum(row.height + _GAP for row in rows) * _tile(width, columns)
    return page.pages(rows, math.ceil(len(rows) / max(1, math.ceil(high / _PAGE))))


def _page(
    run: NamedRun,
    rows: Sequence[_Row],
    epochs: Sequence[int],
    probe: Probe,
    scale: colours.Scale,
    width: float,
    base: Base,
) -> Figure:
    tile = _tile(width, len(epochs))
    high = sum(row.height + _GAP for row in rows) * tile
    count = run.run.probes.count if run.run.probes else None
    which = "mean over the probe set" if probe == "mean" else f"probe {probe}"
    which = f"mean over {count} probes" if probe == "mean" and count else which
    name = page.shortened(run.name, 2.5)
    title = title_of(f"Entropy maps, {which}, run {name}", base)
    figure = page.sheet(width, max(high, 0.9) + 1.5, title)
    sample = _input(run, probe)
    if sample is None:
        axes = figure.subplots()
    else:
        ratios = [0.72 if width >= 5 else 0.5, len(epochs) * (1 + _GAP) * tile]
        beside, axes = figure.subplots(1, 2, width_ratios=ratios)
        _draw_input(beside, sample)
    _draw_tiles(axes, rows, epochs, scale)
    keys: list[Artist] = []
    if run.onset is not None and run.onset in epochs:
        axes.get_xticklabels()[list(epochs).index(run.onset)].set_fontweight("bold")
        keys.append(Patch(alpha=0, label=f"{run.onset} in bold: onset, the lowest validation loss"))
    label = label_of(STATISTICS["relative_entropy"].label, base)
    page.colour_bar(figure, scale, list(figure.axes), label, below=True)
    shown = [m if m is not None else np.full((1, 1), np.nan) for row in rows for m in row.maps]
    page.legend(figure, [*keys, *page.nothing_key(shown)], width)
    return figure


def _draw_tiles(
    axes: Axes, rows: Sequence[_Row], epochs: Sequence[int], scale: colours.Scale
) -> None:
    top, middles = 0.0, []
    for row in rows:
        for column, values in enumerate(row.maps):
            _draw_tile(axes, values, column * (1 + _GAP), top, row.height, scale)
        middles.append(top + row.height / 2)
        top += row.height + _GAP
    centres = [column * (1 + _GAP) + 0.5 for column in range(len(epochs))]
    axes.set_xticks(centres, [str(epoch).replace("-", "\N{MINUS SIGN}") for epoch in epochs])
    labels = [
        f"{page.shortened(row.layer.name, 0.75)}{chr(10) if row.height == 1 else ' '}{row.label}"
        for row in rows
    ]
    axes.set_yticks(middles, labels)
    axes.tick_params(length=0)
    axes.set_xlabel("epoch")
    axes.set_xlim(0, len(epochs) * (1 + _GAP) - _GAP)
    axes.set_ylim(max(top - _GAP, _STRIP), 0)
    axes.set_aspect("equal", anchor="NW")
    axes.spines[:].set_visible(False)


def _draw_tile(
    axes: Axes,
    values: NDArray[np.float64] | None,
    left: float,
    top: float,
    height: float,
    scale: colours.Scale,
) -> None:
    if values is None:
        page.nothing_behind(axes, left, top, 1, height)
        return
    wide, high = _fitted(values.shape, height)
    left, top = left + (1 - wide) / 2, top + (height - high) / 2
    if not np.isfinite(values).all():
        page.nothing_behind(axes, left, top, wide, high)
    axes.imshow(
        np.ma.masked_invalid(values),
        cmap=scale.colours,
        norm=scale.norm,
        extent=(left, left + wide, top + high, top),
        interpolation="nearest",
        aspect="equal",
    )


def _fitted(shape: tuple[int, ...], height: float) -> tuple[float, float]:
    """Width and height of a map in its tile: square positions; strips fill it."""
    if shape[0] == 1:
        return 1.0, height
    unit = min(1 / shape[1], height / shape[0])
    return shape[1] * unit, shape[0] * unit


def _input(run: NamedRun, probe: Probe) -> NDArray[Any] | None:
    """The probe as it was fed: a picture [A, B] or [A, B, 3], 0 to 255, or a series [L]."""
    probes = run.run.probes
    if probes is None or probe == "mean" or probe not in probes.indices or not probes.items:
        return None
    item = probes.items[probes.indices.index(probe)]
    if probes.kind == "series":
        return np.frombuffer(item[: len(item) // 4 * 4], "<f4")
    return _picture(item, probe)


def _picture(content: bytes, probe: Probe) -> NDArray[Any] | None:
    try:
        with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
            return np.asarray(image.convert("L" if image.mode == "L" else "RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        warnings.warn(f"the image of probe {probe} is damaged: {error}", stacklevel=2)
        return None


def _draw_input(axes: Axes, sample: NDArray[Any]) -> None:
    axes.set_axis_off()
    axes.set_title("input")
    if sample.ndim == 1:
        axes.plot(sample, color="black", linewidth=0.5)
        axes.set_box_aspect(0.6)
    else:
        axes.imshow(sample, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    axes.set_anchor("N")

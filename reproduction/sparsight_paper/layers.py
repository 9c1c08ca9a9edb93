"""What the layers of the runs did: their entropy, and what tells sparsity from growth."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from .cells import network_spec
from .results import Group, Results, end
from .tables import Table, spread, written

__all__ = ["ONSET", "READING", "layers_table", "meaning", "onset_table"]

READING = """\
### Entropy, scale-free entropy and RMS

Before training → at the end, mean over the seeds run, on the probes. The entropy of a softmax falls
when activations merely grow: only where the *scale-free* entropy (each RFAV divided by its own RMS)
falls too has the pattern grown sparse. "Growth" says that the relative entropy fell by more than
.05 and the scale-free entropy did not, "pattern too" that both did. "abs(c)" is the mean absolute
filter correlation: in the mean of c, pairs of alike and of opposite filters cancel.
"""

ONSET = """\
### Around the onset

Relative entropy six epochs before the onset (or before training), at it, ten epochs after it (or in
the last epoch), and at the end: means over the seeds that have an onset.
"""

_CLEARLY = 0.05  # how far an entropy has to fall to be said to

_SCALE_FREE = "scale_free_entropy"

_MOVE_MOST = ("conv3", "conv4", "fc1")  # says the paper

_STATISTICS = {
    "relative_entropy": "relative entropy",
    "scale_free_entropy": "scale-free entropy",
    "rms": "RMS",
    "dead_fraction": "dead channels",
    "correlation_mean": "filter correlation c",
    "correlation_mean_absolute": "abs(c)",
}


def layers_table(groups: Sequence[Group]) -> Table:
    """Raw entropy, scale-free entropy and RMS side by side, for every network run."""
    header = ("run", "layer", *_STATISTICS.values(), "reading")
    rows = []
    for group in groups:
        name = f"{group.title} {group.cell.choices.label}".strip()
        for at, layer in enumerate(group.results[0]["layers"]):
            cells = [_moved(group.layer(layer, statistic)) for statistic in _STATISTICS]
            rows.append(("" if at else name, layer, *cells, reading(group, layer)))
    return Table("Layers", header, tuple(rows))


def onset_table(groups: Sequence[Group]) -> Table:
    """How far the entropy of the deeper layers had fallen when overfitting began."""
    header = ("run", "onset of epoch", *_MOVE_MOST)
    rows = [(g.title, g.onsets, *(_around(g, layer) for layer in _MOVE_MOST)) for g in groups]
    return Table("Relative entropy around the onset", header, tuple(rows))


def _around(group: Group, layer: str) -> str:
    found = []
    for result in group.results:
        curve = result["layers"].get(layer, {}).get("relative_entropy", ())
        if curve and result["onset"] is not None and None not in curve:
            onset = result["onset"] + 1  # the first value is of before training
            late = min(onset + 10, len(curve) - 1)
            found.append((curve[max(0, onset - 6)], curve[onset], curve[late], end(curve)))
    means = map(statistics.fmean, zip(*found, strict=True))
    return " → ".join(map(written, means)) or "–"


def meaning(results: Results) -> str:
    """What the layers' table says of "sparsity", in sentences that are counted from it."""
    falls = _pattern_falls(results.default)
    if not falls:
        return "**In no layer of these runs did the relative entropy fall by more than .05.**\n"
    plain = _pattern_falls([g for g in results.default if not _is_penalised(g)])
    if 2 * sum(fall > _CLEARLY for fall in falls) < len(falls):
        means = 'What the paper calls "sparsity" is, in these runs, mostly scale.'
    else:
        means = "The patterns grew sparse too, as the paper says."
    return (
        "Of the layers whose relative entropy fell by more than .05, counted run by run, the "
        f"scale-free entropy {_counted(falls)}. In networks without penalties it {_counted(plain)}."
        f" **{means}**\n"
    )


def _is_penalised(group: Group) -> bool:
    spec = network_spec(group.cell.network)
    return bool(spec.sparsity or spec.decorrelation)


def _pattern_falls(groups: Sequence[Group]) -> list[float]:
    """Of the scale-free entropy, in every layer of every run whose relative entropy fell."""
    found = []
    for group in groups:
        for layer in group.results[0]["layers"]:
            curves = (group.layer(layer, name) for name in ("relative_entropy", _SCALE_FREE))
            for raw, scale_free in zip(*curves, strict=True):
                if raw and scale_free and raw[0] - end(raw) > _CLEARLY:
                    found.append(scale_free[0] - end(scale_free))
    return found


def _counted(falls: Sequence[float]) -> str:
    if not falls:
        return "was not measured"
    at_all, by_some, clearly = (sum(fall > by for fall in falls) for by in (0, 0.02, _CLEARLY))
    return (
        f"did not fall in {len(falls) - at_all} of {len(falls)}, fell by more than .02 in "
        f"{by_some}, and by more than .05 in {clearly}"
    )


def reading(group: Group, layer: str) -> str:
    """Whether a layer's entropy fell, and if so whether its pattern grew sparse, in two words."""
    entropy = _move(group.layer(layer, "relative_entropy"))
    scale_free = _move(group.layer(layer, _SCALE_FREE))
    if entropy is None or scale_free is None:
        return "–"
    if entropy[0] - entropy[1] <= _CLEARLY:
        return "stays dense" if entropy[1] > 0.9 else "does not fall"
    return "growth" if scale_free[0] - scale_free[1] <= _CLEARLY else "pattern too"


def _move(curves: Sequence[Sequence[float]]) -> tuple[float, float] | None:
    """Mean over seeds, before training and at the end; None where it was not measured."""
    if not all(curves):
        return None
    return statistics.fmean(c[0] for c in curves), statistics.fmean(map(end, curves))


def _moved(curves: Sequence[Sequence[float]]) -> str:
    move = _move(curves)
    return "–" if move is None else f"{written(move[0])} → {spread(curves, end)}"

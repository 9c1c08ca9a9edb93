"""What the demo says of its runs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from sparsight.errors import RunError
from sparsight.maths.movement import moved, settled, started
from sparsight.maths.onset import find_onset
from sparsight.runs.reader import Run

__all__ = ["accuracy_table", "disagreement", "movement_table"]

_LAST = 10  # epochs whose median is reported: single ones swing


def disagreement(recorded: Run, analyzed: Run) -> float:
    """Largest difference of mean entropies, in nats, over all layers and analysed epochs.

    Raises RunError where the two do not hold the same layers, or share no epoch.
    """
    shared = [step for step in analyzed.steps if step in recorded.tables]
    if not shared:
        raise RunError("the recorded and the analysed run have no epoch in common")
    differences = []
    for step in shared:
        ours, theirs = recorded.tables[step], analyzed.tables[step]
        names = [layer.name for layer in ours.layers]
        if names != [layer.name for layer in theirs.layers]:
            raise RunError(
                f"the runs have different layers: recorded {names}, analysed "
                f"{[x.name for x in theirs.layers]}"
            )
        differences += [
            abs(ours.value(name, "entropy") - theirs.value(name, "entropy")) for name in names
        ]
    return max(differences)


def accuracy_table(runs: Mapping[str, Run]) -> Table:
    """Validation accuracy and loss, and the onset of overfitting, one row a run."""
    table = Table(title="Validation on digits not used in training", title_justify="left")
    table.add_column("run", no_wrap=True)
    for header in ("best accuracy", "last 10 epochs", "lowest loss", "last 10 epochs", "onset"):
        table.add_column(header, justify="right")
    for name, run in runs.items():
        accuracy = np.array(list(run.scalars["accuracy/validation"].values()))
        losses = run.scalars["loss/validation"]
        values = np.array(list(losses.values()))
        onset = find_onset(list(losses), values)
        numbers = (accuracy.max(), np.median(accuracy[-_LAST:]), values.min())
        last = np.median(values[-_LAST:])
        cells = [f"{number:.3f}" for number in (*numbers, last)]
        table.add_row(name, *cells, f"epoch {onset.epoch}" if onset else "none")
    return table


def movement_table(runs: Mapping[str, Run], number: int = 3) -> Table:
    """The layers whose relative entropy moved most: before training → median of the last epochs."""
    table = Table(title="Layers that changed most", title_justify="left")
    table.add_column("run", no_wrap=True)
    table.add_column("layer")
    for header in ("relative entropy", "scale-free entropy", "RMS of activations"):
        table.add_column(header, justify="right")
    for name, run in runs.items():
        layers = run.tables[run.steps[0]].layers
        relative = [run.relative_entropy(x.name) for x in layers]
        farthest = -np.abs([moved(curve) for curve in relative])
        order = np.argsort(farthest, stable=True)[:number]
        for rank, at in enumerate(order):
            layer = layers[at].name
            table.add_row(
                "" if rank else name,
                layer,
                _from_to(relative[at]),
                _from_to(run.statistic(layer, "scale_free_entropy")),
                _from_to(run.statistic(layer, "rms")),
                end_section=rank == number - 1,
            )
    return table


def _from_to(values: NDArray[np.float64]) -> str:
    return f"{started(values):.2f} → {settled(values):.2f}"

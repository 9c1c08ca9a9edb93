"""What the demo says of its runs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from sparsight.errors import RunError
from sparsight.onset import find_onset, movement
from sparsight.reader import Run

__all__ = ["disagreement", "summary"]


def disagreement(recorded: Run, analyzed: Run) -> float:
    """Largest difference of mean entropies, in nats, over all layers and analysed epochs.

    Raises RunError where the two do not hold the same layers, or share no epoch.
    """
    shared = [step for step in analyzed.steps if step in recorded.tables]
    if not shared:
        raise RunError("the recorded and the analysed run share no epoch")
    differences = []
    for step in shared:
        ours, theirs = recorded.tables[step], analyzed.tables[step]
        names = [layer.name for layer in ours.layers]
        if names != [layer.name for layer in theirs.layers]:
            raise RunError(f"recorded layers {names}, analysed {[x.name for x in theirs.layers]}")
        differences += [
            abs(ours.value(name, "entropy") - theirs.value(name, "entropy")) for name in names
        ]
    return max(differences)


def summary(runs: Mapping[str, Run]) -> Table:
    """Accuracies, the onset, and the layers that moved most, one row a run."""
    table = Table(title="Validation on digits that training did not see", title_justify="left")
    table.add_column("run")
    table.add_column("best accuracy", justify="right")
    table.add_column("last 10 epochs", justify="right")
    table.add_column("onset", justify="right")
    table.add_column("layers that moved most: relative entropy (scale-free), RMS")
    for name, run in runs.items():
        accuracy = np.array(list(run.scalars["accuracy/validation"].values()))
        losses = run.scalars["loss/validation"]
        onset = find_onset(list(losses), list(losses.values()))
        table.add_row(
            name,
            f"{accuracy.max():.3f}",
            f"{np.median(accuracy[-10:]):.3f}",
            f"epoch {onset.epoch}" if onset else "none",
            "\n".join(_movements(run)),
        )
    return table


def _movements(run: Run, number: int = 3) -> list[str]:
    layers = run.tables[run.steps[0]].layers
    relative = np.stack(
        [run.statistic(layer.name, "entropy") / np.log(layer.channels) for layer in layers], axis=1
    )
    order = np.argsort(-np.abs(movement(relative)))[:number]

    def moved(values: NDArray[np.float64]) -> str:
        return f"{values[0]:.2f} → {np.median(values[-10:]):.2f}"

    return [
        f"{layers[at].name} {moved(relative[:, at])} "
        f"({moved(run.statistic(layers[at].name, 'scale_free_entropy'))}), "
        f"{moved(run.statistic(layers[at].name, 'rms'))}"
        for at in order
    ]

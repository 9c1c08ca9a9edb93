"""What the stored results say of onsets, accuracy and scale: facts that the diagnosis relies on.

    python reproduction/onset_facts.py [RESULTS]

`RESULTS` holds result files, in folders by preset; those beside this script unless given.
Printed are, over all runs: whether accuracy went on rising after the onset, how far it fell for
good from its peak, how wide the onset's interval is, how far seeds lie apart, how much RMS explains
of the relative entropy, and by which factors RMS changes.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sparsight.maths.movement import settled, started
from sparsight.maths.onset import find_onset, find_turn, onset_interval, smooth


def curve(result: dict[str, Any], name: str) -> np.ndarray:
    """A scalar before training and after each epoch."""
    return _numbers([result["start"].get(name), *result["epochs"][name]])


def _numbers(values: Sequence[float | None]) -> np.ndarray:
    return np.array([math.nan if value is None else value for value in values])


def explained(relative: np.ndarray, rms: np.ndarray) -> float:
    """Share of the variance of one layer's relative entropy that a cubic in ln RMS explains."""
    known = np.isfinite(relative) & np.isfinite(rms) & (rms > 0)
    if known.sum() < 8 or relative[known].std() < 0.01:
        return math.nan
    x, y = np.log(rms[known]), relative[known]
    rest = y - np.polyval(np.polyfit(x - x.mean(), y, 3), x - x.mean())
    return float(1 - rest.var() / y.var())


def facts_of(result: dict[str, Any]) -> dict[str, Any]:
    """The facts of one run."""
    losses, accuracy = curve(result, "loss/validation"), curve(result, "accuracy/validation")
    epochs = np.arange(-1, len(losses) - 1)
    onset, interval = find_onset(epochs, losses), onset_interval(epochs, losses)
    smoothed = smooth(epochs, accuracy)
    turn = find_turn(epochs, accuracy, 0.0, higher_is_better=True)
    layers = result["layers"].values()
    shares = [
        explained(_numbers(layer["relative_entropy"]), _numbers(layer["rms"])) for layer in layers
    ]
    ratios = [settled(_numbers(x["rms"])) / started(_numbers(x["rms"])) for x in layers]
    found: dict[str, Any] = {"shares": shares, "ratios": ratios, "onset": None}
    found["fall"] = 0.0 if turn is None else turn.best - turn.settled
    if onset is not None and interval is not None:
        at = onset.epoch + 1
        found |= {"onset": onset.epoch, "width": interval[1] - interval[0]}
        found |= {"rise": smoothed[at:].max() - smoothed[at], "last": smoothed[-1] - smoothed[at]}
    return found


def main(folder: Path) -> None:
    """Print the facts."""
    results = [json.loads(path.read_text("utf-8")) for path in sorted(folder.glob("*/*.json"))]
    facts = [facts_of(result) for result in results]
    turned = [fact for fact in facts if fact["onset"] is not None]
    rises = sorted(fact["rise"] for fact in turned)
    print(f"runs: {len(facts)}; with an onset: {len(turned)}")
    print(f"accuracy went on rising after the onset: {sum(r > 0 for r in rises)} of {len(rises)}")
    print(f"  by at least {rises[0]:.3f}, in the median {np.median(rises):.3f}")
    print(f"  last epoch above the onset's: {sum(f['last'] > 0 for f in turned)} of {len(turned)}")
    falls = sorted(fact["fall"] for fact in facts)
    print(f"accuracy fell for good from its peak: median {np.median(falls):.3f}, largest", end="")
    print("".join(f" {fall:.3f}" for fall in falls[-5:]))
    widths = sorted(fact["width"] for fact in turned)
    print(f"epochs of the onset's interval: median {np.median(widths):.0f}, largest", end="")
    print("".join(f" {width:.0f}" for width in widths[-5:]))
    groups: dict[str, list[int]] = {}
    for result, fact in zip(results, facts, strict=True):
        if fact["onset"] is not None:
            cell = {**result["cell"], "seed": 0}
            groups.setdefault(json.dumps(cell), []).append(fact["onset"])
    spans = sorted(max(group) - min(group) for group in groups.values() if len(group) > 1)
    print(f"epochs between the onsets of seeds: {spans}")
    shares = np.array([share for fact in facts for share in fact["shares"]])
    shares = shares[np.isfinite(shares)]
    low, mid, high = np.percentile(shares, [10, 50, 90])
    print(f"variance of relative entropy that ln RMS explains, {len(shares)} layers: ", end="")
    print(f"10% {low:.2f}, median {mid:.3f}, 90% {high:.3f}")
    ratios = np.array([ratio for fact in facts for ratio in fact["ratios"]])
    ratios = ratios[np.isfinite(ratios)]
    print(f"RMS at the end over that at the start: {ratios.min():.2f} to {ratios.max():.1f}, ")
    print("  above " + ", ".join(f"{c}: {(ratios > c).mean():.1%}" for c in (8, 16, 32, 64, 128)))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "results")

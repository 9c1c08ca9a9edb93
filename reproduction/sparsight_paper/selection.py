"""Which cells of a preset a command means, and what of it is there to be shown."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from sparsight.errors import UsageError, nearest

from .cells import PRESETS, SCOPES, Cell, Preset, preset, touching
from .choices import Choices

__all__ = ["OPTIONS", "Shown", "default_runs", "select"]

OPTIONS = {
    "network": "--network",
    "size": "--size",
    "data": "--data-set",
    "optimiser": "--optimiser",
    "treated": "--treatment",
}
"""The option that chooses cells by each attribute."""

_NO_SIZE = "none"  # what the command line calls the size of LeNet and AlexNet


def select(
    chosen: Preset,
    only: Mapping[str, Sequence[str] | None],
    seeds: Sequence[int] | None = None,
    choices: Choices | None = None,
    say: Callable[[str], None] = lambda sentence: None,
) -> list[Cell]:
    """The cells of a preset whose attributes are among those of `only`; size "none" is no size.

    `seeds` and `choices` replace the preset's. Each network takes the choices that touch it; those
    that none touches are left out, which `say` is told in a sentence. Raises UsageError where no
    cell is left.
    """
    found = list(chosen.cells)
    given = ""
    for attribute, values in only.items():
        if values:
            found = _among(found, attribute, values, given)
            given += "".join(f" {OPTIONS[attribute]} {value}" for value in values)
    if choices is not None:
        found = _with_choices(found, choices, say)
    if seeds:
        found = [dataclasses.replace(cell, seed=seed) for seed in seeds for cell in found]
    return list(dict.fromkeys(found))


def _among(cells: list[Cell], attribute: str, values: Sequence[str], given: str) -> list[Cell]:
    by_value: dict[str, list[Cell]] = {}
    for cell in cells:
        by_value.setdefault(getattr(cell, attribute) or _NO_SIZE, []).append(cell)
    for value in values:
        if value not in by_value:
            raise UsageError(
                f"no cell of the preset{' with' if given else ''}{given} has {OPTIONS[attribute]} "
                f"{value}; {nearest(value, by_value)}"
            )
    return [cell for cell in cells if (getattr(cell, attribute) or _NO_SIZE) in values]


def _with_choices(cells: list[Cell], choices: Choices, say: Callable[[str], None]) -> list[Cell]:
    changed = choices.changed()
    networks = dict.fromkeys(cell.network for cell in cells)
    left_out = [n for n in networks if changed and not changed.keys() & set(touching(n))]
    concern = "; ".join(f"{name} affects {SCOPES[name].title}" for name in changed)
    sentence = f"{choices.label} changes nothing in {', '.join(left_out)} ({concern})"
    if len(left_out) == len(networks):
        raise UsageError(f"{sentence}, so no cell is left")
    if left_out:
        say(f"Left out: {sentence}")
    return [
        dataclasses.replace(cell, choices=choices.only(touching(cell.network)))
        for cell in cells
        if cell.network not in left_out
    ]


def default_runs(chosen: Preset) -> Path:
    """Where a preset's runs go if nothing else is said: presets of one protocol share a folder."""
    return Path("runs/paper") / chosen.protocol.name


@dataclasses.dataclass(frozen=True)
class Shown:
    """What a table or a figure shows of a folder of runs."""

    title: str
    holds: Callable[[Cell], bool]
    """Whether a cell stands in it."""
    what: str
    """A run that can be shown: "finished cell"."""
    file: str
    """What such a run has in its folder: a glob."""

    def missing(self, name: str, runs: Path | None) -> str:
        """Where nothing of a preset can be shown: a sentence of what can; else empty.

        `runs` is the folder that was given, if one was.
        """
        chosen = preset(name)
        folder = runs or default_runs(chosen)
        if not any(map(self.holds, chosen.cells)) or self._number(chosen, folder):
            return ""
        places = {
            f"--preset {other}": self._number(there, runs or default_runs(there))
            for other, there in PRESETS.items()
        }
        if runs is not None:
            below = (path for path in sorted(runs.iterdir()) if path.is_dir())
            places |= {f"--runs {path}": self._number(chosen, path) for path in below}
        there = [f"{place} ({number} there)" for place, number in places.items() if number]
        new = f"sparsight paper run --preset {name}{f' --runs {runs}' if runs else ''}"
        advice = f"pass {' or '.join(there)}" if there else f"`{new}` trains them"
        return f"{folder} holds no {self.what} of preset {name} that {self.title} shows; {advice}"

    def _number(self, chosen: Preset, folder: Path) -> int:
        """Cells of a preset that can be shown, whatever their seeds."""
        names = {c.name.removesuffix(str(c.seed)) for c in chosen.cells if self.holds(c)}
        return sum(any(folder.glob(f"{name}*/{self.file}")) for name in names)

"""Result files: read, checked, collected, and put together where they differ in the seed only."""

from __future__ import annotations

import dataclasses
import json
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sparsight.errors import RunError, UsageError

from .cells import Cell, Protocol
from .classics import CLASSICS
from .formats import DATASETS
from .networks import NETWORKS, WIDTHS

__all__ = [
    "Column",
    "Group",
    "Results",
    "collect",
    "difference",
    "end",
    "over_seeds",
    "read_result",
    "read_results",
    "store",
]

Column = tuple[str, str, str]
"""Data set, size, optimiser."""

_PARTS = {
    "cell",
    "protocol",
    "arithmetic",
    "hardware",
    "versions",
    "best_accuracy",
    "onset",
    "seconds",
    "epochs",
    "layers",
}
_CURVES = ("loss/validation", "accuracy/validation")

_LAST = 10  # epochs whose median is reported: single ones swing


@dataclasses.dataclass(frozen=True)
class Group:
    """Results of one cell in one arithmetic, one a seed."""

    cell: Cell
    """With seed 0."""
    results: tuple[Mapping[str, Any], ...]

    @property
    def title(self) -> str:
        """Names it in a table, but for its choices: cifar-10 sr2Net-s Adam (3 seeds)."""
        parts = [self.cell.data, self.cell.label]
        parts += ["Adam"] if self.cell.optimiser == "adam" else []
        arithmetic = _arithmetic(self.results[0]["arithmetic"])
        parts += [arithmetic] if arithmetic != "float32" else []
        parts += [f"({len(self.results)} seeds)"] if len(self.results) > 1 else []
        return " ".join(parts)

    @property
    def by_cell(self) -> dict[Cell, Mapping[str, Any]]:
        """Each seed's result."""
        seeds = [result["cell"]["seed"] for result in self.results]
        cells = [dataclasses.replace(self.cell, seed=seed) for seed in seeds]
        return dict(zip(cells, self.results, strict=True))

    @property
    def best(self) -> list[float]:
        """Best validation accuracies."""
        return [float(result["best_accuracy"]) for result in self.results]

    @property
    def onsets(self) -> str:
        """The epochs at which overfitting began."""
        return ", ".join("none" if r["onset"] is None else str(r["onset"]) for r in self.results)

    def curves(self, name: str) -> list[list[float]]:
        """A curve over epochs a seed, without what was no number."""
        return [_numbers(result["epochs"][name]) for result in self.results]

    def layer(self, layer: str, name: str) -> list[list[float]]:
        """The same of a layer's statistic; its first value is of before training."""
        return [_numbers(r["layers"].get(layer, {}).get(name, ())) for r in self.results]


@dataclasses.dataclass(frozen=True)
class Results:
    """Finished cells of one protocol."""

    groups: tuple[Group, ...]
    """In the order of the paper's tables, the default choices before others."""
    epochs: int | None = None
    """How long they were trained; None where there are none."""

    @property
    def default(self) -> list[Group]:
        """Those with the default choices."""
        return [group for group in self.groups if not group.cell.choices.changed()]

    @property
    def varied(self) -> list[Group]:
        """Those with other choices."""
        return [group for group in self.groups if group.cell.choices.changed()]

    def of(self, network: str, column: Column) -> Group | None:
        """One cell of a table; None: not run."""
        data, size, optimiser = column
        wanted = (network, data, size, optimiser)
        return next((group for group in self.default if _key(group.cell) == wanted), None)


def end(curve: Sequence[float]) -> float:
    """The median of the last 10 epochs."""
    return statistics.median(curve[-_LAST:])


def over_seeds(values: Iterable[float], written: Callable[[float], str]) -> str:
    """Mean, and half the range where there are several: .52 ± .01."""
    found = list(values)
    mean = written(statistics.fmean(found))
    if len(found) == 1:
        return mean
    return f"{mean} ± {written((max(found) - min(found)) / 2)}"


def read_result(path: Path) -> dict[str, Any]:
    """A cell's result. Raises RunError where it cannot be read."""
    try:
        content: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"cannot read the result {path}: {error}") from None
    missing = sorted(_PARTS - content.keys()) if isinstance(content, dict) else sorted(_PARTS)
    if missing:
        raise RunError(f"{path} is not a result of a cell: it has no {', '.join(missing)}")
    try:
        _cell(content)
        lengths = {len(content["epochs"][name]) for name in _CURVES}
        for curves in content["layers"].values():
            lengths |= {len(curve) - 1 for curve in curves.values()}  # and before training
    except (TypeError, KeyError, AttributeError, UsageError) as error:
        raise RunError(f"{path} is not a result of a cell: {error}") from None
    if lengths != {content["protocol"]["epochs"]}:
        raise RunError(
            f"{path} is not a result of a cell: its curves have {sorted(lengths)} epochs"
        )
    return content


def read_results(folder: Path) -> Results:
    """All `result.json` within a folder of runs, or `*.json` beside one another where collected.

    Raises RunError for a file that is no result, or where they are of several protocols.
    """
    paths = [*sorted(folder.glob("*/result.json")), *sorted(folder.glob("*.json"))]
    results = [read_result(path) for path in paths]
    for result in results:
        other = difference(result["protocol"], results[0]["protocol"])
        if other:
            raise RunError(
                f"{folder} mixes results of several protocols ({other}); pass the folder of one"
            )
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for result in sorted(results, key=lambda result: _place(_cell(result))):
        cell = dataclasses.replace(_cell(result), seed=0)
        groups.setdefault((cell, *result["arithmetic"]), []).append(result)
    return Results(
        tuple(Group(cell, tuple(group)) for (cell, *_), group in groups.items()),
        results[0]["protocol"]["epochs"] if results else None,
    )


def collect(runs: Path, folder: Path, protocol: Protocol) -> list[Path]:
    """Copy the results of finished cells into `folder`, one file a cell; the files written.

    Raises UsageError where there are none, where they are of another protocol, or where one of the
    same cell in another arithmetic is there already.
    """
    paths = sorted(runs.glob("*/result.json"))
    if not paths:
        raise UsageError(f"{runs} holds no finished cell; train some with `sparsight paper run`")
    for path in paths:
        result = read_result(path)
        other = difference(result["protocol"], dataclasses.asdict(protocol))
        if other:
            raise UsageError(
                f"{path} belongs to another protocol than preset {protocol.name} ({other}), "
                "so it cannot join its results"
            )
        _check_same_arithmetic(path, result, folder / f"{path.parent.name}.json")
    return [store(folder / f"{path.parent.name}.json", path.read_text("utf-8")) for path in paths]


def _check_same_arithmetic(path: Path, result: Mapping[str, Any], collected: Path) -> None:
    if collected.exists():
        new, old = result["arithmetic"], read_result(collected)["arithmetic"]
        if new != old:
            raise UsageError(
                f"{path} was computed in {_arithmetic(new)}, but {collected} in "
                f"{_arithmetic(old)}; move the old one away first"
            )


def _arithmetic(parts: Sequence[Any]) -> str:
    precision, is_compiled = parts
    return f"{precision}, compiled" if is_compiled else str(precision)


def store(path: Path, text: str) -> Path:
    """Write a file and the folders that it lies in. Raises RunError where that is impossible."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror or error}") from None
    return path


def difference(theirs: Any, ours: Any) -> str:
    """The first setting that differs, in words; empty where none does."""
    theirs, ours = (json.loads(json.dumps(settings)) for settings in (theirs, ours))
    if theirs == ours:
        return ""
    if not isinstance(theirs, dict) or not isinstance(ours, dict):
        return f"{theirs}, not {ours}"
    name = next(key for key in {**ours, **theirs} if theirs.get(key) != ours.get(key))
    return f"{name}: {theirs.get(name)}, not {ours.get(name)}"


def _cell(result: Mapping[str, Any]) -> Cell:
    return Cell.from_settings(result["cell"])


def _key(cell: Cell) -> tuple[str, str, str, str]:
    return cell.network, cell.data, cell.size, cell.optimiser


def _place(cell: Cell) -> tuple[Any, ...]:
    """In the order of the paper's tables."""
    networks, sizes = [*NETWORKS, *CLASSICS], ["", *WIDTHS]
    return (
        list(DATASETS).index(cell.data),
        cell.optimiser != "sgd",
        sizes.index(cell.size),
        networks.index(cell.network),
        cell.treated,
        cell.choices.changed() != {},
        str(cell.choices.changed()),
        cell.seed,
    )


def _numbers(curve: Sequence[float | None]) -> list[float]:
    return [value for value in curve if value is not None]

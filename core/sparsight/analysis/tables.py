"""What `analyze` returns: measurements, and ways to take them elsewhere."""

from __future__ import annotations

import csv
import importlib
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import RunError, UsageError
from ..measure.measurement import LayerMeasurement
from ..runs.writer import RunWriter
from ..schema import COLUMNS
from ..system.atomic_files import replacing

__all__ = ["Measurements", "check_table_path", "write_table"]

_FORMULA = ("=", "+", "-", "@", "\t", "\r")

NAMES = tuple(column.name for column in COLUMNS)

Steps = Mapping[int, Sequence[LayerMeasurement]]


class Measurements(list[LayerMeasurement]):
    """The layers of one model, measured; a list."""

    def to_numpy(self) -> NDArray[np.float64]:
        """[layers, statistics], in the order of `schema.COLUMNS`; NaN where not measured."""
        table = [[m.statistics.get(name, np.nan) for name in NAMES] for m in self]
        return np.array(table, np.float64).reshape(len(self), len(NAMES))

    def to_pandas(self) -> Any:
        """A DataFrame, a row a layer. Raises UsageError where pandas is not installed."""
        pandas = _module("pandas", "Measurements.to_pandas")
        return pandas.DataFrame(list(_rows({0: self}))).drop(columns="step").set_index("layer")

    def write(self, run: str | Path, step: int = 0) -> None:
        """Record into a run directory, for TensorBoard. Raises RunError where it cannot."""
        with RunWriter(run) as writer:
            writer.write(step, self)


def check_table_path(path: Path) -> None:
    """Raises, before anything is measured, where `write_table` could not write a path."""
    if path.suffix not in (".csv", ".npz", ".parquet"):
        raise UsageError(f"--out {path}: expected a file name that ends in .parquet, .csv or .npz")
    if path.suffix == ".parquet":
        _parquet()
    if not path.parent.is_dir():
        raise RunError(f"cannot write {path}: no such folder: {path.parent}")
    if path.is_dir():
        raise RunError(f"cannot write {path}: it is a folder")
    if not os.access(path.resolve().parent, os.W_OK | os.X_OK):
        raise RunError(f"cannot write {path}: permission denied")


def write_table(path: Path, steps: Steps) -> None:
    """Write the statistics of many steps to a .csv, .npz or .parquet file.

    A row a step and layer; an .npz holds `values` [steps, layers, statistics], `steps`, `layers`
    and `statistics`. Raises UsageError for another name or where a library is missing, RunError
    where the file cannot be written.
    """
    check_table_path(path)
    try:
        target = path.resolve()  # what a link leads to, so that it stays a link
        beside = target.with_name(f"{target.name}.{os.getpid()}.unfinished")
        with replacing(target, beside) as unfinished:
            if path.suffix == ".npz":
                with unfinished.open("wb") as file:
                    np.savez(file, **_arrays(steps))  # type: ignore[arg-type]  # names of arrays
            elif path.suffix == ".csv":
                _write_csv(unfinished, list(_rows(steps)))
            else:
                _write_parquet(unfinished, list(_rows(steps)))
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror or error}") from None


def _rows(steps: Steps) -> Iterable[dict[str, Any]]:
    for step, measurements in sorted(steps.items()):
        for m in measurements:
            known = {"step": step, "layer": m.layer.name, "operator": m.layer.operator}
            known |= {"channels": m.layer.channels}
            yield known | {name: m.statistics.get(name, np.nan) for name in NAMES}


def _arrays(steps: Steps) -> dict[str, NDArray[Any]]:
    layers = list(dict.fromkeys(m.layer.name for found in steps.values() for m in found))
    values = np.full((len(steps), len(layers), len(NAMES)), np.nan)
    for number, step in enumerate(sorted(steps)):
        for m in steps[step]:
            row = [m.statistics.get(name, np.nan) for name in NAMES]
            values[number, layers.index(m.layer.name)] = row
    return {
        "values": values,
        "steps": np.array(sorted(steps)),
        "layers": np.array(layers, np.str_),
        "statistics": np.array(NAMES, np.str_),
    }


def _write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["step", "layer", "operator", "channels", *NAMES])
        writer.writeheader()
        for row in rows:
            writer.writerow({name: _cell(value) for name, value in row.items()})


def _cell(value: Any) -> Any:
    """As spreadsheets want it: an unknown number is empty, and text from a model, which a
    spreadsheet would run if it began like a formula, begins with an apostrophe then."""
    if isinstance(value, str):
        return f"'{value}" if value.startswith(_FORMULA) else value
    return "" if value != value else value


def _write_parquet(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    arrow, parquet = _parquet()
    parquet.write_table(arrow.Table.from_pylist(list(rows)), str(path))


def _parquet() -> tuple[Any, Any]:
    purpose = "--out with a .parquet file"
    return _module("pyarrow", purpose), _module("pyarrow.parquet", purpose)


def _module(name: str, purpose: str) -> Any:
    """A library that is no extra of ours: whoever wants its files has it."""
    try:
        return importlib.import_module(name)
    except ImportError:
        library = name.partition(".")[0]
        raise UsageError(f"{purpose} needs {library}: pip install {library}") from None

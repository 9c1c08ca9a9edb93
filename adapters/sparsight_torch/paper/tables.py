"""The paper's Tables 2 and 3: ours beside the paper's, as text, Markdown or LaTeX."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from sparsight.errors import RunError

from .cells import Choices, Preset
from .classics import CLASSICS
from .experiments import read_result
from .networks import NETWORKS

__all__ = [
    "PAPER_TABLE2",
    "PAPER_TABLE3",
    "Results",
    "Table",
    "read_results",
    "rendered",
    "table2",
    "table3",
]

Column = tuple[str, str, str]
"""Data set, size, optimiser."""
Format = Literal["text", "markdown", "latex"]

NOT_RUN = "not run"

_COLUMNS: tuple[Column, ...] = (
    ("cifar-100", "s", "sgd"),
    ("cifar-100", "m", "sgd"),
    ("cifar-100", "xxl", "sgd"),
    ("cifar-100", "xxl", "adam"),
    ("cifar-10", "xxl", "sgd"),
    ("tiny-imagenet", "xxl", "sgd"),
)
_ROWS = {
    "vanillaNet": (0.3486, 0.3603, 0.3656, 0.3843, 0.6964, 0.2198),
    "dropNet": (0.2505, 0.4708, 0.4202, 0.4507, 0.7862, 0.2446),
    "normNet": (0.3626, 0.4302, 0.5059, 0.5292, 0.7900, 0.2661),
    "sr1Net": (0.2663, 0.4917, 0.5325, 0.3960, 0.8079, 0.2714),
    "sr2Net": (0.3460, 0.5023, 0.5387, 0.4025, 0.8042, 0.3123),
    "sr3Net": (0.3781, 0.5219, 0.5423, 0.4079, 0.8040, 0.3052),
}
PAPER_TABLE2 = {
    (network, column): value
    for network, values in _ROWS.items()
    for column, value in zip(_COLUMNS, values, strict=True)
}
"""Best accuracy within 100 epochs, by network and column."""

PAPER_TABLE3 = {
    ("LeNet", "cifar-10"): 0.6006,
    ("LeNet-sr", "cifar-10"): 0.6101,
    ("LeNet", "cifar-100"): 0.2977,
    ("LeNet-sr", "cifar-100"): 0.3027,
    ("LeNet", "tiny-imagenet"): 0.1267,
    ("LeNet-sr", "tiny-imagenet"): 0.1345,
    ("AlexNet", "cifar-10"): 0.6987,
    ("AlexNet-sr", "cifar-10"): 0.7509,
    ("AlexNet", "cifar-100"): 0.3842,
    ("AlexNet-sr", "cifar-100"): 0.4682,
    ("AlexNet", "tiny-imagenet"): 0.2978,
    ("AlexNet-sr", "tiny-imagenet"): 0.3739,
}
"""Best accuracy, by network and data set."""

_SHORT = {"cifar-10": "c10", "cifar-100": "c100", "tiny-imagenet": "tiny"}


@dataclass(frozen=True)
class Table:
    """Cells of text under a title; the first column names the row."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Results:
    """Finished cells of one protocol with the default choices, and those with other choices."""

    default: tuple[dict[str, Any], ...]
    varied: tuple[dict[str, Any], ...]

    def of(self, network: str, column: Column) -> list[dict[str, Any]]:
        """The results of one cell of a table, one a seed."""
        wanted = (network, *column)
        return [result for result in self.default if _key(result) == wanted]


def read_results(runs: Path) -> Results:
    """All `result.json` within `runs`, and `*.json` beside one another, as in docs/results.

    Raises RunError for a file that is no result, or where they are of several protocols.
    """
    found = sorted(runs.glob("*/result.json")) + sorted(runs.glob("*.json"))
    results = []
    for path in found:
        result = read_result(path)
        if not {"cell", "protocol", "best_accuracy", "layers"} <= result.keys():
            raise RunError(f"{path} is no result of a cell")
        results.append(result)
    protocols = {json.dumps(result["protocol"], sort_keys=True) for result in results}
    if len(protocols) > 1:
        raise RunError(f"{runs} mixes results of {len(protocols)} protocols; pass one's folder")
    plain = json.loads(json.dumps(Choices().__dict__))
    return Results(
        tuple(r for r in results if r["cell"]["choices"] == plain),
        tuple(r for r in results if r["cell"]["choices"] != plain),
    )


def table2(preset: Preset, results: Results) -> Table:
    """Best accuracy of the six networks: ours, its spread over seeds, and the paper's."""
    cells = [cell for cell in preset.cells if cell.network in NETWORKS]
    columns = list(dict.fromkeys((cell.data, cell.size, cell.optimiser) for cell in cells))
    header = ["network"]
    for column in columns:
        header += [_title(column), "paper"]
    rows = []
    for network in NETWORKS:
        row = [network]
        for column in columns:
            printed = PAPER_TABLE2.get((network, column))
            row += [spread(results.of(network, column)), _printed(printed)]
        rows.append(tuple(row))
    epochs = preset.protocol.epochs
    return Table(f"Table 2: best accuracy in {epochs} epochs", tuple(header), tuple(rows))


def table3(preset: Preset, results: Results) -> Table:
    """Best accuracy of LeNet and AlexNet without -> with regularisation, ours and the paper's."""
    header = ["network"]
    data_sets = ("cifar-10", "cifar-100", "tiny-imagenet")
    for data in data_sets:
        header += [_SHORT[data], "paper"]
    rows = []
    for network in ("LeNet", "AlexNet"):
        row = [network]
        for data in data_sets:
            pair = (network, f"{network}-sr")
            ours = [spread(results.of(name, (data, "", "sgd"))) for name in pair]
            row.append(NOT_RUN if ours == [NOT_RUN] * 2 else " -> ".join(ours))
            row.append(" -> ".join(_printed(PAPER_TABLE3[name, data]) for name in pair))
        rows.append(tuple(row))
    assert {network for network, _ in PAPER_TABLE3} == set(CLASSICS)
    title = "Table 3: best accuracy without -> with regularisation"
    return Table(f"{title}, {preset.protocol.epochs} epochs", tuple(header), tuple(rows))


def spread(results: Sequence[Mapping[str, Any]], name: str = "best_accuracy") -> str:
    """Mean over seeds, and half the range where there are several."""
    if not results:
        return NOT_RUN
    values = [float(result[name]) for result in results]
    mean = _printed(statistics.fmean(values))
    if len(values) == 1:
        return mean
    return f"{mean} ± {_printed((max(values) - min(values)) / 2)} ({len(values)} seeds)"


def rendered(table: Table, form: Format) -> str:
    """A table as text, Markdown or LaTeX (with booktabs' rules)."""
    if form == "markdown":
        lines = [_bar(table.header), _bar(["---"] * len(table.header)), *map(_bar, table.rows)]
        return "\n".join([f"{table.title}\n", *lines]) + "\n"
    if form == "latex":
        return _latex(table)
    every = [table.header, *table.rows]
    widths = [max(len(row[at]) for row in every) for at in range(len(table.header))]
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) for row in every]
    return "\n".join([table.title, *(line.rstrip() for line in lines)]) + "\n"


def _latex(table: Table) -> str:
    lines = [f"% {table.title}", rf"\begin{{tabular}}{{l{'r' * (len(table.header) - 1)}}}"]
    body = [_ampersands(row) for row in table.rows]
    lines += [r"\toprule", _ampersands(table.header), r"\midrule", *body, r"\bottomrule"]
    return "\n".join([*lines, r"\end{tabular}"]) + "\n"


def _ampersands(row: Iterable[str]) -> str:
    text = " & ".join(row).replace("->", r"$\to$").replace("±", r"$\pm$").replace("–", "--")
    return text.replace("_", r"\_").replace("%", r"\%") + r" \\"


def _bar(row: Iterable[str]) -> str:
    return "| " + " | ".join(row) + " |"


def _key(result: Mapping[str, Any]) -> tuple[str, str, str, str]:
    cell = result["cell"]
    return cell["network"], cell["data"], cell["size"], cell["optimiser"]


def _title(column: Column) -> str:
    data, size, optimiser = column
    return f"{_SHORT[data]} {size}" + (" Adam" if optimiser == "adam" else "")


def _printed(value: float | None) -> str:
    """An accuracy as the paper prints it: .3486."""
    return "–" if value is None else f"{value:.4f}".removeprefix("0")

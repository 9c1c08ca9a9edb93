"""The paper's Tables 2 and 3: ours beside the paper's, as text, Markdown or LaTeX."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from sparsight.errors import UsageError

from .cells import Preset
from .classics import CLASSICS
from .formats import DATASETS
from .networks import NETWORKS
from .results import Column, Group, Results, over_seeds

__all__ = [
    "NOT_RUN",
    "PAPER_TABLE2",
    "PAPER_TABLE3",
    "Table",
    "accuracy",
    "printed",
    "rendered",
    "spread",
    "table2",
    "table3",
    "written",
]

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

_EPOCHS = 100  # in which the paper trained for both tables

_PAPER = {_EPOCHS: PAPER_TABLE2, 200: {("sr3Net", ("cifar-100", "xxl", "sgd")): 0.5513}}
"""What the paper prints, by how many epochs it trained."""

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


def table2(preset: Preset, results: Results) -> Table:
    """Best accuracy of the six networks: ours, its spread over seeds, and the paper's.

    The paper's stands only beside columns that it prints for as many epochs. Raises UsageError for
    a preset without any of the six.
    """
    cells = [cell for cell in preset.cells if cell.network in NETWORKS]
    if not cells:
        raise UsageError("the preset has no cell of Table 2; full has them all")
    columns = list(dict.fromkeys((cell.data, cell.size, cell.optimiser) for cell in cells))
    papers = _PAPER.get(results.epochs or preset.protocol.epochs, {})
    beside = {column for _, column in papers}
    header = ["network"]
    for column in columns:
        header += [_title(column), "paper"] if column in beside else [_title(column)]
    rows = []
    for network in NETWORKS:
        row = [network]
        for column in columns:
            row.append(_best(results.of(network, column)))
            if column in beside:
                value = papers.get((network, column))
                row.append("–" if value is None else printed(value))
        rows.append(tuple(row))
    return Table(_headline("Table 2: best accuracy", preset, results), tuple(header), tuple(rows))


def table3(preset: Preset, results: Results) -> Table:
    """Best accuracy of LeNet and AlexNet without -> with regularisation.

    Ours, and the paper's beside runs of as many epochs.

    Raises UsageError for a preset without either.
    """
    if not any(cell.network in CLASSICS for cell in preset.cells):
        raise UsageError("the preset has no cell of Table 3; full has them all")
    beside = (results.epochs or preset.protocol.epochs) == _EPOCHS
    header = ["network"]
    for data in DATASETS:
        header += [_SHORT[data], "paper"] if beside else [_SHORT[data]]
    rows = []
    for network in ("LeNet", "AlexNet"):
        row = [network]
        for data in DATASETS:
            pair = (network, f"{network}-sr")
            ours = [_best(results.of(name, (data, "", "sgd"))) for name in pair]
            row.append(NOT_RUN if ours == [NOT_RUN] * 2 else " -> ".join(ours))
            if beside:
                row.append(" -> ".join(printed(PAPER_TABLE3[name, data]) for name in pair))
        rows.append(tuple(row))
    title = "Table 3: best accuracy without -> with regularisation"
    return Table(_headline(title, preset, results), tuple(header), tuple(rows))


def accuracy(group: Group) -> str:
    """Best accuracy: the mean over seeds, and half their range where there are several."""
    return over_seeds(group.best, printed)


def _best(group: Group | None) -> str:
    if group is None:
        return NOT_RUN
    seeds = f" ({len(group.results)} seeds)" if len(group.results) > 1 else ""
    return accuracy(group) + seeds


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


def _headline(title: str, preset: Preset, results: Results) -> str:
    """With the epochs that were run, which `--epochs` may have changed."""
    return f"{title} in {results.epochs or preset.protocol.epochs} epochs"


def _title(column: Column) -> str:
    data, size, optimiser = column
    return f"{_SHORT[data]} {size}" + (" Adam" if optimiser == "adam" else "")


def written(value: float, digits: int = 2) -> str:
    """A number as the tables print it: .30, 11.25."""
    text = f"{round(value, digits) + 0:.{digits}f}"  # + 0: no -.00
    return text.replace("0.", ".", 1) if abs(value) < 1 and not text.startswith("1") else text


def printed(value: float) -> str:
    """An accuracy as the paper prints it: .3486."""
    return written(value, 4)


def spread(
    curves: Sequence[Sequence[float]], of: Callable[[Sequence[float]], float], digits: int = 2
) -> str:
    """A number of each seed's curve: the mean, and half the range where there are several.

    A dash where a curve holds none.
    """
    if not all(curves):
        return "–"
    return over_seeds(map(of, curves), lambda value: written(value, digits))

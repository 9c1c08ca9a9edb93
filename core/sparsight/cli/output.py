"""What goes to the terminal: results to stdout, progress and remarks to stderr."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable, Sequence
from typing import NoReturn

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

__all__ = [
    "console",
    "leave_closed_output",
    "number",
    "plain",
    "print_table",
    "progress",
    "remark",
    "write",
]

_CLOSED = 141
"""Exit code of a program that writes to a pipe which nobody reads any more: 128 + SIGPIPE."""


class _Console(Console):
    def on_broken_pipe(self) -> None:
        leave_closed_output()


def leave_closed_output() -> NoReturn:
    """End as other programs do whose output is closed, as by `| head`: without a word.

    What is left in buffers goes nowhere, or Python would complain of it at its end.
    """
    with contextlib.suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
    raise SystemExit(_CLOSED)


def write(text: str) -> None:
    """Lines on stdout, for programs that read them."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        leave_closed_output()


def console(stderr: bool = False) -> Console:
    """A console that takes nothing in a text for markup."""
    return _Console(stderr=stderr, markup=False, highlight=False, emoji=False)


def plain(text: str) -> Text:
    """Text from a file: what would steer the terminal is left out."""
    return Text("".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text))


def remark(text: str) -> None:
    """A line on stderr."""
    console(stderr=True).print(plain(text), soft_wrap=True)


def print_table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], right: int = 0
) -> None:
    """A table on stdout; its last `right` columns hold numbers."""
    made = Table(box=None, pad_edge=False)
    for position, column in enumerate(columns):
        numeric = position >= len(columns) - right
        made.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        made.add_row(*(plain(cell) for cell in row))
    screen = console()
    screen.print(plain(title), soft_wrap=True)
    screen.print(made)


def number(value: float, digits: int = 3) -> str:
    """A value, or a dash where it was not measured."""
    return f"{value:.{digits}f}" if value == value else "–"


def progress() -> Progress:
    """A bar that counts samples; on stderr, so that stdout can be piped, and on terminals only."""
    screen = console(stderr=True)
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=screen,
        disable=not screen.is_terminal,
    )

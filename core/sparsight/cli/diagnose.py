"""`sparsight diagnose`: whether runs overfit, since when, of what kind, and in which layers."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from ..diagnosis.diagnose import Diagnosis

__all__ = ["diagnose"]


def diagnose(
    runs: Annotated[
        list[Path], typer.Argument(help="Run directories, or folders of them.", metavar="RUN")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Say whether runs overfit, since when, of what kind, in which layers, and what to do."""
    from ..diagnosis.diagnose import diagnose_all
    from .output import write

    found = [diagnosis for run in runs for diagnosis in diagnose_all(run)]
    if as_json:
        write(json.dumps([_plain(diagnosis) for diagnosis in found], indent=2))
        return
    for diagnosis in found:
        _print(diagnosis)


def _plain(diagnosis: Diagnosis) -> Any:
    from dataclasses import asdict

    return _finite(asdict(diagnosis))


def _finite(value: Any) -> Any:
    """JSON knows no NaN."""
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _print(diagnosis: Diagnosis) -> None:
    from rich.padding import Padding

    from .output import console, number, plain, print_table

    screen = console()
    screen.print(plain(f"{diagnosis.run}: {diagnosis.kind}"))
    reasons = "; ".join(diagnosis.reasons)
    lines = [
        *diagnosis.sentences,
        f"Next: {diagnosis.next_step}",
        f"Confidence: {diagnosis.confidence} ({reasons}).",
    ]
    for line in lines:
        screen.print(Padding(plain(line), (0, 0, 0, 2)))
    rows = [
        [x.name, number(x.start), number(x.end), number(x.rms_ratio, 2), number(x.dead, 2), x.cause]
        for x in diagnosis.layers
    ]
    columns = ["layer", "H / ln D at start", "at the end", "RMS x", "dead", "cause"]
    print_table("layers, those that changed most first", columns, rows)

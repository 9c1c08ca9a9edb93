"""Sub-commands of other packages, by the entry point group "sparsight.commands".

An entry point's value is a plain function that typer can register, or a typer.Typer where it has
sub-commands of its own. Only the one that is called is imported; of the others, help shows the
first line of the function's docstring, or of the module's, read from the source.
"""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

import typer

from ..errors import MissingExtraError, SparsightError

__all__ = ["GROUP", "extensions"]

GROUP = "sparsight.commands"

_PACKAGES = {"paper": "reproduction"}
"""Commands of packages that are not published: their folders in a clone of Sparsight."""

Command = Callable[..., Any] | typer.Typer


def extensions(arguments: Sequence[str]) -> Iterator[tuple[str, Command, str | None]]:
    """Name, function (or group) and help (None: its own) of each sub-command."""
    called = next((part for part in arguments if not part.startswith("-")), None)
    entries = entry_points(group=GROUP)
    if called in _PACKAGES and called not in {entry.name for entry in entries}:
        raise SparsightError(
            f"sparsight {called} is a separate package; install it from a clone of Sparsight: "
            f"pip install ./{_PACKAGES[called]}"
        )
    for entry in sorted(entries, key=lambda entry: entry.name):
        if entry.name == called:
            yield entry.name, _load(entry), None
        else:
            yield entry.name, _unavailable, _summary(entry)


def _load(entry: EntryPoint) -> Command:
    try:
        command: Command = entry.load()
    except (ModuleNotFoundError, MissingExtraError) as error:
        # the extra that is named after the command brings all that it needs, at once
        raise MissingExtraError(
            error.name or "another package", _extra(entry), f"sparsight {entry.name}"
        ) from None
    except SparsightError:
        raise
    except (ImportError, AttributeError) as error:
        raise SparsightError(f"sparsight {entry.name} cannot be loaded: {error}") from None
    return command


def _extra(entry: EntryPoint) -> str:
    """The extra that brings what a command needs: of the command's own name, where there is one."""
    offered = entry.dist.metadata.get_all("Provides-Extra") if entry.dist else None
    return entry.name if entry.name in (offered or ()) else "torch"


def _unavailable() -> None:
    raise typer.Exit(2)  # never called: what is called is loaded


def _summary(entry: EntryPoint) -> str:
    """First line of the function's docstring, or the module's, without importing the package."""
    text = _docstring(_source(entry.module), entry.attr)
    return text.splitlines()[0] if text else f"From {entry.module}."


def _source(module: str) -> Path | None:
    package, *rest = module.split(".")
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        return None
    if not rest:
        return Path(spec.origin)
    path = Path(spec.origin).parent.joinpath(*rest)
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


def _docstring(source: Path | None, name: str) -> str | None:
    if source is None:
        return None
    tree = ast.parse(source.read_text("utf-8"))
    found = (n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == name)
    return ast.get_docstring(next(found, tree))

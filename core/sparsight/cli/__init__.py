"""The command line. One file a sub-command; what is heavy is imported when it is called."""

from __future__ import annotations

import contextlib
import errno
import sys
import warnings
from collections.abc import Sequence
from typing import Any

import typer

from ..errors import SparsightError
from .analyze import analyze
from .diagnose import diagnose
from .doctor import doctor
from .extensions import extensions
from .figures import figures
from .taps import taps

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `sparsight` with these arguments; its exit code.

    2, after one line, for bad input; 130, without one, for Ctrl-C.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    with warnings.catch_warnings():
        warnings.simplefilter("default", UserWarning)
        warnings.showwarning = _show
        try:
            _app(given)(given, prog_name="sparsight")
        except SparsightError as error:
            _say(str(error))
            return 2
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            _say(f"cannot write the output: {error.strerror}")
            return 2
        except KeyboardInterrupt:
            return 130
        except SystemExit as end:
            return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def _app(arguments: Sequence[str]) -> typer.Typer:
    app = typer.Typer(
        help="See overfitting inside neural networks, layer by layer.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        add_completion=False,
    )
    for command in (taps, analyze, diagnose, figures, doctor):
        app.command()(command)
    for name, command, summary in extensions(arguments):
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name)
        else:
            app.command(name, help=summary)(command)
    return app


def _show(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    _say(f"warning: {message}" if issubclass(category, UserWarning) else str(message))


def _say(text: str) -> None:
    """One line; names in it come from files, and may hold anything."""
    line = "".join(c if c.isprintable() else " " for c in text)
    with contextlib.suppress(BrokenPipeError):  # nobody reads it any more
        print(f"sparsight: {line}", file=sys.stderr)

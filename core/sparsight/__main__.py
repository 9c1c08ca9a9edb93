"""`python -m sparsight`, the same as `sparsight`. Imports next to nothing before it is guarded."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

__all__ = ["main"]

_INTERRUPTED = 128 + signal.SIGINT
_IMPORTING = "<frozen importlib._bootstrap>"


def main() -> int:
    """Run the command line; 130, without a word, where Ctrl-C comes while it is imported."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else it is to be ignored
        signal.signal(signal.SIGINT, _interrupt)
    from .cli import main as run

    return run()


def _interrupt(number: int, frame: FrameType | None) -> None:
    """End at once within an import, else raise KeyboardInterrupt.

    A compiled module turns any exception within its import into an ImportError, which would read
    as if ONNX Runtime or PyTorch were not installed; others swallow it.
    """
    while frame is not None:
        if frame.f_code.co_filename == _IMPORTING:
            os._exit(_INTERRUPTED)
        frame = frame.f_back
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())

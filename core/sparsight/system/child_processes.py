"""Processes that end when the one that started them is gone, however that ended."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from multiprocessing.connection import wait

__all__ = ["end_with_parent", "tensorboard"]

_PATIENCE = 10.0  # seconds in which a process may end by itself


def end_with_parent() -> None:
    """Have this process, which `multiprocessing` started, end when its parent has ended."""
    threading.Thread(target=_end_with_parent, daemon=True).start()


def tensorboard(arguments: Sequence[str]) -> None:
    """Be a TensorBoard, in a process of one's own, that ends with the process that started it."""
    end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches both: the parent ends us
    sys.argv = ["tensorboard", *arguments]
    from tensorboard.main import run_main

    run_main()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)  # TensorBoard tidies up then
        time.sleep(_PATIENCE)
        os._exit(1)

"""What tests wait for, and the processes that they start.

No wait has a limit of its own: how long something takes depends on what else the machine does. The
one limit is pytest's for a whole test, `timeout` in pyproject.toml. It interrupts the wait, and
what the test opened is closed on the way out.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

T = TypeVar("T")


def wait_until(look: Callable[[], T | None], process: subprocess.Popen[Any] | None = None) -> T:
    """What `look` finds, as soon as it finds something; fails where `process` ends before."""
    while True:
        ended = process is not None and process.poll() is not None
        if found := look():
            return found
        assert not ended, f"the process that was to bring it about ended with {process.returncode}"
        time.sleep(0.05)


@contextlib.contextmanager
def started(command: Sequence[str], **options: Any) -> Iterator[subprocess.Popen[Any]]:
    """A process that does not outlive the block, nor do those that it started; its pipes close.

    It heeds signals, whatever the tests themselves were told to ignore, as by nohup.
    """
    with subprocess.Popen(
        command, start_new_session=True, preexec_fn=_heed_signals, **options
    ) as process:
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):  # none is left
                os.killpg(process.pid, signal.SIGKILL)


def _heed_signals() -> None:
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)

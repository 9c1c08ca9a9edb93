"""Who records into a run directory: two writers at once would lose each other's epochs."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from pathlib import Path

from ..errors import RunError
from ..system.file_locks import FileLock
from ..warning import warn

__all__ = ["RunClaim"]

_NAME = "sparsight.lock"
_CLAIMS: weakref.WeakValueDictionary[Path, RunClaim] = weakref.WeakValueDictionary()


class RunClaim:
    """Exclusive use of a run directory.

    Another process is refused, by a lock. In the same process whoever claims a run last has it: a
    notebook's cell that is run again makes a second recorder while the first is still alive.
    """

    def __init__(self, logdir: Path) -> None:
        self._logdir = logdir
        self._lock: FileLock | None = None
        self._taken_over = False
        self._warned = False
        self._hand_over: weakref.WeakMethod[Callable[[], None]] | None = None

    def take(self, hand_over: Callable[[], None], *, make: bool) -> None:
        """Claim the run, if it is not claimed yet; `hand_over` is called when it is taken over.

        `make` makes the directory. Where nothing can be locked, a warning says so, once; where
        nothing can be written, whoever writes next will notice. Raises RunError where another
        process has the run, or where it was taken over.
        """
        if self._taken_over:
            raise RunError(
                f"another recorder in this process has taken over {self._logdir}, so this one "
                "can no longer write to it; give each run a directory of its own"
            )
        if self._lock is not None and self._lock.held:
            return
        self._hand_over = weakref.WeakMethod(hand_over)
        try:
            if make:
                self._logdir.mkdir(parents=True, exist_ok=True)
            self._lock_it()
        except BlockingIOError as error:
            raise RunError(
                f"{error} is already recording into {self._logdir}; wait for it to end, or "
                "choose another directory"
            ) from None
        except OSError:
            return

    def release(self) -> None:
        """Leave the run to others."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def _lock_it(self) -> None:
        place = self._logdir.resolve()
        other = _CLAIMS.get(place)
        if other is not None and other is not self:
            other._yield()
        self._lock = FileLock(self._logdir / _NAME)
        _CLAIMS[place] = self
        if self._lock.problem is not None and not self._warned:
            self._warned = True
            warn(
                f"cannot lock {self._logdir} against other processes ({self._lock.problem}): "
                "make sure that only one at a time records into it",
            )

    def _yield(self) -> None:
        """Leave the run to another of this process, unless it is a parent's, before a fork."""
        if self._lock is None or not self._lock.held:
            return
        hand_over = None if self._hand_over is None else self._hand_over()
        if hand_over is not None:
            hand_over()
        self.release()
        self._taken_over = True

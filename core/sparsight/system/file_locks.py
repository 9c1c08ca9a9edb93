"""Locks on folders: the kernel's own, so that they end with the process that holds them."""

from __future__ import annotations

import contextlib
import os
import socket
import weakref
from pathlib import Path

__all__ = ["FileLock"]

_HELD: weakref.WeakSet[FileLock] = weakref.WeakSet()


class FileLock:
    """An exclusive lock on a file, which is made for it and removed when it is released.

    It ends with its process, however that ends, and is not inherited by a forked one: a data
    loader's worker that outlives its parent must not keep a run locked. `problem` says why nothing
    is locked on a file system that has no locks; it is None where the lock is held, and on systems
    that know no such lock. Raises BlockingIOError, which names the holder, where somebody else
    holds it, and OSError where the file cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        descriptor, self.problem = _locked(path)
        self._close = weakref.finalize(self, os.close, descriptor)
        self._identity = _identity(os.fstat(descriptor))
        _HELD.add(self)
        with contextlib.suppress(OSError):  # a full disk; it is for messages only
            os.ftruncate(descriptor, 0)
            os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode())

    @property
    def held(self) -> bool:
        """Whether it still keeps others out: not released, nor a parent's, nor its file deleted."""
        return bool(self._close.alive) and self._is_there()

    def release(self) -> None:
        """Release the lock, so that others can take it."""
        if self.held:
            with contextlib.suppress(OSError):
                self.path.unlink()  # while it is locked: nobody else can have it yet
        self._close()

    def __enter__(self) -> FileLock:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def _is_there(self) -> bool:
        try:
            return _identity(os.stat(self.path)) == self._identity
        except OSError:
            return False

    def _forget(self) -> None:
        self._close()


def _locked(path: Path) -> tuple[int, str | None]:
    """Descriptor of the locked file, and what is wrong with locks there."""
    while True:
        descriptor = _opened(path)
        try:
            problem = _lock(descriptor)
            if problem is not None or _is_at(path, descriptor):
                return descriptor, problem
        except BlockingIOError:
            holder = os.read(descriptor, 200).decode(errors="replace")
            os.close(descriptor)
            raise BlockingIOError(holder or "another process") from None
        os.close(descriptor)  # whoever held it has removed it since we opened it


def _opened(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except PermissionError:  # another user's, left by a process that was killed
        return os.open(path, os.O_RDONLY)


def _lock(descriptor: int) -> str | None:
    try:
        import fcntl
    except ImportError:  # Windows has no such lock
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError as error:
        return error.strerror or str(error)
    return None


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return _identity(os.stat(path)) == _identity(os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _forget_all() -> None:
    for lock in list(_HELD):
        lock._forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)

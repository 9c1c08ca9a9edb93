"""A real TensorBoard, with either of its two loaders."""

from __future__ import annotations

import contextlib
import importlib.util
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
from tests.waiting import started, wait_until

T = TypeVar("T")

LOADERS = {"rust": "true", "python": "false"}


class TensorBoard:
    """A process on a free port, and what it says."""

    def __init__(self, process: subprocess.Popen[Any], log: Path) -> None:
        self._process = process
        self._log = log
        found = self.wait_until(lambda: re.search(r"http://\S+?:\d+(/\S*)?", self.log))
        self.address = found[0].rstrip("/")

    @property
    def log(self) -> str:
        return self._log.read_text("utf-8", errors="replace")

    def wait_until(self, look: Callable[[], T | None]) -> T:
        """What `look` finds, as soon as it finds something; TensorBoard must live until then."""
        try:
            return wait_until(look, self._process)
        except BaseException as error:
            error.add_note(f"TensorBoard said:\n{self.log}")
            raise

    def close(self) -> None:
        """End it as a user would. Harmless when repeated."""
        self._process.terminate()
        self._process.wait()


@contextlib.contextmanager
def tensorboard(logdir: Path, loader: str, *flags: str) -> Iterator[TensorBoard]:
    """A TensorBoard that is ended, whatever happens."""
    if loader == "rust" and importlib.util.find_spec("tensorboard_data_server") is None:
        pytest.skip("TensorBoard's Rust loader is not available on this platform")
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(logdir), "--port=0"]
    command += [f"--load_fast={LOADERS[loader]}", *flags]
    with (
        tempfile.NamedTemporaryFile() as log,
        started(command, stdout=subprocess.DEVNULL, stderr=log) as process,
    ):
        server = TensorBoard(process, Path(log.name))
        yield server
        server.close()

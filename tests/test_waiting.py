"""A failing test closes what it opened, so that no other finds it."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from tests.e2e.tabs import notebook
from tests.tensorboards import tensorboard
from tests.waiting import started, wait_until

FOREVER = "import threading; threading.Event().wait()"
WITH_CHILD = f"""
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", {FOREVER!r}])
print(child.pid, flush=True)
child.wait()
"""


def has_ended(pid: int) -> bool:
    """Whether a process is gone, or only waits for somebody to ask how it ended."""
    found = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True)
    return found.stdout.strip()[:1] in ("", "Z")


def test_processes_end_with_the_test_that_started_them() -> None:
    found = {}

    def failing() -> None:
        command = [sys.executable, "-c", WITH_CHILD]
        with started(command, stdout=subprocess.PIPE, text=True) as process:
            found.update(process=process, child=int(process.stdout.readline()))
            raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        failing()
    assert found["process"].returncode is not None
    assert found["process"].stdout.closed
    wait_until(lambda: has_ended(found["child"]))


def test_a_wait_ends_with_the_process_that_it_waits_for() -> None:
    with (
        started([sys.executable, "-c", "raise SystemExit(3)"]) as process,
        pytest.raises(AssertionError, match="ended with 3"),
    ):
        wait_until(lambda: None, process)


def test_what_came_before_the_end_is_found(tmp_path: Path) -> None:
    path = tmp_path / "made"
    command = [sys.executable, "-c", f"open({str(path)!r}, 'w').close()"]
    with started(command) as process:
        assert wait_until(path.exists, process)
        process.wait()
        assert wait_until(path.exists, process)


@pytest.mark.parametrize("loader", ["python", "rust"])
def test_a_tensorboard_ends_with_the_test_that_started_it(loader: str, tmp_path: Path) -> None:
    def look() -> None:
        raise RuntimeError("on purpose")

    with (
        pytest.raises(RuntimeError, match="on purpose") as caught,
        tensorboard(tmp_path, loader) as server,
    ):
        server.wait_until(look)
    assert server._process.returncode is not None
    assert "http://" in "".join(caught.value.__notes__)


def test_a_page_is_served_no_longer_than_its_test() -> None:
    threads = threading.active_count()

    def failing() -> None:
        with notebook("about:blank"):
            assert threading.active_count() == threads + 1
            raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        failing()
    assert threading.active_count() == threads


def test_what_is_started_heeds_signals_that_the_tests_ignore() -> None:
    """As where they run under nohup, or in the background of a shell."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with started(["sleep", "1000"]) as process:
            process.send_signal(signal.SIGHUP)
            assert process.wait() == -signal.SIGHUP
    finally:
        signal.signal(signal.SIGHUP, before)

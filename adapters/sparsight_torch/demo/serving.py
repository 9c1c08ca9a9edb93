"""Starting TensorBoard for the person who ran the demo."""

from __future__ import annotations

import multiprocessing
import os
import socket
import sys
import time
import urllib.error
import urllib.request
import webbrowser
from multiprocessing.process import BaseProcess
from pathlib import Path

from rich.console import Console

from sparsight.errors import UsageError
from sparsight.system.child_processes import tensorboard

__all__ = ["serve_tensorboard"]

_PATIENCE = 60  # seconds that TensorBoard may take to start


def serve_tensorboard(logdir: Path, port: int, console: Console) -> None:
    """Start TensorBoard, say where, open a browser where there is one, and wait for Ctrl-C."""
    port = port or _free_port()
    address = f"http://localhost:{port}/#sparsity"
    arguments = ["--logdir", str(logdir), "--port", str(port)]
    process = multiprocessing.get_context("spawn").Process(
        target=tensorboard, args=(arguments,), daemon=True
    )
    process.start()
    try:
        _wait_for(process, f"http://localhost:{port}/")
        console.print(f"\nThe Sparsity tab: [bold]{address}[/bold]   (press Ctrl-C to stop)")
        if _has_screen():
            webbrowser.open(address)
        process.join()
    except KeyboardInterrupt:
        console.print("Stopping TensorBoard.")
    finally:
        process.terminate()
        process.join()


def _wait_for(process: BaseProcess, address: str) -> None:
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end:
        if not process.is_alive():
            raise UsageError("TensorBoard did not start; see its output above")
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    raise UsageError(f"TensorBoard did not answer at {address} within {_PATIENCE} seconds")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return int(probe.getsockname()[1])


def _has_screen() -> bool:
    """Whether a browser can be opened: without a screen, a text browser would take the terminal."""
    graphical = sys.platform in ("darwin", "win32")
    return graphical or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))

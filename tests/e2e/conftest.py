"""Chromium, and a log directory with an overfitting run and its regularised twin."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect, sync_playwright
from tests.e2e.synthetic import Plan, write_run
from tests.e2e.tabs import LOADERS, Board, serving

expect.set_options(timeout=30_000)  # milliseconds: two cores, shared with TensorBoard

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Debian's Chromium."""
    if not Path(CHROMIUM).exists():
        pytest.skip("the browser tests need Chromium (Debian: apt-get install chromium)")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="session")
def logdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs that no test changes."""
    root = tmp_path_factory.mktemp("runs")
    write_run(root / "vanillaNet-s", Plan())
    write_run(root / "sr2Net-s", Plan(overfits=False, seed=1))
    return root


@pytest.fixture(scope="session", params=list(LOADERS))
def board(request: pytest.FixtureRequest, logdir: Path) -> Iterator[Board]:
    """A TensorBoard, with each of its two loaders."""
    with serving(logdir, request.param) as started:
        started.wait_for(**{"vanillaNet-s": 62, "sr2Net-s": 62})
        yield started

"""Chromium, and TensorBoards that several tests look at."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, expect, sync_playwright
from tests.e2e.oddities import STEPS, write_oddities
from tests.e2e.synthetic import Plan, write_run
from tests.e2e.tabs import Board, serving
from tests.tensorboards import LOADERS

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"


@pytest.fixture(scope="session")
def browser(pytestconfig: pytest.Config) -> Iterator[BrowserContext]:
    """Debian's Chromium; its pages share what they have cached of TensorBoard's own page."""
    if not Path(CHROMIUM).exists():
        pytest.skip("the browser tests need Chromium (Debian: apt-get install chromium)")
    # Half of what a test has, in milliseconds, so that it is Playwright that says what is missing.
    limit = 1000 * float(pytestconfig.getini("timeout")) / 2
    expect.set_options(timeout=limit)
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox"], timeout=limit
        )
        context = started.new_context(viewport={"width": 1280, "height": 900}, color_scheme="light")
        context.set_default_timeout(limit)
        yield context
        started.close()


@pytest.fixture(scope="session")
def logdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An overfitting run and its regularised twin, which no test changes."""
    root = tmp_path_factory.mktemp("runs")
    write_run(root / "vanillaNet-s", Plan())
    write_run(root / "sr2Net-s", Plan(overfits=False, seed=1))
    return root


@pytest.fixture(scope="session")
def rust_board(logdir: Path, browser: BrowserContext) -> Iterator[Board]:
    """A TensorBoard with its fast loader: for what does not depend on how data arrive.

    It asks for the browser, as others do, so that it ends before that.
    """
    with serving(logdir, "rust") as started:
        started.wait_for(**{"vanillaNet-s": 62, "sr2Net-s": 62})
        yield started


@pytest.fixture(scope="session")
def python_board(logdir: Path, browser: BrowserContext) -> Iterator[Board]:
    """A TensorBoard with its other loader."""
    with serving(logdir, "python") as started:
        started.wait_for(**{"vanillaNet-s": 62, "sr2Net-s": 62})
        yield started


@pytest.fixture(scope="session", params=list(LOADERS))
def board(request: pytest.FixtureRequest) -> Board:
    """A TensorBoard with each of its two loaders."""
    found: Board = request.getfixturevalue(f"{request.param}_board")
    return found


@pytest.fixture(scope="session")
def oddities(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Odd and broken runs, which no test changes."""
    root = tmp_path_factory.mktemp("oddities")
    write_oddities(root)
    return root


@pytest.fixture(scope="session")
def odd_board(oddities: Path, browser: BrowserContext) -> Iterator[Board]:
    """A TensorBoard on them."""
    with serving(oddities) as started:
        started.wait_for(**STEPS)
        yield started

"""A real TensorBoard, a real browser, and the Sparsity tab in it."""

from __future__ import annotations

import contextlib
import http.server
import json
import re
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from playwright.sync_api import BrowserContext, Frame, Page

T = TypeVar("T")

LOADERS = {"rust": "true", "python": "false"}
WAIT = 60  # seconds: two cores, and TensorBoard imports much


class Board:
    """A TensorBoard process on a free port."""

    def __init__(self, logdir: Path, loader: str = "rust", *flags: str) -> None:
        command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(logdir), "--port=0"]
        options = [f"--load_fast={LOADERS[loader]}", "--reload_interval=1", *flags]
        self._process = subprocess.Popen(
            [*command, *options], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        self.log: list[str] = []
        self.page: Page | None = None
        threading.Thread(target=self._read_log, daemon=True).start()
        self.address = wait_until(self._find_address).rstrip("/")

    def _read_log(self) -> None:
        assert self._process.stderr is not None
        self.log.extend(iter(self._process.stderr.readline, ""))

    def _find_address(self) -> str | None:
        found = re.search(r"http://\S+?:\d+/\S*", "".join(self.log))
        assert found or self._process.poll() is None, "".join(self.log)
        return found[0] if found else None

    def json(self, route: str) -> Any:
        """An answer of the plugin."""
        with urllib.request.urlopen(f"{self.address}/data/plugin/sparsity/{route}") as answer:
            return json.load(answer)

    def wait_for(self, **steps: int) -> None:
        """Wait until these runs have so many steps."""
        wait_until(lambda: self._steps().items() >= steps.items())

    def _steps(self) -> dict[str, int]:
        return {entry["run"]: entry["steps"] for entry in self.json("index")["runs"]}

    def close(self) -> None:
        """End the process."""
        if self.page is not None:
            self.page.close()
        self._process.terminate()
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stderr is not None:
            self._process.stderr.close()


def wait_until(look: Callable[[], T | None]) -> T:
    """What `look` finds, as soon as it finds something."""
    end = time.monotonic() + WAIT
    while not (found := look()):
        assert time.monotonic() < end, f"nothing was found within {WAIT} s"
        time.sleep(0.1)
    return found


@contextlib.contextmanager
def serving(logdir: Path, loader: str = "rust", *flags: str) -> Iterator[Board]:
    """A TensorBoard on this log directory."""
    board = Board(logdir, loader, *flags)
    try:
        yield board
    finally:
        board.close()


class Tab:
    """The Sparsity tab in a browser."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.problems: list[str] = []
        page.on("pageerror", self._note_error)
        page.on("console", self._note)

    def leave(self) -> None:
        """Hear no more of the page."""
        self.page.remove_listener("pageerror", self._note_error)
        self.page.remove_listener("console", self._note)

    def _note_error(self, error: Any) -> None:
        self.problems.append(str(error))

    def _note(self, message: Any) -> None:
        # Anything that the content policy blocks is reported here, too.
        if message.type == "error" and "plugin/sparsity" in str(message.location):
            self.problems.append(message.text)

    @property
    def frame(self) -> Frame:
        """Our page, inside TensorBoard's."""
        iframe = self.page.wait_for_selector("iframe[src*='name=sparsity']")
        assert iframe is not None
        frame = iframe.content_frame()
        assert frame is not None
        return frame

    def views(self) -> list[str]:
        """The views of the page, from top to bottom."""
        sections = self.frame.locator("section")
        sections.first.wait_for()
        found: list[str] = sections.evaluate_all("all => all.map(one => one.id)")
        return found

    def parameter(self, name: str) -> str | None:
        """A parameter of the view, from the address bar."""
        script = "name => new URLSearchParams(location.hash.slice(1)).get('p.sparsity.' + name)"
        return self.page.evaluate(script, name)

    def shown(self, run: str, statistic: str) -> str:
        """A statistic of the chosen layer at the cursor, as the table of values shows it."""
        table = self.frame.get_by_role("table", name="Values of the chosen layer at the cursor")
        row = table.get_by_role("row").filter(has=self.frame.get_by_role("rowheader", name=run))
        return row.locator(f"[data-statistic={statistic}]").inner_text()


@contextlib.contextmanager
def opened(browser: BrowserContext, board: Board, **view: str) -> Iterator[Tab]:
    """The tab with this view; anything it reports as an error fails the test.

    TensorBoard's own page, which takes two seconds to start, is loaded once a board. Ours is a
    document of its own in its frame, and is loaded anew.
    """
    parameters = "".join(f"&p.sparsity.{name}={quote(value)}" for name, value in view.items())
    page = board.page
    if page is None:
        page = board.page = browser.new_page()
        page.set_default_timeout(1000 * WAIT / 2)
        tab = Tab(page)
        page.goto(f"{board.address}/#sparsity{parameters}")
    else:
        page.bring_to_front()  # what is behind another page is drawn once a second
        page.mouse.move(0, 0)
        tab = Tab(page)
        page.evaluate("hash => history.replaceState(null, '', hash)", f"#sparsity{parameters}")
        tab.frame.goto(tab.frame.url)
    try:
        yield tab
    finally:
        tab.leave()
    assert tab.problems == []


def only(*runs: str) -> str:
    """These runs, as they stand in the address."""
    return json.dumps(runs)


@contextlib.contextmanager
def notebook(source: str) -> Iterator[str]:
    """A page of another origin with TensorBoard in a frame, as `%tensorboard` makes it."""
    body = f'<iframe width="100%" height="800" frameborder="0" src="{source}"></iframe>'.encode()

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: Any) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("localhost", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://localhost:{server.server_port}/notebooks/Training.ipynb"
        server.shutdown()

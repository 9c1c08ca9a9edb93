"""A real TensorBoard, a real browser, and the Sparsity tab in it."""

from __future__ import annotations

import contextlib
import http.server
import json
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from playwright.sync_api import BrowserContext, Frame, Page
from tests.tensorboards import TensorBoard, tensorboard


class Board:
    """A TensorBoard, and a page of the browser that shows it."""

    def __init__(self, server: TensorBoard) -> None:
        self.address = server.address
        self.page: Page | None = None
        self._server = server

    def json(self, route: str) -> Any:
        """An answer of the plugin."""
        with urllib.request.urlopen(f"{self.address}/data/plugin/sparsity/{route}") as answer:
            return json.load(answer)

    def wait_for(self, **steps: int) -> None:
        """Wait until these runs have so many steps."""
        self._server.wait_until(lambda: self._steps().items() >= steps.items())

    def _steps(self) -> dict[str, int]:
        return {entry["run"]: entry["steps"] for entry in self.json("index")["runs"]}

    def close(self) -> None:
        """End the process, and leave its page."""
        if self.page is not None:
            self.page.close()
        self._server.close()


@contextlib.contextmanager
def serving(logdir: Path, loader: str = "rust", *flags: str) -> Iterator[Board]:
    """A TensorBoard on this log directory."""
    with tensorboard(logdir, loader, "--reload_interval=1", *flags) as server:
        board = Board(server)
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
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://localhost:{server.server_port}/notebooks/Training.ipynb"
        finally:
            server.shutdown()
            thread.join()

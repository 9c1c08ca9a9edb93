"""Makes the pictures of docs/tab.md anew.

    sparsight demo --no-serve        # writes runs/demo
    python docs/screenshots.py [--logdir runs/demo]

Starts TensorBoard on the log directory, opens the Sparsity tab in Chromium, and saves one picture a
view into docs/images, with few colours so that they stay small.
"""

from __future__ import annotations

import argparse
import io
import json
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from PIL import Image
from playwright.sync_api import Browser, Frame, sync_playwright

IMAGES = Path(__file__).parent / "images"
RUNS = '["vanillaNet-s","sr2Net-s"]'
VIEW = {"runs": RUNS, "layer": "conv3", "epoch": "45"}


@contextmanager
def serving(logdir: Path) -> Iterator[str]:
    """A TensorBoard on this log directory: its address."""
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(logdir), "--port=0"]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stderr is not None
        for line in process.stderr:
            if found := re.search(r"http://\S+?:\d+/", line):
                wait_until_read(found[0])
                yield found[0]
                break
    finally:
        process.terminate()
        process.wait()


def wait_until_read(address: str) -> None:
    """Wait until TensorBoard has read the runs."""
    for _ in range(120):
        with urllib.request.urlopen(f"{address}data/plugin/sparsity/index") as answer:
            index = json.load(answer)
        if index["runs"] and not index["loading"]:
            return
        time.sleep(0.5)
    raise SystemExit("TensorBoard did not finish reading the log directory")


def open_view(
    browser: Browser, address: str, view: dict[str, str], dark: bool = False, height: int = 800
) -> Frame:
    """The tab with this view."""
    page = browser.new_page(viewport={"width": 1280, "height": height})
    parameters = "".join(f"&p.sparsity.{name}={quote(value)}" for name, value in view.items())
    page.goto(f"{address}?darkMode={str(dark).lower()}#sparsity{parameters}")
    iframe = page.wait_for_selector("iframe[src*='name=sparsity']")
    frame = iframe.content_frame() if iframe else None
    assert frame is not None
    frame.wait_for_selector("section, .empty h2")
    page.wait_for_timeout(3500)
    return frame


def save(name: str, content: bytes) -> None:
    """A picture with few colours, the rare ones of the legends among them."""
    picture = Image.open(io.BytesIO(content)).convert("RGB")
    path = IMAGES / f"{name}.png"
    method = Image.Quantize.MAXCOVERAGE
    picture.quantize(256, method, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"{path}  {path.stat().st_size / 1000:.0f} kB")


def shoot_section(
    browser: Browser, address: str, section: str, name: str = "", **view: str
) -> None:
    """One view, the others folded."""
    frame = open_view(browser, address, {**VIEW, **view}, height=1100)
    for other in frame.locator(f"section:not(#{section}) .fold").all():
        other.click()
    frame.page.wait_for_timeout(1000)
    save(name or section, frame.locator(f"#{section}").screenshot())
    frame.page.close()


def main() -> None:
    """Make all pictures."""
    parser = argparse.ArgumentParser(description="Makes the pictures of docs/tab.md anew.")
    parser.add_argument("--logdir", type=Path, default=Path("runs/demo"))
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    options = parser.parse_args()
    IMAGES.mkdir(exist_ok=True)
    with sync_playwright() as playwright, serving(options.logdir) as address:
        browser = playwright.chromium.launch(
            executable_path=options.chromium, args=["--no-sandbox"]
        )
        for name, dark in (("tab", False), ("tab-dark", True)):
            frame = open_view(browser, address, VIEW, dark)
            save(name, frame.page.screenshot())
            frame.page.close()
        shoot_section(browser, address, "overview", mode="change", layer="fc1")
        shoot_section(browser, address, "maps", opacity="0.75")
        difference = {"mapMode": "difference", "mapColours": "shared"}
        shoot_section(browser, address, "maps", "maps-difference", **difference)
        shoot_section(browser, address, "curves", band="1")
        shoot_section(browser, address, "correlations", layer="conv1")
        shoot_section(browser, address, "layers", sort="change")
        browser.close()


if __name__ == "__main__":
    main()

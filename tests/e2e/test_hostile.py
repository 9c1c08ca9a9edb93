"""Names and data by somebody who means harm, or by accident: nothing executes, nothing hangs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, expect
from tests.e2e.synthetic import SMALL, Plan, layer, write_run
from tests.e2e.tabs import opened, serving

from sparsight.measurement import BatchStatistics, LayerAccumulator
from sparsight.schema import LayerInfo
from sparsight.writer import RunWriter

pytestmark = pytest.mark.browser

MARK = "window.top.stolen = true"
NAMES = (
    f"<img src=x onerror='{MARK}'>",
    f"<script>{MARK}</script>",
    "../../../etc/passwd",
    "conv" + "x" * 10_000,
    'a"b&c=d#e?f%g',
    "\u202egnirts desrever",
    "__proto__",
)


def test_hostile_names_are_shown_as_text(tmp_path: Path, browser: Browser) -> None:
    layers = tuple(layer(name, 16, 8, 8) for name in NAMES)
    run = f"<b onmouseover='{MARK}'>run"
    write_run(tmp_path / run, Plan(layers=layers, epochs=3, probes=3, shown=2))
    with serving(tmp_path) as board:
        board.wait_for(**{run: 5})
        with opened(browser, board) as tab:
            frame = tab.frame
            label = frame.locator("#overview .labels button").first
            expect(label).to_have_attribute("title", NAMES[0])
            for section in ("overview", "maps", "curves", "correlations", "layers"):
                frame.locator(f"#{section}").scroll_into_view_if_needed()
            expect(frame.get_by_role("table", name="Layers of the chosen runs")).to_contain_text(
                "../../../etc/passwd"
            )
            for name in NAMES:
                frame.get_by_label("Layer", exact=True).select_option(name)
                values = frame.get_by_role("table", name="Values of the chosen layer")
                expect(values.locator("td").first).not_to_have_text("–")
            with tab.page.expect_download() as saved:
                frame.locator("#overview .export summary").click()
                frame.locator("#overview .export").get_by_role("button", name="SVG").click()
            text = Path(saved.value.path()).read_text()
            assert "&lt;img" in text
            assert "<img" not in text
            assert frame.locator("img[src=x], [onerror], [onmouseover]").count() == 0
            assert tab.page.evaluate("window.stolen") is None
            # Nothing makes the page wider than the window.
            assert frame.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_nothing_but_nan(tmp_path: Path, browser: Browser) -> None:
    info = LayerInfo("conv", "Conv2d", 8, (4, 4), 1, "linear output", None)
    with RunWriter(tmp_path / "nan") as writer:
        for epoch in range(-1, 3):
            accumulator = LayerAccumulator(info, (0, 1))
            accumulator.update(BatchStatistics(np.full((2, 4, 4), np.nan, np.float32)), first=0)
            with np.errstate(all="ignore"):
                writer.write(epoch, [accumulator.result()])
    with serving(tmp_path) as board:
        board.wait_for(nan=4)
        with opened(browser, board) as tab:
            assert tab.shown("nan", "relative_entropy") == "–"
            expect(tab.frame.get_by_text("100% of its positions hold NaN")).to_be_visible()
            expect(tab.frame.get_by_role("img", name="Entropy map of conv")).to_be_visible()


def test_layers_that_come_and_go(tmp_path: Path, browser: Browser) -> None:
    with RunWriter(tmp_path / "changing") as writer:
        write_run(tmp_path / "changing", Plan(layers=SMALL[:2], epochs=3, shown=2), writer)
    with RunWriter(tmp_path / "changing") as writer:
        plan = Plan(layers=(SMALL[0], SMALL[4]), epochs=6, shown=2)
        write_run(tmp_path / "changing", plan, writer, first=4)
    with serving(tmp_path) as board:
        board.wait_for(changing=8)
        with opened(browser, board, layer="conv2") as tab:
            assert tab.shown("changing", "entropy") == "–"
            tab.frame.get_by_role("heading", name="changing").first.click()
            tab.page.keyboard.press("Home")
            cursor = tab.frame.get_by_label("Epoch at the cursor")
            expect(cursor).to_have_text("before training")
            assert tab.shown("changing", "entropy") != "–"


def test_broken_files_leave_the_rest_standing(tmp_path: Path, browser: Browser) -> None:
    write_run(tmp_path / "cut", Plan(layers=SMALL[-1:], epochs=5, shown=1))
    write_run(tmp_path / "whole", Plan(layers=SMALL[-1:], epochs=5, shown=1))
    (file,) = (tmp_path / "cut").iterdir()
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * 0.7)])
    (tmp_path / "noise").mkdir()
    (tmp_path / "noise" / "events.out.tfevents.1.x").write_bytes(bytes(range(256)) * 40)
    with serving(tmp_path) as board:
        board.wait_for(whole=7)
        with opened(browser, board, epoch="0") as tab:
            assert tab.shown("whole", "entropy") != "–"
            assert tab.shown("cut", "entropy") != "–"

"""The tab in a real TensorBoard: what it shows is what the event files hold."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, expect
from tests.e2e.canvases import hover, point
from tests.e2e.synthetic import SMALL, Plan, write_run
from tests.e2e.tabs import Board, notebook, only, opened, serving
from tests.waiting import wait_until

from sparsight.runs.reader import read_run
from sparsight.runs.writer import RunWriter

pytestmark = pytest.mark.browser

RUNS = ("vanillaNet-s", "sr2Net-s")


def expected(logdir: Path, run: str, epoch: int, layer: str, column: str) -> float:
    """A value as the event file holds it."""
    return read_run(logdir / run).tables[epoch].value(layer, column)


def test_values_are_those_of_the_event_file(
    board: Board, logdir: Path, browser: BrowserContext
) -> None:
    with opened(browser, board, layer="conv4", epoch="23") as tab:
        for run in RUNS:
            entropy = expected(logdir, run, 23, "conv4", "entropy")
            assert float(tab.shown(run, "entropy")) == pytest.approx(entropy, abs=6e-4)
            relative = float(tab.shown(run, "relative_entropy"))
            assert relative == pytest.approx(entropy / math.log(32), abs=6e-4)
            rms = expected(logdir, run, 23, "conv4", "rms")
            assert float(tab.shown(run, "rms")) == pytest.approx(rms, abs=6e-4)
        expect(tab.frame.get_by_text("62 of 62 epochs")).to_have_count(2)


def test_pointing_at_the_overview_tells_the_value(
    board: Board, logdir: Path, browser: BrowserContext
) -> None:
    with opened(browser, board, mode="value") as tab:
        plot = tab.frame.get_by_role("img", name="Relative entropy of 5 layers").nth(1)
        # Epochs -1 to 60 are 62 columns; layers are 5 rows. The second panel is vanillaNet-s.
        at = ((40 + 1.5) / 62, 2.5 / 5)
        hover(plot, *at)
        tip = tab.frame.get_by_role("tooltip")
        value = expected(logdir, "vanillaNet-s", 40, "conv3", "entropy") / math.log(32)
        expect(tip).to_contain_text("conv3, epoch 40")
        expect(tip).to_contain_text(f"H / ln D {value:.3f}")
        plot.click(position=point(plot, *at))
        assert float(tab.shown("vanillaNet-s", "relative_entropy")) == pytest.approx(
            value, abs=6e-4
        )
        wait_until(lambda: tab.parameter("epoch") == "40" and tab.parameter("layer") == "conv3")


def test_pointing_at_a_map_tells_its_entropy(
    board: Board, logdir: Path, browser: BrowserContext
) -> None:
    with opened(
        browser, board, layer="conv3", epoch="30", probe="2", maps='["vanillaNet-s"]'
    ) as tab:
        large = tab.frame.get_by_role("img", name="Entropy map of conv3, epoch 30")
        hover(large, 9.5 / 16, 4.5 / 16)
        maps = read_run(logdir / "vanillaNet-s").maps["conv3"][30]
        value = float(maps.values()[maps.probe_ids.index(2)][4, 9])
        tip = tab.frame.get_by_role("tooltip")
        expect(tip).to_contain_text(f"H / ln D {value / math.log(32):.3f}, H {value:.3f} nats")
        expect(tip).to_contain_text("row 4, column 9")


def test_keys_move_the_cursor_and_the_layer(rust_board: Board, browser: BrowserContext) -> None:
    with opened(browser, rust_board, layer="conv1", epoch="10") as tab:
        cursor = tab.frame.get_by_label("Epoch at the cursor")
        expect(cursor).to_have_text("epoch 10")
        tab.frame.get_by_role("heading", name="Overview").click()
        tab.frame.get_by_role("heading", name="Overview").click()
        tab.page.keyboard.press("ArrowRight")
        expect(cursor).to_have_text("epoch 11")
        tab.page.keyboard.press("ArrowDown")
        wait_until(lambda: tab.parameter("layer") == "conv2")
        tab.page.keyboard.press("Home")
        expect(cursor).to_have_text("before training")


def test_the_address_holds_the_view_and_leaves_the_rest_alone(
    rust_board: Board, browser: BrowserContext
) -> None:
    with opened(browser, rust_board) as tab:
        expect(tab.frame.get_by_role("group", name="Overview of")).to_have_count(2)
        tab.page.evaluate("location.hash = '#sparsity&smoothing=0.4&p.sparsity.epoch=7'")
        expect(tab.frame.get_by_label("Epoch at the cursor")).to_have_text("epoch 7")
        tab.frame.get_by_label("sr2Net-s").first.uncheck()
        expect(tab.frame.get_by_role("group", name="Overview of")).to_have_count(1)
        wait_until(lambda: tab.parameter("runs") == '["vanillaNet-s"]')
        assert "smoothing=0.4" in tab.page.url
        with_address = tab.page.url
        tab.page.goto("about:blank")
        tab.page.goto(with_address)
        expect(tab.frame.get_by_role("group", name="Overview of")).to_have_count(1)
        expect(tab.frame.get_by_label("Epoch at the cursor")).to_have_text("epoch 7")


def test_caveats_stand_at_the_layer_concerned(rust_board: Board, browser: BrowserContext) -> None:
    with opened(browser, rust_board, layer="fc1") as tab:
        note = tab.frame.get_by_text("Entropy fell by").first
        expect(note).to_contain_text("scale-free entropy did not")
        expect(note).to_contain_text("fc1")


@pytest.mark.parametrize("dark", [False, True])
def test_follows_the_colours_of_tensorboard(
    rust_board: Board, browser: BrowserContext, dark: bool
) -> None:
    with browser.new_page() as page:
        page.goto(f"{rust_board.address}/?darkMode={str(dark).lower()}#sparsity")
        frame = page.frame_locator("iframe[src*='name=sparsity']")
        expect(frame.get_by_role("heading", name="Overview")).to_be_visible()
        background = "getComputedStyle(document.body).backgroundColor"
        colour = "rgb(31, 32, 35)" if dark else "rgb(255, 255, 255)"
        assert frame.locator("body").evaluate(f"() => {background}") == colour


def test_an_empty_log_directory_says_how_to_write_a_run(
    tmp_path: Path, browser: BrowserContext
) -> None:
    with serving(tmp_path) as board, opened(browser, board) as tab:
        expect(
            tab.frame.get_by_role("heading", name="No run has Sparsight data yet")
        ).to_be_visible()
        expect(tab.frame.get_by_text("from sparsight_torch import Recorder")).to_be_visible()
        expect(tab.frame.get_by_text("sparsight analyze checkpoints/*.onnx")).to_be_visible()
        write_run(tmp_path / "first", Plan(layers=SMALL[-2:], epochs=2))
        expect(tab.frame.get_by_role("group", name="Overview of first")).to_be_visible()


def test_follows_a_live_run_and_keeps_the_cursor(tmp_path: Path, browser: BrowserContext) -> None:
    with RunWriter(tmp_path / "live") as writer:
        write_run(tmp_path / "live", Plan(epochs=10), writer)
        with serving(tmp_path, "python") as board:
            board.wait_for(live=12)
            with opened(browser, board, epoch="4", layer="conv1") as tab:
                expect(tab.frame.get_by_text("12 of 12 epochs")).to_be_visible()
                expect(tab.frame.get_by_role("img", name="Entropy map of conv1")).to_be_visible()
                tab.frame.locator(".tile-row").last.scroll_into_view_if_needed()
                expect(tab.frame.locator(".tile-canvas")).to_have_count(len(SMALL))
                asked: list[str] = []
                tab.page.on("request", lambda request: asked.append(request.url))
                write_run(tmp_path / "live", Plan(epochs=13), writer, first=11)
                expect(tab.frame.get_by_text("15 of 15 epochs")).to_be_visible()
                expect(tab.frame.get_by_label("Epoch at the cursor")).to_have_text("epoch 4")
                newest = tab.frame.locator(".heads button").last
                expect(newest).to_have_text("13")
                newest.click()
                expect(tab.frame.get_by_role("img", name="conv1, epoch 13")).to_be_visible()
                # Only what is new was fetched.
                fetched = [url for url in asked if "/maps?" in url or "/layers?" in url]
                assert any("/maps?" in url for url in fetched)
                assert all(re.search(r"[?&]from=1[1-4]\b", url) for url in fetched), fetched


@pytest.fixture(scope="module")
def prefixed(logdir: Path, browser: BrowserContext) -> Iterator[Board]:
    """A TensorBoard that is not at the root of its server."""
    with serving(logdir, "rust", "--path_prefix=/some/where") as board:
        board.wait_for(**{"vanillaNet-s": 62, "sr2Net-s": 62})
        yield board


def test_works_under_a_path_prefix(prefixed: Board, logdir: Path, browser: BrowserContext) -> None:
    with opened(browser, prefixed, layer="conv1", epoch="0") as tab:
        entropy = expected(logdir, "sr2Net-s", 0, "conv1", "entropy")
        assert float(tab.shown("sr2Net-s", "entropy")) == pytest.approx(entropy, abs=6e-4)


def test_works_in_a_notebook(prefixed: Board, logdir: Path, browser: BrowserContext) -> None:
    view = "p.sparsity.layer=conv3&p.sparsity.epoch=30"
    address = f"{prefixed.address}/#sparsity&{view}"
    with notebook(address) as outside, browser.new_page() as page:
        problems: list[str] = []
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.goto(outside)
        frame = page.frame_locator("iframe").frame_locator("iframe[src*='name=sparsity']")
        expect(frame.get_by_role("img", name="Entropy map of conv3, epoch 30")).to_have_count(2)
        row = frame.get_by_role("row").filter(has=frame.get_by_role("rowheader", name="sr2Net-s"))
        entropy = expected(logdir, "sr2Net-s", 30, "conv3", "entropy")
        expect(row.locator("[data-statistic=entropy]")).to_have_text(f"{entropy:.3f}")
        frame.get_by_role("heading", name="sr2Net-s").first.click()
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowRight")
        expect(frame.get_by_role("img", name="Entropy map of conv3, epoch 32")).to_have_count(2)
        (outer,) = (one for one in page.frames if one.parent_frame == page.main_frame)
        wait_until(lambda: "p.sparsity.epoch=32" in outer.evaluate("location.hash"))
    assert problems == []


def test_a_resumed_run_is_one_line(
    odd_board: Board, oddities: Path, browser: BrowserContext
) -> None:
    with opened(browser, odd_board, runs=only("resumed"), epoch="15", layer="fc1") as tab:
        expect(tab.frame.get_by_text("26 of 26 epochs")).to_be_visible()
        entropy = expected(oddities, "resumed", 15, "fc1", "entropy")
        assert float(tab.shown("resumed", "entropy")) == pytest.approx(entropy, abs=6e-4)


def test_says_so_when_tensorboard_stops(tmp_path: Path, browser: BrowserContext) -> None:
    write_run(tmp_path / "only", Plan(layers=SMALL[-1:], epochs=3, shown=1))
    with serving(tmp_path) as board, browser.new_page() as page:
        board.wait_for(only=5)
        page.goto(f"{board.address}/#sparsity")
        frame = page.frame_locator("iframe[src*='name=sparsity']")
        expect(frame.get_by_text("5 of 5 epochs")).to_be_visible()
        board.close()
        warnings = frame.get_by_role("status", name="Warnings")
        expect(warnings).to_contain_text("TensorBoard is not responding")
        expect(frame.get_by_text("5 of 5 epochs")).to_be_visible()


def test_a_difference_of_one_run_says_what_it_needs(
    rust_board: Board, browser: BrowserContext
) -> None:
    view = {"mapMode": "difference", "mode": "difference", "runs": only("sr2Net-s")}
    with opened(browser, rust_board, **view) as tab:
        needed = tab.frame.get_by_text("needs a second run: tick another one above")
        expect(needed).to_have_count(2)
        maps = tab.frame.locator("#maps").get_by_label("Show", exact=True)
        expect(maps).to_have_value("value")
        tab.frame.get_by_role("group", name="Runs").get_by_role("checkbox").last.click()
        expect(needed).to_have_count(0)
        expect(maps).to_have_value("difference")


def test_runs_with_other_probes_are_called_out(odd_board: Board, browser: BrowserContext) -> None:
    with opened(browser, odd_board, runs=only("other probes", "whole")) as tab:
        called_out = tab.frame.get_by_text("measured on different probe sets")
        expect(called_out).to_be_visible()
        maps = tab.frame.locator("#maps")
        maps.get_by_label("Show", exact=True).select_option("difference")
        expect(maps.get_by_text("measured on different probe sets")).to_be_visible()
        tab.frame.get_by_role("group", name="Runs").get_by_role("checkbox").first.click()
        expect(called_out).to_have_count(0)

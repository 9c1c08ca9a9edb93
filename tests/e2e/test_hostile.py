"""Names and data by somebody who means harm, or by accident: nothing executes, nothing hangs."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, expect
from tests.e2e.oddities import HOSTILE, NAMES, STEPS
from tests.e2e.tabs import Board, only, opened

pytestmark = pytest.mark.browser


def test_hostile_names_are_shown_as_text(odd_board: Board, browser: BrowserContext) -> None:
    with opened(browser, odd_board, runs=only(HOSTILE)) as tab:
        frame = tab.frame
        label = frame.locator("#overview .labels button").first
        expect(label).to_have_attribute("title", NAMES[0])
        for view in tab.views():
            frame.locator(f"#{view}").scroll_into_view_if_needed()
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


def test_nothing_but_nan(odd_board: Board, browser: BrowserContext) -> None:
    with opened(browser, odd_board, runs=only("nan")) as tab:
        assert tab.shown("nan", "relative_entropy") == "–"
        expect(tab.frame.get_by_text("100% of its positions hold NaN")).to_be_visible()
        expect(tab.frame.get_by_role("img", name="Entropy map of conv")).to_be_visible()


def test_layers_that_come_and_go(odd_board: Board, browser: BrowserContext) -> None:
    with opened(browser, odd_board, runs=only("changing"), layer="conv2") as tab:
        assert tab.shown("changing", "entropy") == "–"
        tab.frame.get_by_role("heading", name="changing").first.click()
        tab.page.keyboard.press("Home")
        cursor = tab.frame.get_by_label("Epoch at the cursor")
        expect(cursor).to_have_text("before training")
        assert tab.shown("changing", "entropy") != "–"


def test_broken_files_leave_the_rest_standing(odd_board: Board, browser: BrowserContext) -> None:
    with opened(browser, odd_board, runs=only("cut", "whole"), epoch="0") as tab:
        assert tab.shown("whole", "entropy") != "–"
        assert tab.shown("cut", "entropy") != "–"


def test_an_unknown_schema_version_is_said(odd_board: Board, browser: BrowserContext) -> None:
    with opened(browser, odd_board, runs=only("future", "mixed"), layer="conv1") as tab:
        said = tab.frame.get_by_role("status", name="Warnings").get_by_role("listitem")
        expect(said.filter(has_text="future: sparsity/layers/f is left out")).to_have_count(1)
        expect(said.filter(has_text="mixed: sparsity/layers/f is left out")).to_contain_text(
            "schema version 99; this Sparsight reads version 1: upgrade sparsight"
        )
        expect(tab.frame.get_by_text("0 of 0 epochs")).to_be_visible()
        expect(tab.frame.get_by_text("3 of 3 epochs")).to_be_visible()
        assert tab.shown("mixed", "entropy") != "–"


@pytest.mark.parametrize(
    ("run", "sentence"),
    [
        ("damaged maps", "left out: 1 damaged record of the maps of 'conv1'"),
        ("terabyte", "is left out: TensorBoard cannot read it"),
    ],
)
def test_records_that_say_they_are_a_terabyte(
    odd_board: Board, browser: BrowserContext, run: str, sentence: str
) -> None:
    with opened(browser, odd_board, runs=only(run), layer="conv1", epoch="2") as tab:
        detail = tab.frame.get_by_role("complementary", name="Probe")
        expect(detail).to_contain_text(sentence)
        assert tab.shown(run, "entropy") != "–"


def test_maps_whose_shape_changed_are_left_out(odd_board: Board, browser: BrowserContext) -> None:
    with opened(browser, odd_board, runs=only("reshaped"), layer="conv1", epoch="4") as tab:
        detail = tab.frame.get_by_role("complementary", name="Probe")
        expect(detail).to_contain_text("left out: 3 steps of the maps of 'conv1'")
        expect(detail.get_by_role("img", name="Entropy map of conv1, epoch 4")).to_be_visible()


def test_all_of_it_at_once(odd_board: Board, browser: BrowserContext) -> None:
    runs = sorted({"cut", "future", *STEPS})
    with opened(browser, odd_board, runs=only(*runs)) as tab:
        expect(tab.frame.get_by_role("group", name="Overview of")).to_have_count(len(runs))
        for view in tab.views():
            tab.frame.locator(f"#{view}").scroll_into_view_if_needed()
        said = f"Only the first 12 of {len(runs)} runs are shown in this view"
        expect(tab.frame.get_by_text(said)).to_be_visible()
        tab.frame.locator("#layers tbody tr").first.wait_for()

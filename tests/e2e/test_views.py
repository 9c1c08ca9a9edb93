"""Each view against the event files, and what it exports."""

from __future__ import annotations

import csv
import io
import math
import re
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import BrowserContext, Locator, expect
from tests.e2e.canvases import drawn, hover, point
from tests.e2e.synthetic import SMALL
from tests.e2e.tabs import Board, Tab, only, opened
from tests.waiting import wait_until

from sparsight.runs.reader import read_run

pytestmark = pytest.mark.browser

CHANNELS = {info.name: info.channels for info in SMALL}
STEPS = range(-1, 61)
TABLES = (Path(__file__).parents[2] / "frontend/src/scale/colourTables.ts").read_text()
RED_BLUE = np.array([[*bytes.fromhex(c)] for c in re.findall(".{6}", TABLES.split('"')[3])])


def exported(tab: Tab, section: str, kind: str) -> bytes:
    """What a view saves."""
    view = tab.frame.locator(f"#{section}")
    view.scroll_into_view_if_needed()
    view.locator(".export summary").click()
    with tab.page.expect_download() as saved:
        view.locator(".export").get_by_role("button", name=kind).click()
    assert saved.value.suggested_filename == f"sparsight-{section}.{kind.lower()}"
    return Path(saved.value.path()).read_bytes()


def table_of(content: bytes) -> list[dict[str, str]]:
    """Lines of a CSV file."""
    return list(csv.DictReader(io.StringIO(content.decode())))


def test_every_view_is_exported(rust_board: Board, browser: BrowserContext) -> None:
    with opened(browser, rust_board, layer="conv4") as tab:
        expect(tab.frame.get_by_role("img", name="Losses of 2 runs")).to_be_attached()
        pictured = []
        for view in tab.views():
            section = tab.frame.locator(f"#{view}")
            section.scroll_into_view_if_needed()
            expect(section.get_by_text("loading …")).to_have_count(0)
            assert len(table_of(exported(tab, view, "CSV"))) > 1
            if section.locator(".export").get_by_text("SVG").count():
                pictured.append(view)
                check_pictures(tab, view)
        assert pictured == ["overview", "maps", "curves", "correlations"]


def check_pictures(tab: Tab, view: str) -> None:
    """A view's SVG names the run and the epochs; its PNG is twice as large."""
    svg = ElementTree.fromstring(exported(tab, view, "SVG"))
    words = {text for node in svg.iter() if (text := (node.text or "").strip())}
    assert any("vanillaNet-s" in word for word in words)
    assert any("16" in word for word in words)  # the onset, or the epochs
    if view == "maps":  # the probe is among the pictures
        pictures = {node.get("href") for node in svg.iter() if node.get("href")}
        probe = tab.frame.locator(".chosen-probe img").get_attribute("src")
        assert probe in pictures
    png = exported(tab, view, "PNG")
    assert png.startswith(b"\x89PNG")
    width = int.from_bytes(png[16:20], "big")
    assert width == 2 * int(float(svg.attrib["width"]))


def is_filled(section: Locator, content: Locator) -> bool:
    """Whether the content is there, once it is in view; it may move while more arrives above it."""
    section.locator("> div").scroll_into_view_if_needed()
    return content.count() > 0


def test_a_folded_view_is_filled_when_it_is_opened(
    rust_board: Board, browser: BrowserContext
) -> None:
    filled = {"correlations": "[role=img][aria-label^=Filter]", "layers": "tbody tr"}
    with opened(browser, rust_board, closed=only(*filled)) as tab:
        for view, inside in filled.items():
            section = tab.frame.locator(f"#{view}")
            content = section.locator(inside)
            fold = section.locator(".fold")
            expect(content).to_have_count(0)
            for _ in range(2):  # opened, folded again, and opened once more
                fold.click()
                wait_until(partial(is_filled, section, content))
                fold.click()
                expect(content).to_have_count(0)
            fold.click()
        wait_until(lambda: tab.parameter("closed") is None)


def test_overview_csv_holds_every_value(
    board: Board, logdir: Path, browser: BrowserContext
) -> None:
    with opened(browser, board, mode="value") as tab:
        expect(tab.frame.get_by_role("group", name="Overview of")).to_have_count(2)
        lines = table_of(exported(tab, "overview", "CSV"))
    assert len(lines) == 2 * 5 * 62
    run = read_run(logdir / "sr2Net-s")
    for line in lines:
        if line["run"] == "sr2Net-s" and line["layer"] == "conv2":
            entropy = run.tables[int(line["epoch"])].value("conv2", "entropy")
            assert float(line["relative_entropy"]) == pytest.approx(entropy / math.log(16))


def test_difference_and_change(board: Board, logdir: Path, browser: BrowserContext) -> None:
    runs = {name: read_run(logdir / name) for name in ("vanillaNet-s", "sr2Net-s")}

    def relative(run: str, epoch: int) -> float:
        return runs[run].tables[epoch].value("conv4", "entropy") / math.log(32)

    with opened(browser, board, epoch="50", mode="difference", reference="sr2Net-s") as tab:
        panel = tab.frame.get_by_role("group", name="Overview of vanillaNet-s")
        values = panel.get_by_label("Relative entropy at epoch 50").locator("span")
        wanted = relative("vanillaNet-s", 50) - relative("sr2Net-s", 50)
        expect(values.nth(3)).to_have_text(f"−{abs(wanted):.3f}")
        show = tab.frame.locator("#overview").get_by_label("Show", exact=True)
        show.select_option("change")
        wanted = relative("vanillaNet-s", 50) - relative("vanillaNet-s", -1)
        expect(values.nth(3)).to_have_text(f"−{abs(wanted):.3f}")


def test_maps_of_change_and_difference(board: Board, logdir: Path, browser: BrowserContext) -> None:
    runs = {name: read_run(logdir / name) for name in ("vanillaNet-s", "sr2Net-s")}

    def at(run: str, epoch: int) -> float:
        maps = runs[run].maps["conv3"][epoch]
        return float(maps.values()[maps.probe_ids.index(0)][4, 9]) / math.log(32)

    with opened(browser, board, layer="conv3", epoch="50", mapMode="change") as tab:
        # The run that overfits comes first, though its name does not.
        large = tab.frame.get_by_role("img", name="Entropy map of conv3, epoch 50")
        expect(large).to_have_count(2)
        hover(large.first, 9.5 / 16, 4.5 / 16)
        now, before, other = at("vanillaNet-s", 50), at("vanillaNet-s", -1), at("sr2Net-s", 50)
        tip = tab.frame.get_by_role("tooltip")
        expect(tip).to_contain_text(
            f"−{before - now:.3f}: {now:.3f} against {before:.3f} before training"
        )
        maps = tab.frame.locator("#maps")
        maps.get_by_label("Show", exact=True).select_option("difference")
        expect(large).to_have_count(1)
        expect(maps.get_by_label("Colour scale")).to_have_text(
            re.compile("Relative entropy, difference")
        )
        hover(large, 9.6 / 16, 4.6 / 16)
        expect(tip).to_contain_text(
            f"−{other - now:.3f}: {now:.3f} against {other:.3f} in sr2Net-s"
        )
        found = {
            (line["row"], line["column"]): line for line in table_of(exported(tab, "maps", "CSV"))
        }
        assert len(found) == 16 * 16
        assert float(found["4", "9"]["relative_entropy_difference"]) == pytest.approx(now - other)
        assert found["4", "9"]["run"] == "vanillaNet-s"
        assert found["4", "9"]["subtracted_run"] == "sr2Net-s"


def test_the_range_of_a_difference_is_that_of_the_differences(
    rust_board: Board, logdir: Path, browser: BrowserContext
) -> None:
    ours, theirs = read_run(logdir / "vanillaNet-s"), read_run(logdir / "sr2Net-s")

    def less(layer: str, epoch: int) -> NDArray[np.float64]:
        """Probe 3, of ln D."""
        pair = (run.maps[layer][epoch] for run in (ours, theirs))
        first, second = (maps.values()[maps.probe_ids.index(3)].astype(float) for maps in pair)
        return (first - second) / math.log(CHANNELS[layer])

    reach = {(layer, e): float(np.abs(less(layer, e)).max()) for layer in CHANNELS for e in STEPS}
    layer, epoch = max((key for key in reach if key[0] != "fc1"), key=lambda key: reach[key])
    view = {"mapMode": "difference", "mapColours": "shared", "probe": "3"}
    with opened(browser, rust_board, layer=layer, epoch=str(epoch), **view) as tab:
        large = tab.frame.get_by_role("img", name=f"Entropy map of {layer}, epoch {epoch}")
        expect(large).to_have_count(1)
        share = 0.5 + less(layer, epoch) / max(reach.values()) / 2
        wanted = RED_BLUE[(share * 255).round().astype(int)]
        wait_until(lambda: np.abs(drawn(large).astype(int) - wanted).max() <= 6)


def test_correlations_are_the_stored_counts(
    board: Board, logdir: Path, browser: BrowserContext
) -> None:
    with opened(browser, board, layer="conv4", epoch="30") as tab:
        tab.frame.locator("#correlations").scroll_into_view_if_needed()
        plot = tab.frame.get_by_role("img", name="Filter correlations over 62 epochs").nth(1)
        # Bin 95 is -0.05; it is drawn in row 201 - 1 - 95 from the top.
        hover(plot, (30 + 1.5) / 62, (201 - 95 - 0.5) / 201)
        count = int(read_run(logdir / "vanillaNet-s").correlations["conv4"][30][95])
        tip = tab.frame.get_by_role("tooltip")
        expect(tip).to_contain_text("c = −0.05, epoch 30")
        expect(tip).to_contain_text(f"of the pairs: {count} pair")
        lines = table_of(exported(tab, "correlations", "CSV"))
        found = [
            int(line["pairs"])
            for line in lines
            if (line["run"], line["epoch"], line["coefficient"]) == ("vanillaNet-s", "30", "-0.05")
        ]
        assert found == ([count] if count else [])


def test_losses_stand_below_the_curves(board: Board, logdir: Path, browser: BrowserContext) -> None:
    with opened(browser, board, sigma="0") as tab:
        expect(tab.frame.get_by_role("img", name="Losses of 2 runs")).to_be_attached()
        lines = table_of(exported(tab, "curves", "CSV"))
        found = {
            int(line["epoch"]): float(line["value"])
            for line in lines
            if (line["quantity"], line["run"]) == ("loss/validation", "vanillaNet-s")
        }
        wanted = read_run(logdir / "vanillaNet-s").scalars["loss/validation"]
        assert found == pytest.approx(wanted)
        tab.frame.get_by_label("Loss", exact=True).select_option("loss/training")
        expect(tab.frame.get_by_text("loss/training: raw")).to_be_visible()


def test_dragging_zooms_all_views(rust_board: Board, browser: BrowserContext) -> None:
    with opened(browser, rust_board) as tab:
        expect(tab.frame.get_by_role("img", name="Losses of 2 runs")).to_be_attached()
        tab.frame.get_by_text("62 of 62 epochs").nth(1).wait_for()
        plot = tab.frame.locator("#curves .u-over").first
        plot.scroll_into_view_if_needed()
        start, end = point(plot, 0.25, 0.5), point(plot, 0.5, 0.5)
        box = plot.bounding_box()
        assert box is not None
        mouse = tab.page.mouse
        mouse.move(box["x"] + start["x"], box["y"] + start["y"])
        mouse.down()
        mouse.move(box["x"] + end["x"], box["y"] + end["y"], steps=5)
        mouse.up()
        wait_until(lambda: tab.parameter("zoom") == "14:30")
        tab.frame.get_by_role("button", name="All epochs").click()
        wait_until(lambda: tab.parameter("zoom") is None)


def test_layer_table_sorts(rust_board: Board, browser: BrowserContext) -> None:
    with opened(browser, rust_board, sort="change") as tab:
        tab.frame.locator("#layers").scroll_into_view_if_needed()
        lines = tab.frame.get_by_role("table", name="Layers of the chosen runs").locator("tbody tr")
        expect(lines).to_have_count(10)
        expect(lines.first).to_contain_text("fc1")
        expect(lines.first).to_contain_text("vanillaNet-s")
        tab.frame.get_by_role("button", name="change ▴").click()
        expect(lines.last).to_contain_text("fc1")
        content = table_of(exported(tab, "layers", "CSV"))
        changes = [float(line["change"]) for line in content]
        assert changes == sorted(changes, reverse=True)


def test_maps_are_enlarged_and_played(rust_board: Board, browser: BrowserContext) -> None:
    with opened(browser, rust_board, layer="conv3", epoch="55") as tab:
        tab.frame.get_by_role("button", name="Enlarge and play").click()
        dialog = tab.frame.get_by_role("dialog", name="Entropy maps of conv3, enlarged")
        expect(dialog.get_by_role("img", name="Entropy map of conv3, epoch 55")).to_have_count(2)
        dialog.get_by_role("button", name="Play").click()
        expect(dialog.get_by_role("img", name="Entropy map of conv3, epoch 60")).to_have_count(2)
        expect(dialog.get_by_role("button", name="Play")).to_be_visible()
        tab.page.keyboard.press("Escape")
        expect(dialog).to_have_count(0)


def test_everything_to_operate_has_a_name(rust_board: Board, browser: BrowserContext) -> None:
    unnamed = """() => [...document.querySelectorAll('button, input, select, summary, [role=img]')]
      .filter((e) => !(e.getAttribute('aria-label') || e.textContent.trim() || e.title
        || e.closest('label')?.textContent.trim()))
      .map((e) => e.outerHTML.slice(0, 200))"""
    with opened(browser, rust_board) as tab:
        for view in tab.views():
            tab.frame.locator(f"#{view}").scroll_into_view_if_needed()
        tab.frame.get_by_role("table", name="Layers of the chosen runs").wait_for()
        assert tab.frame.evaluate(unnamed) == []


def test_onsets_follow_the_loss_and_its_smoothing(
    rust_board: Board, browser: BrowserContext
) -> None:
    with opened(browser, rust_board) as tab:
        runs = tab.frame.get_by_role("group", name="Shown runs")
        for sigma in (0, 3, 10):
            tab.frame.get_by_label("Smoothing").select_option(str(sigma))
            turn = rust_board.json(f"onsets?sigma={sigma}")["onsets"]["vanillaNet-s"]
            text = re.compile(rf"onset {turn['epoch']}( \({turn['first']:.0f}|$)")
            expect(runs).to_contain_text(text)
        tab.frame.get_by_label("Loss", exact=True).select_option("loss/training")
        expect(runs).not_to_contain_text("onset")


AXE = Path(__file__).parents[2] / "frontend/node_modules/axe-core/axe.min.js"


@pytest.mark.parametrize("dark", [False, True])
def test_accessible(rust_board: Board, browser: BrowserContext, dark: bool) -> None:
    if not AXE.exists():
        pytest.skip("needs axe-core: run `npm ci` in the folder frontend")
    with browser.new_page() as page:
        page.goto(f"{rust_board.address}/?darkMode={str(dark).lower()}#sparsity")
        tab = Tab(page)
        for view in tab.views():
            tab.frame.locator(f"#{view}").scroll_into_view_if_needed()
        tab.frame.get_by_role("table", name="Layers of the chosen runs").wait_for()
        tab.frame.evaluate(AXE.read_text())
        found = "async () => (await axe.run()).violations.map((v) => [v.id, v.nodes[0].html])"
        assert tab.frame.evaluate(found) == []

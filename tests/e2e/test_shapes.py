"""Probes and maps that are no pictures: series, solids, single cells."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import BrowserContext, Locator, expect
from tests.e2e.canvases import drawn, hover
from tests.e2e.tabs import Board, Tab, only, opened

from sparsight.runs.reader import read_run

pytestmark = pytest.mark.browser


def coloured(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Values in the colours of the scale from 0 to 1."""
    return (matplotlib.colormaps["viridis"](values)[..., :3] * 255).round().astype(np.uint8)


def recorded(folder: Path, layer: str, epoch: int, probe: int, channels: int) -> NDArray[Any]:
    """Relative entropy as the event file holds it."""
    maps = read_run(folder).maps[layer][epoch]
    found = maps.values()[maps.probe_ids.index(probe)] / math.log(channels)
    return np.asarray(found.reshape(-1, found.shape[-1]))


def check_detail(
    tab: Tab, layer: str, values: NDArray[Any], told: dict[tuple[int, int], str]
) -> None:
    """The large map is drawn, a pixel a position; of these rows and columns the tip tells this."""
    large = tab.frame.get_by_role("img", name=f"Entropy map of {layer}, epoch 4")
    expect(large).to_have_count(1)
    np.testing.assert_allclose(
        drawn(large).astype(int), coloured(values).astype(int), atol=3, rtol=0
    )
    rows, columns = values.shape
    for (row, column), words in told.items():
        hover(large, (column + 0.5) / columns, (row + 0.5) / rows)
        tip = tab.frame.get_by_role("tooltip")
        expect(tip).to_contain_text(f"H / ln D {values[row, column]:.3f}")
        expect(tip).to_contain_text(words)


def tiles_of(tab: Tab, layer: str) -> Locator:
    """The canvas with the maps of a layer."""
    row = tab.frame.get_by_role("group", name=f"Entropy maps of {layer}", exact=True)
    return row.locator(".tile-canvas")


def test_series_and_their_maps_are_drawn_as_strips(
    odd_board: Board, oddities: Path, browser: BrowserContext
) -> None:
    with opened(
        browser, odd_board, runs=only("signals"), layer="conv2", epoch="4", probe="1"
    ) as tab:
        values = recorded(oddities / "signals", "conv2", 4, 1, 32)
        assert values.shape == (1, 24)
        check_detail(tab, "conv2", values, {(0, 7): "position 7"})
        # The probe itself is a line, in the picker, beside it and under the map.
        assert tab.frame.get_by_role("img", name="Series").count() == 3 + 1 + 1
        line = tab.frame.locator(".chosen-probe polyline").get_attribute("points") or ""
        heights = [float(pair.split(",")[1]) for pair in line.split()]
        series = np.frombuffer(_shown(oddities / "signals")[1], "<f4")
        assert len(heights) == len(series) == 32
        assert int(np.argmin(heights)) == int(np.argmax(series))
        strip, cell = tiles_of(tab, "conv2").bounding_box(), tiles_of(tab, "fc").bounding_box()
        assert strip is not None
        assert cell is not None
        assert strip["width"] > 8 * strip["height"]
        assert cell["height"] < 20


def test_solids_are_drawn_slice_by_slice(
    odd_board: Board, oddities: Path, browser: BrowserContext
) -> None:
    with opened(
        browser, odd_board, runs=only("solids"), layer="conv1", epoch="4", probe="2"
    ) as tab:
        values = recorded(oddities / "solids", "conv1", 4, 2, 16)
        assert values.shape == (6 * 12, 16)
        check_detail(tab, "conv1", values, {(2 * 12 + 5, 3): "slice 2, row 5, column 3"})
        # There is no picture of the probe, and that is said.
        expect(tab.frame.get_by_text("not an image")).to_be_visible()
        expect(tab.frame.get_by_role("radio", name="Probe 2")).to_be_checked()
        tiles = tiles_of(tab, "conv2").bounding_box()
        assert tiles is not None
        assert tiles["height"] > 30


def test_the_mean_map_has_no_picture(
    odd_board: Board, oddities: Path, browser: BrowserContext
) -> None:
    with opened(
        browser, odd_board, runs=only("signals"), layer="conv1", epoch="4", probe="mean"
    ) as tab:
        maps = read_run(oddities / "signals").maps["conv1"][4]
        check_detail(tab, "conv1", maps.values()[-1:] / math.log(16), {(0, 9): "position 9"})
        expect(tab.frame.get_by_text("no image: the mean over all 12 probes")).to_be_visible()


def _shown(folder: Path) -> tuple[bytes, ...]:
    probes = read_run(folder).probes
    assert probes is not None
    return probes.items

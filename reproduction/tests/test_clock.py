"""Time left: by the seconds measured, and by multiplications where nothing was."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from sparsight_paper.cells import PRESETS, Cell, Protocol
from sparsight_paper.classics import CLASSICS, build_classic
from sparsight_paper.clock import Clock, in_words, work
from sparsight_paper.formats import DATASETS
from sparsight_paper.networks import build

PROTOCOL = Protocol("test", training=100, epochs=10)
SMALL, LARGE = Cell("vanillaNet", "s", "cifar-10"), Cell("vanillaNet", "m", "cifar-10")


def clock(jobs, *expected):
    ticking = Clock(jobs)
    for cell, done, seconds in expected:
        ticking.expect(cell, PROTOCOL, done, seconds)
    return ticking


def test_a_kind_takes_as_long_as_its_epochs_took():
    """On a GPU a network with 15 times the multiplications takes hardly longer."""
    ticking = clock(1, (SMALL, 0, 0.0), (LARGE, 0, 0.0))
    ticking.tick(SMALL, 2.0)
    ticking.tick(SMALL, 4.0)
    ticking.tick(LARGE, 5.0)
    assert ticking.left == pytest.approx(8 * 3.0 + 9 * 5.0)


def test_seeds_are_of_one_kind_and_networks_are_not():
    other = Cell("vanillaNet", "s", "cifar-10", seed=1)
    ticking = clock(1, (SMALL, 0, 0.0), (other, 0, 0.0))
    ticking.tick(SMALL, 2.0)
    assert ticking.left == pytest.approx(19 * 2.0)
    ticking = clock(1, (SMALL, 0, 0.0), (Cell("sr1Net", "s", "cifar-10"), 0, 0.0))
    ticking.tick(SMALL, 2.0)
    ticking.tick(Cell("sr1Net", "s", "cifar-10"), 3.0)
    assert ticking.left == pytest.approx(9 * 2.0 + 9 * 3.0)


def test_what_was_not_timed_takes_as_long_as_its_work():
    ticking = clock(1, (SMALL, 0, 0.0), (LARGE, 0, 0.0))
    ticking.tick(SMALL, 2.0)
    ratio = work(LARGE, PROTOCOL) / work(SMALL, PROTOCOL)
    assert 15 < ratio < 15.5
    assert ticking.left == pytest.approx(9 * 2.0 + 10 * 2.0 * ratio)


def test_earlier_calls_count_until_this_one_has_timed_an_epoch():
    """Of cells that are finished, and of those that are gone on with."""
    finished = Cell("vanillaNet", "m", "cifar-10", seed=1)
    ticking = clock(1, (SMALL, 4, 12.0), (LARGE, 0, 0.0), (finished, 10, 70.0))
    ticking.tick(LARGE, 9.0)
    assert ticking.left == pytest.approx(6 * 3.0 + 9 * 9.0)
    ticking.tick(SMALL, 5.0)
    assert ticking.left == pytest.approx(5 * 5.0 + 9 * 9.0)


def test_jobs_share_the_time_but_no_cell():
    cells = [Cell("vanillaNet", "s", "cifar-10", seed=seed) for seed in range(4)]
    ticking = clock(2, *((cell, 0, 0.0) for cell in cells))
    ticking.tick(cells[0], 1.0)
    assert ticking.left == pytest.approx(39 / 2)
    ticking = clock(8, *((cell, 0, 0.0) for cell in cells))
    ticking.tick(cells[0], 1.0)
    assert ticking.left == pytest.approx(10.0)  # the longest of them


@pytest.mark.parametrize("data", DATASETS)
def test_work_is_counted_in_multiplications(data):
    side, images = DATASETS[data].side, DATASETS[data].counts["training"] - 1000
    models = {
        Cell("vanillaNet", size, data): build("vanillaNet", size, side=side) for size in ("s", "m")
    }
    with torch.device("meta"):
        models[Cell("vanillaNet", "xxl", data)] = build("vanillaNet", "xxl", side=side)
        for name in CLASSICS:
            models[Cell(name, "", data)] = build_classic(name, side=side)
        shown = torch.empty(1, 3, side, side)
    for cell, model in models.items():
        with FlopCounterMode(display=False) as counter:
            model.to("meta")(shown)
        counted = counter.get_total_flops() / 2 * images  # without classes: 100, 10
        assert work(cell, PRESETS["full"].protocol) == pytest.approx(counted, rel=0.01), cell.name


def test_every_cell_has_a_work():
    for preset in PRESETS.values():
        assert all(work(cell, preset.protocol) > 0 for cell in preset.cells)


def test_times_in_words():
    assert in_words(20) == "under 1 min"
    assert in_words(40) == "0 h 01 min"
    assert in_words(3900) == "1 h 05 min"

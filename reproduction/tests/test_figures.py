"""The paper's figures, from the event files of two short runs."""

import shutil

import numpy as np
import pytest
from PIL import Image
from reproduction.tests.layouts import write_cifar_10

from sparsight.cli import main
from sparsight.runs.events import read_events, write_event
from sparsight_paper.cells import PRESETS, Cell, Protocol
from sparsight_paper.choices import Choices
from sparsight_paper.execution import Execution
from sparsight_paper.experiments import Experiment
from sparsight_paper.figures import FIGURES, draw

pytest.importorskip("matplotlib", reason="matplotlib is not installed")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    data = write_cifar_10(tmp_path_factory.mktemp("data"), batches=(80,), validation=20)
    folder = tmp_path_factory.mktemp("runs")
    protocol = Protocol("test", training=40, validation=20, probes=8, epochs=2)
    for network, optimiser in (("vanillaNet", "sgd"), ("sr2Net", "sgd"), ("normNet", "adam")):
        cell = Cell(network, "s", "cifar-10", optimiser)
        Experiment(cell, protocol, folder, data, Execution()).run()
    varied = Cell("sr2Net", "s", "cifar-10", choices=Choices(reduction="mean"))
    Experiment(varied, protocol, folder, data, Execution()).run()
    return folder


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_is_drawn(name, runs, tmp_path):
    out = tmp_path / "figure.png"
    preset = {"a1": "adam", "a2": "adam", "choices": "choices"}.get(name, "smoke")
    arguments = ["--preset", preset, "--runs", str(runs), "--size", "s", "--out", str(out)]
    assert main(["paper", name, *arguments]) == 0
    pixels = np.asarray(Image.open(out).convert("L"))
    assert min(pixels.shape) > 300
    assert (pixels < 128).any()


def test_a_missing_run_is_said(runs):
    figure = draw("figure3", PRESETS["smoke"], runs)
    (axes,) = figure.axes
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels[:2] == ["vanillaNet", "dropNet: not run"]
    assert "sr2Net" in labels


def test_a_run_under_way_is_said(runs, tmp_path):
    for network in ("vanillaNet", "sr2Net"):
        folder = f"cifar-10_{network}-s_sgd_seed0"
        shutil.copytree(runs / folder, tmp_path / folder)
    (path,) = (tmp_path / folder).glob("events*")
    events = list(read_events(path))
    with open(path, "wb") as file:
        for event in events:
            if event.step < 1:
                write_event(file, event)
    (axes,) = draw("figure3", PRESETS["smoke"], tmp_path).axes
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels[0] == "vanillaNet"
    assert "sr2Net: 1 of 2 epochs" in labels


def test_the_curve_is_the_recorded_loss(runs):
    from sparsight.runs.reader import read_run

    figure = draw("figure3", PRESETS["smoke"], runs)
    recorded = read_run(runs / "cifar-10_vanillaNet-s_sgd_seed0").scalars["loss/validation"]
    raw = figure.axes[0].lines[1]
    assert list(raw.get_xdata()) == list(recorded)
    assert list(raw.get_ydata()) == list(recorded.values())


def test_the_size_is_that_of_which_most_has_been_run(runs, tmp_path):
    """A preset's largest may not have been begun, or little of it."""
    small = PRESETS["small"]
    assert {cell.size for cell in small.cells} == {"s", "m"}
    for network in ("vanillaNet", "sr2Net"):
        name = f"cifar-10_{network}-{{}}_sgd_seed0"
        shutil.copytree(runs / name.format("s"), tmp_path / name.format("s"))
        assert "size s" in draw("figure4", small, tmp_path).get_suptitle()
    for network, size in (("vanillaNet", "s"), ("sr2Net", "m")):
        name = f"cifar-10_{network}-{{}}_sgd_seed0"
        shutil.copytree(runs / name.format("s"), tmp_path / name.format("m"))
        assert f"size {size}" in draw("figure4", small, tmp_path).get_suptitle()


def test_choices_are_drawn_beside_the_defaults(runs):
    figure = draw("choices", PRESETS["choices"], runs)
    grid = np.array(figure.axes).reshape(-1, 4)
    networks = [axes.get_ylabel().partition(":")[0] for axes in grid[:, 0]]
    assert networks == ["vanillaNet", "sr2Net", "sr3Net", "dropNet", "normNet"]
    labels = [text.get_text() for text in grid[1, -1].get_legend().get_texts()]
    assert labels[:3] == ["defaults", "reduction=mean", "entropy_at=activation: not run"]
    entropies = [line.get_ydata() for line in grid[1, 1].lines]
    assert len(entropies) == 2
    assert entropies[0][0] == entropies[1][0]  # the same network before training
    assert (entropies[0] != entropies[1]).any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["figure3", "--seed", "7"], "holds no run of figure3 (cifar-10, size s, sgd, seed 7)"),
        (["figure3", "--size", "q"], "figure3 shows has --size q; there are: s"),
        (["figure3", "--data-set", "cifar10"], "has --data-set cifar10; did you mean 'cifar-10'?"),
        (["a1"], "no cell that a1 shows, trained by adam"),
        (["figure3", "--out", "x.docx"], "a file name that ends in one of"),
    ],
)
def test_bad_input_gets_a_sentence(arguments, message, runs, capfd):
    assert main(["paper", *arguments, "--preset", "smoke", "--runs", str(runs)]) == 2
    assert message in capfd.readouterr().err

"""`sparsight figures`: what is drawn, compared with what the reader gives back."""

from __future__ import annotations

import importlib
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from PIL import Image
from tests.e2e.synthetic import Plan, layer, write_run
from typer.main import get_command

from sparsight.cli import _app, main
from sparsight.errors import MissingExtraError, RunError, TargetError, UsageError
from sparsight.figures import colours, drawing, page
from sparsight.figures.drawing import FigureOptions
from sparsight.figures.statistics import change, difference, grid, spread, statistic_of
from sparsight.maths.onset import find_onset
from sparsight.measure.accumulator import LayerAccumulator
from sparsight.measure.batch import BatchStatistics
from sparsight.runs.events import event, file_version, scalar_value, write_event
from sparsight.runs.logdir import choose_layers, find_runs
from sparsight.runs.reader import read_run
from sparsight.runs.writer import RunWriter
from sparsight.schema import STATISTICS

LAYERS = (layer("conv1", 8, 6, 6), layer("conv2", 16, 4, 4), layer("fc1", 32, 1, 1))
EPOCHS = 28  # long enough for an onset at 14

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def logdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs: one that overfits, and a shorter one that does not."""
    folder = tmp_path_factory.mktemp("runs")
    write_run(folder / "a/vanilla", Plan(LAYERS, EPOCHS, probes=4, shown=2))
    write_run(folder / "a/sr2", Plan(LAYERS, 20, probes=4, shown=2, overfits=False, seed=1))
    return folder


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.setenv("COLUMNS", "200")

    def call(*arguments: object) -> tuple[int, str, str]:
        code = main(["figures", *map(str, arguments)])
        return code, *capsys.readouterr()

    return call


def drawn(logdir: Path, **wanted: Any) -> dict[str, Figure]:
    return dict(drawing.draw(logdir, FigureOptions(**wanted)))


def titled(figure: Figure) -> dict[str, Axes]:
    return {axes.get_title(loc="left"): axes for axes in figure.axes}


def mesh(axes: Axes) -> Any:
    (found,) = (c for c in axes.collections if isinstance(c, QuadMesh))
    return found


def onsets(axes: Axes) -> list[float]:
    return [line.get_xdata()[0] for line in axes.lines if line.get_gid() == "onset"]


def texts(figure: Figure) -> str:
    return " ".join(key.get_text() for legend in figure.legends for key in legend.get_texts())


# -- overview -------------------------------------------------------------------------------------


def test_the_overview_shows_what_is_recorded(logdir: Path) -> None:
    panels = titled(drawn(logdir, views=("overview",))["overview-relative_entropy"])
    for name in ("a/vanilla", "a/sr2"):
        recorded, axes = read_run(logdir / name), panels[name]
        shown = mesh(axes).get_array()
        assert [label.get_text() for label in axes.get_yticklabels()] == ["conv1", "conv2", "fc1"]
        assert axes.yaxis_inverted()  # the first layer on top
        for row, info in enumerate(LAYERS):
            expected = recorded.statistic(info.name, "entropy") / np.log(info.channels)
            np.testing.assert_allclose(shown[row], expected, rtol=1e-6)
        edges = mesh(axes).get_coordinates()[0, :, 0]
        np.testing.assert_allclose(edges, np.arange(-1.5, len(recorded.steps) - 1))


def test_all_runs_have_one_colour_scale_and_the_legend_says_what_is_missing(logdir: Path) -> None:
    figure = drawn(logdir, views=("overview",))["overview-relative_entropy"]
    panels = titled(figure)
    meshes = [mesh(panels[name]) for name in ("a/vanilla", "a/sr2")]
    assert meshes[0].norm is meshes[1].norm
    everything = np.concatenate([m.get_array().ravel() for m in meshes])
    assert (meshes[0].norm.vmin, meshes[0].norm.vmax) == (everything.min(), everything.max())
    assert "not measured" in texts(figure)  # epochs 21 to 28 of the shorter run
    only = drawn(logdir, views=("overview",), runs=("a/vanilla",))["overview-relative_entropy"]
    assert "not measured" not in texts(only)


def test_the_onset_is_that_of_the_validation_loss(logdir: Path) -> None:
    losses = read_run(logdir / "a/vanilla").scalars["loss/validation"]
    onset = find_onset(list(losses), list(losses.values()))
    assert onset is not None
    for name, figure in drawn(logdir).items():
        if not name.startswith("maps"):
            assert {e for axes in figure.axes for e in onsets(axes)} == {onset.epoch}, name
    panels = titled(drawn(logdir, views=("overview",))["overview-relative_entropy"])
    assert onsets(panels["a/sr2"]) == []


def test_the_difference_has_diverging_colours_around_zero(logdir: Path) -> None:
    figure = drawn(logdir, views=("overview",), difference="a/vanilla")
    axes = titled(figure["overview-relative_entropy-difference"])["a/sr2"]
    ours, theirs = read_run(logdir / "a/sr2"), read_run(logdir / "a/vanilla")
    expected = ours.statistic("fc1", "entropy") - theirs.statistic("fc1", "entropy")[:22]
    np.testing.assert_allclose(mesh(axes).get_array()[2], expected / np.log(32), rtol=1e-5)
    assert mesh(axes).norm.vmin == -mesh(axes).norm.vmax


def test_the_change_is_since_the_first_record(logdir: Path) -> None:
    figures = drawn(logdir, views=("overview",), statistics=("rms",), change=True)
    axes = titled(figures["overview-rms-change"])["a/vanilla"]
    rms = read_run(logdir / "a/vanilla").statistic("fc1", "rms")
    np.testing.assert_allclose(mesh(axes).get_array()[2], np.log2(rms / rms[0]), atol=1e-5)
    assert figures["overview-rms-change"].axes[-1].get_ylabel() == "change, doublings"


def test_a_layer_that_comes_later_changes_since_its_own_first_record(tmp_path: Path) -> None:
    with RunWriter(tmp_path / "grown") as writer:
        write_run(tmp_path / "grown", Plan(LAYERS[:1], 1, probes=2, shown=1), writer)
        write_run(tmp_path / "grown", Plan(LAYERS[:2], 4, probes=2, shown=1), writer, first=2)
    recorded = read_run(tmp_path / "grown")
    changed = change(recorded, ["conv1", "conv2", "gone"], STATISTICS["relative_entropy"])
    entropy = recorded.statistic("conv2", "entropy") / np.log(16)
    np.testing.assert_allclose(changed[1], entropy - entropy[3], rtol=1e-6)
    assert changed[1, 3] == changed[0, 0] == 0
    assert np.isnan(changed[1, :3]).all()
    assert np.isnan(changed[2]).all()


def test_colours_have_a_fixed_range_where_it_is_given(logdir: Path) -> None:
    figures = drawn(
        logdir, views=("overview", "maps"), limits=(0.9, 1.1), change=True, difference="a/sr2"
    )
    assert len(figures) == 3 + 2 * 2 + 1
    for name, figure in figures.items():
        (norm,) = {
            (shown.norm.vmin, shown.norm.vmax)
            for axes in figure.axes
            for shown in [*axes.images, *(c for c in axes.collections if isinstance(c, QuadMesh))]
            if isinstance(shown.norm, Normalize) and axes.get_title(loc="left") != "input"
            if axes.get_label() != "<colorbar>"
        }
        compared = name.endswith(("change", "difference"))
        assert norm == pytest.approx((-0.2, 0.2) if compared else (0.9, 1.1)), name
    # Values beyond it are there, and the bar points to them.
    scale = colours.sequential([np.array([0.5, 1.0, np.nan])], limits=(0.9, 1.1))
    assert scale.extend == "min"
    assert colours.diverging([np.array([-3.0, 3.0])], limits=(0, 1)).extend == "both"
    assert colours.sequential([np.array([0.5, 1.0])]).extend == "neither"


# -- curves ---------------------------------------------------------------------------------------


def test_curves_hold_the_values_a_colour_a_layer_and_a_style_a_run(logdir: Path) -> None:
    figure = drawn(logdir, views=("curves",), statistics=("entropy",))["curves-entropy"]
    lines = {line.get_label(): line for axes in figure.axes for line in axes.lines}
    for name in ("a/vanilla", "a/sr2"):
        for info in LAYERS:
            line = lines[f"{name}: {info.name}"]
            expected = read_run(logdir / name).statistic(info.name, "entropy")
            np.testing.assert_array_equal(line.get_ydata(), expected)
    a, b = (lines[f"{name}: conv1"] for name in ("a/vanilla", "a/sr2"))
    assert a.get_color() == b.get_color() != lines["a/sr2: fc1"].get_color()
    assert a.get_linestyle() != b.get_linestyle()
    losses = read_run(logdir / "a/vanilla").scalars["loss/validation"]
    smoothed = lines["a/vanilla: loss"].get_ydata()
    raw = [list(line.get_ydata()) for axes in figure.axes for line in axes.lines]
    assert list(losses.values()) in raw
    assert np.ptp(np.diff(smoothed)) < np.ptp(np.diff(list(losses.values())))


def test_the_band_lies_between_the_percentiles(logdir: Path) -> None:
    figure = drawn(logdir, views=("curves",), runs=("a/sr2",), spread=True)
    bands = figure["curves-relative_entropy"].axes[0].collections
    recorded = read_run(logdir / "a/sr2")
    for band, info in zip(bands, LAYERS, strict=True):
        corners = band.get_paths()[0].vertices[:, 1]
        low, high = (recorded.statistic(info.name, f"entropy_p{p}") for p in (5, 95))
        assert corners.min() == pytest.approx(low.min() / np.log(info.channels), rel=1e-5)
        assert corners.max() == pytest.approx(high.max() / np.log(info.channels), rel=1e-5)
    with pytest.raises(UsageError, match="no percentiles of rms are recorded"):
        drawn(logdir, statistics=("relative_entropy", "rms"), spread=True)


# -- maps -----------------------------------------------------------------------------------------


def test_maps_are_those_of_the_probe_on_one_scale(logdir: Path) -> None:
    figures = drawn(logdir, views=("maps",), probe=1, epochs=(-1, 4, 20))
    assert set(figures) == {"maps-probe1-a-sr2", "maps-probe1-a-vanilla"}
    recorded = read_run(logdir / "a/vanilla")
    beside, tiles = figures["maps-probe1-a-vanilla"].axes[:2]
    assert recorded.probes is not None
    assert beside.images[0].get_array().shape == (32, 32, 3)
    assert [t.get_text() for t in tiles.get_xticklabels()] == ["−1", "4", "20"]
    expected = [
        recorded.maps[info.name][epoch].values()[1] / np.log(info.channels)
        for info in LAYERS
        for epoch in (-1, 4, 20)
    ]
    assert len(tiles.images) == len(expected)
    for image, values in zip(tiles.images, expected, strict=True):
        np.testing.assert_allclose(image.get_array(), values, rtol=1e-6)
    norms = {id(f.axes[1].images[0].norm) for f in figures.values()}
    assert len(norms) == 1


def test_chosen_epochs_hold_the_first_the_last_and_the_onset(logdir: Path) -> None:
    (figure,) = drawn(logdir, views=("maps",), runs=("a/vanilla",), width=4).values()
    labels = figure.axes[1].get_xticklabels()
    assert labels[0].get_text() == "−1"
    assert labels[-1].get_text() == str(EPOCHS)
    (bold,) = (label.get_text() for label in labels if label.get_fontweight() == "bold")
    (found,) = find_runs(logdir, ["a/vanilla"])
    assert bold == str(found.onset)
    assert f"{bold} in bold" in texts(figure)


def test_the_mean_map(logdir: Path) -> None:
    (figure,) = drawn(
        logdir, views=("maps",), runs=("a/sr2",), probe="mean", epochs=(3,), layers=("conv2",)
    ).values()
    expected = read_run(logdir / "a/sr2").maps["conv2"][3].values()[-1] / np.log(16)
    np.testing.assert_allclose(figure.axes[0].images[0].get_array(), expected, rtol=1e-6)


def test_maps_are_compared_with_the_start_and_with_another_run(logdir: Path) -> None:
    wanted = {"views": ("maps",), "layers": ("conv1",), "probe": 1, "epochs": (-1, 4, 25)}
    figures = drawn(logdir, **wanted, change=True, difference="a/sr2")
    recorded = {name: read_run(logdir / name).maps["conv1"] for name in ("a/vanilla", "a/sr2")}

    def values(run: str, epoch: int) -> Any:
        return recorded[run][epoch].values()[1] / np.log(8)

    changed = figures["maps-probe1-a-vanilla-change"].axes[1].images
    for image, epoch in zip(changed, (-1, 4, 25), strict=True):
        expected = values("a/vanilla", epoch) - values("a/vanilla", -1)
        np.testing.assert_allclose(image.get_array(), expected, atol=1e-6)
    compared = figures["maps-probe1-a-vanilla-difference"]
    for image, epoch in zip(compared.axes[1].images, (-1, 4), strict=True):
        expected = values("a/vanilla", epoch) - values("a/sr2", epoch)
        np.testing.assert_allclose(image.get_array(), expected, atol=1e-6)
    assert "not measured" in texts(compared)  # epoch 25, which the other has not
    assert "maps-probe1-a-sr2-difference" not in figures


def test_differences_are_drawn_at_epochs_that_both_runs_have(logdir: Path) -> None:
    figures = drawn(logdir, views=("maps",), difference="a/sr2")
    labels = figures["maps-probe0-a-vanilla-difference"].axes[1].get_xticklabels()
    assert (labels[0].get_text(), labels[-1].get_text()) == ("−1", "20")
    assert figures["maps-probe0-a-vanilla"].axes[1].get_xticklabels()[-1].get_text() == str(EPOCHS)


def test_runs_without_a_common_epoch_have_no_difference(tmp_path: Path) -> None:
    for name, first, last in (("early", -1, 1), ("late", 2, 4)):
        write_run(tmp_path / name, Plan(LAYERS[:1], last, probes=2, shown=1), first=first)
    with pytest.warns(UserWarning, match="'early' has no maps of probe 0 at the epochs of 'late'"):
        figures = drawn(tmp_path, views=("maps",), difference="late")
    assert set(figures) == {"maps-probe0-early", "maps-probe0-late"}


def test_maps_of_networks_of_other_widths_are_compared_relative_to_their_own(
    tmp_path: Path,
) -> None:
    for name, channels in (("narrow", 8), ("wide", 64)):
        plan = Plan((layer("conv", channels, 6, 6),), 3, probes=2, shown=2)
        write_run(tmp_path / name, plan)
    figures = drawn(tmp_path, views=("maps",), probe=1, epochs=(2,), difference="wide")
    (image,) = figures["maps-probe1-narrow-difference"].axes[1].images
    relative = [
        read_run(tmp_path / name).maps["conv"][2].values()[1] / np.log(channels)
        for name, channels in (("narrow", 8), ("wide", 64))
    ]
    np.testing.assert_allclose(image.get_array(), relative[0] - relative[1], atol=1e-6)


# -- correlations ---------------------------------------------------------------------------------


@pytest.mark.parametrize("logarithmic", [False, True])
def test_correlations_are_the_201_bins(logdir: Path, logarithmic: bool) -> None:
    figure = drawn(logdir, views=("correlations",), logarithmic=logarithmic)["correlations"]
    recorded = read_run(logdir / "a/sr2")
    counts = np.stack([recorded.correlations["conv2"][e] for e in recorded.steps], axis=1)
    shares = counts / counts.sum(axis=0)
    drawings = [
        mesh(axes).get_array()
        for axes in figure.axes
        if axes.lines or axes.collections
        if any(isinstance(c, QuadMesh) for c in axes.collections)
    ]
    matching = [
        d
        for d in drawings
        if d.shape == shares.shape and np.allclose(np.where(shares > 0, d, 0), shares)
    ]
    assert len(matching) == 1
    assert ("no pairs" in texts(figure)) == logarithmic


# -- hostile and broken data ----------------------------------------------------------------------


def odd_run(folder: Path) -> None:
    """A 1-D layer with NaN, a layer of one channel, a layer that vanishes, and hostile names."""
    infos = {
        "<b>$x^{$ & 'y'\n" + "z" * 500: (layer("", 8, 12), 3),
        "nan": (layer("", 4, 3, 3), 3),
        "one": (layer("", 1, 2, 5), 3),
        "gone": (layer("", 4, 1, 1), 2),
    }
    with RunWriter(folder) as writer:
        for epoch in range(3):
            measured = []
            for name, (info, epochs) in infos.items():
                if epoch >= epochs:
                    continue
                info = layer(name, info.channels, *info.map_shape)
                entropy = np.full((2, *info.map_shape), 0.5, np.float32)
                if name == "nan":
                    entropy[:] = np.nan
                elif info.channels > 1:
                    entropy.flat[epoch] = np.nan
                accumulator = LayerAccumulator(info, (0,))
                accumulator.update(BatchStatistics(entropy), 0)
                measured.append(accumulator.result())
            writer.write(epoch, measured, wall_time=1e9 + epoch)


def test_odd_runs_are_drawn_and_what_is_missing_is_hatched(tmp_path: Path, run: Command) -> None:
    odd_run(tmp_path / "logs/$<i>")
    code, out, err = run(
        tmp_path / "logs",
        "--out",
        tmp_path / "out",
        "--format",
        "svg",
        "--statistic",
        "relative_entropy",
        "--statistic",
        "rms",
    )
    assert (code, err.count("warning")) == (0, 1)
    assert "no filter correlations are recorded" in err
    assert len(out.splitlines()) == 5
    for path in (tmp_path / "out").iterdir():
        content = " ".join(ET.parse(path).getroot().itertext())
        if not path.name.startswith("curves"):
            assert "not measured, or NaN" in content
        assert "<b>$" in content
    found = drawn(tmp_path / "logs", views=("overview",))["overview-relative_entropy"]
    shown = mesh(found.axes[0]).get_array()
    assert np.ma.getmaskarray(shown)[:, 2].tolist() == [False, True, True, True]


def test_a_single_epoch_and_many_layers(tmp_path: Path) -> None:
    many = tuple(layer(f"block{i // 3}.conv{i % 3}", 8, 4, 4) for i in range(45))
    write_run(tmp_path, Plan(many, -1, probes=2, shown=1))
    figures = drawn(tmp_path)
    assert {"maps-probe0-1", "maps-probe0-2", "correlations-1", "overview-relative_entropy"} <= set(
        figures
    )
    shown = [
        t.get_text()
        for n, f in figures.items()
        if n.startswith("maps")
        for t in f.axes[1].get_yticklabels()
    ]
    assert [text.split()[0] for text in shown] == [info.name for info in many]
    assert max(f.get_figheight() for f in figures.values()) < 11


def short_run(folder: Path, counted: bool, start: float = 1e9) -> None:
    """Epochs -1 to 4 of one layer, a minute each, without a loss; and a loss by batch in the
    directory beside, five seconds a batch."""
    with RunWriter(folder / "ours") as writer:
        for epoch in range(-1, 5):
            accumulator = LayerAccumulator(layer("conv", 4, 2, 2))
            accumulator.update(BatchStatistics(np.full((1, 2, 2), 0.5, np.float32)), 0)
            step = 13 * (epoch + 1) if counted else None
            wall_time = 1e9 + 60 * (epoch + 1)
            writer.write(epoch, [accumulator.result()], global_step=step, wall_time=wall_time)
    (folder / "eval").mkdir()
    with (folder / "eval/events.out.tfevents.1.x").open("wb") as file:
        write_event(file, file_version(start))
        for batch in (0, 13, 26, 65):
            write_event(file, event(batch, start + 5 * batch, [scalar_value("loss", batch / 13)]))


def test_losses_by_batch_are_lined_up_by_the_global_step(tmp_path: Path) -> None:
    short_run(tmp_path / "x", counted=True)
    (found,) = find_runs(tmp_path, ["x/ours"])
    assert found.loss is not None
    assert found.loss.name == "loss (x/eval)"
    assert found.loss.epochs.tolist() == [-1, 0, 1, 4]
    assert found.loss.values.tolist() == [0, 1, 2, 5]


def test_losses_by_batch_are_lined_up_by_wall_time_where_nothing_else_tells(tmp_path: Path) -> None:
    short_run(tmp_path / "x", counted=False)
    (found,) = find_runs(tmp_path)
    assert found.loss is not None
    # Batches 0, 13, 26 and 65 were written 0, 65, 130 and 325 seconds after "before training".
    minutes = np.array([0, 65, 130, 325]) / 60
    np.testing.assert_allclose(found.loss.epochs, minutes - 1, atol=1e-4)


def test_losses_that_cannot_be_lined_up_are_left_out_with_a_word(tmp_path: Path) -> None:
    short_run(tmp_path / "x", counted=False, start=2e9)
    with pytest.warns(UserWarning, match="go up to 65 and the epochs up to 4, no global_step"):
        (found,) = find_runs(tmp_path)
    assert found.loss is None


def test_only_what_is_drawn_is_read(logdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (whole,) = find_runs(logdir, ["a/sr2"])
    (bare,) = find_runs(logdir, ["a/sr2"], without=("maps", "correlation", "probes"))
    assert whole.run.maps
    assert whole.run.correlations
    assert not bare.run.maps
    assert not bare.run.correlations
    assert bare.run.probes is None
    assert bare.run.steps == whole.run.steps
    assert bare.onset == whole.onset

    def decode(record: bytes) -> None:
        raise AssertionError("maps were decoded for a view that shows none")

    monkeypatch.setattr("sparsight.schema.decode_maps", decode)
    assert drawn(logdir, views=("overview", "curves"))


# -- choosing, and sentences ----------------------------------------------------------------------


def test_globs(logdir: Path) -> None:
    runs = find_runs(logdir, ["*sr*"])
    assert [found.name for found in runs] == ["a/sr2"]
    assert choose_layers(runs, ["conv*"]) == {"a/sr2": ["conv1", "conv2"]}
    assert [found.name for found in find_runs(logdir / "a/sr2")] == ["."]


@pytest.mark.parametrize(
    ("wanted", "error", "sentence"),
    [
        ({"layers": ("convv1",)}, TargetError, "'convv1'; did you mean 'conv1'"),
        ({"runs": ("a/vanila",)}, RunError, "did you mean 'a/vanilla'"),
        ({"statistics": ("entropie",)}, UsageError, "did you mean 'entropy'"),
        ({"probe": 7}, UsageError, r"no maps of probe 7 .* 0, 1 \(nearest: 1\)"),
        ({"epochs": (90,)}, UsageError, "epoch 90 are recorded; the nearest is 28"),
        ({"difference": "a/sr"}, RunError, "did you mean 'a/sr2'"),
        ({"difference": "a/sr2", "runs": ("a/sr2",)}, UsageError, "needs another run"),
    ],
)
def test_what_is_not_there(
    logdir: Path, wanted: dict[str, Any], error: type[Exception], sentence: str
) -> None:
    with pytest.raises(error, match=sentence):
        next(drawing.draw(logdir, FigureOptions(**wanted)))


def test_the_command_ends_in_a_sentence(tmp_path: Path, logdir: Path, run: Command) -> None:
    out = tmp_path / "out"
    for arguments, sentence in [
        ([tmp_path / "none"], "no such directory"),
        ([tmp_path], "holds no event files; `sparsight analyze"),
        ([logdir, "--probe", "first"], "a position in the probe set"),
        ([logdir, "--epochs", "1-5"], "comma-separated whole numbers"),
        ([logdir, "--range", "1:0"], "the lower one first"),
        ([logdir, "--range", "nan:1"], "the lower one first"),
        ([logdir, "--range", "0-1"], "two numbers"),
    ]:
        code, _, err = run(*arguments, "--out", out)
        assert (code, err.count("\n")) == (2, 1)
        assert sentence in err
    out.write_text("a file")
    code, _, err = run(logdir, "--out", out, "--view", "overview")
    assert code == 2
    assert "cannot write" in err


def test_event_files_of_others_only(tmp_path: Path) -> None:
    with (tmp_path / "events.out.tfevents.1.x").open("wb") as file:
        write_event(file, file_version(1e9))
        write_event(file, event(0, 1e9, [scalar_value("loss", 1.0)]))
    with pytest.raises(RunError, match="no Sparsight data; `sparsight analyze"):
        find_runs(tmp_path)


def test_without_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    import sparsight.figures

    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'sparsight\[figures\]'"):
        importlib.reload(sparsight.figures)


# -- files ----------------------------------------------------------------------------------------


def test_files_are_the_same_each_time_and_their_text_is_text(
    tmp_path: Path, logdir: Path, run: Command
) -> None:
    kinds = (  # each kind of figure in one format, and one kind in both
        ("--view", "overview", "--format", "pdf", "--format", "svg"),
        ("--view", "maps", "--format", "pdf"),
        ("--view", "curves", "--view", "correlations", "--format", "svg"),
    )
    options = ("--width", "3.4", "--difference", "a/vanilla", "--log", "--spread")
    lines = 0
    for name in ("one", "two"):
        for kind in kinds:
            code, out, err = run(logdir, "--out", tmp_path / name, *kind, *options)
            assert (code, err) == (0, "")
            lines += len(out.splitlines())
    paths = sorted((tmp_path / "one").iterdir())
    assert 2 * len(paths) == lines
    assert len(paths) == 2 * 2 + 3 + 2
    for path in paths:
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes(), path.name
    text = (tmp_path / "one/overview-relative_entropy.svg").read_text("utf-8")
    for word in (
        "conv1",
        "fc1",
        "a/vanilla",
        "H / ln D",
        "epoch",
        "onset: lowest smoothed validation loss",
    ):
        assert word in text
    assert "<dc:date>" not in text
    pdf = (tmp_path / "one/overview-relative_entropy.pdf").read_bytes()
    assert b"/CIDFontType2" in pdf  # TrueType, not Type 3: its letters can be searched
    assert b"/Type3" not in pdf
    assert b"CreationDate" not in pdf


def test_pictures_are_the_same_each_time(tmp_path: Path, logdir: Path, run: Command) -> None:
    contents = []
    for name in ("one", "two"):
        arguments = ("--view", "overview", "--format", "png", "--width", "4")
        assert run(logdir, "--out", tmp_path / name, *arguments)[0] == 0
        (path,) = (tmp_path / name).iterdir()
        contents.append(path.read_bytes())
    assert contents[0] == contents[1]
    with Image.open(path) as picture:
        assert picture.width == 4 * 300


def test_more_runs_than_line_styles(tmp_path: Path) -> None:
    for number in range(7):
        write_run(tmp_path / f"run{number}", Plan(LAYERS[:1], 1, probes=2, shown=1))
    with pytest.warns(UserWarning, match="7 runs share 6 line styles.* from run 'run6' on"):
        figures = drawn(tmp_path, width=3.4)
    assert {"correlations-1", "correlations-4"} <= set(figures)


def test_runs_with_other_probes_are_called_out(tmp_path: Path) -> None:
    for number in (2, 3):
        write_run(tmp_path / f"run{number}", Plan(LAYERS[:1], 1, probes=number, shown=1))
    for views in (("overview",), ("maps",)):
        with pytest.warns(UserWarning, match="'run2' and 'run3' .* on different probe sets"):
            assert drawn(tmp_path, views=views)


def test_matplotlib_is_as_it_was(logdir: Path) -> None:
    import matplotlib

    before = dict(matplotlib.rcParams)
    drawn(logdir)
    assert dict(matplotlib.rcParams) == before


def test_no_labels_overlap(logdir: Path) -> None:
    for width in (3.4, 7.0):
        for name, figure in drawn(logdir, width=width).items():
            with page.style():
                figure.draw_without_rendering()
                for axes in figure.axes:
                    for labels in (axes.get_xticklabels(), axes.get_yticklabels()):
                        _apart([label for label in labels if label.get_text()], (name, width))
                titles = [a.title if a.get_title() else a._left_title for a in figure.axes]
                _apart([title for title in titles if title.get_text()], (name, width))


def _apart(labels: list[Any], where: tuple[str, float]) -> None:
    boxes = [label.get_window_extent() for label in labels if label.get_visible()]
    for number, box in enumerate(boxes):
        for other in boxes[:number]:
            assert not box.overlaps(other), where


# -- documentation --------------------------------------------------------------------------------


def test_every_option_is_documented() -> None:
    text = (Path(__file__).parents[3] / "docs/figures.md").read_text("utf-8")
    options = [
        option
        for parameter in get_command(_app([])).commands["figures"].params
        for option in parameter.opts
        if option.startswith("--") and option != "--help"
    ]
    assert len(options) == 14
    assert [option for option in options if f"`{option}`" not in text] == []


def test_statistics_follow_from_their_columns(logdir: Path) -> None:
    recorded = read_run(logdir / "a/vanilla")
    names = [info.name for info in LAYERS]
    entropy = grid(recorded, names, statistic_of("entropy"))
    np.testing.assert_allclose(
        grid(recorded, names, statistic_of("perplexity")), np.exp(entropy), rtol=1e-12
    )
    band = spread(recorded, names, statistic_of("perplexity"))
    assert band is not None
    assert (band[0] <= band[1]).all()
    assert spread(recorded, names, statistic_of("rms")) is None
    np.testing.assert_array_equal(
        difference(recorded, recorded, names, statistic_of("rms")), np.zeros_like(entropy)
    )

"""The options of `sparsight analyze`, through the command line."""

import csv
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pandas
import pyarrow.parquet
import pytest
from tests.core import graphs, reference
from tests.core.small_cnn import PROBES, network
from tests.waiting import started, wait_until

import sparsight
from sparsight.cli import campaign, main
from sparsight.errors import UsageError
from sparsight.runs.reader import read_run

node = graphs.node


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for epoch in (1, 2):
        (tmp_path / f"epoch_{epoch}.onnx").write_bytes(network())
    np.savez(tmp_path / "probes.npz", x=PROBES)
    return tmp_path


@pytest.fixture
def run(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")

    def call(*arguments, probes="probes.npz", logdir="run"):
        given = ["analyze", *map(str, arguments), "--probes", probes, "--device", "cpu"]
        code = main(given + (["--logdir", logdir] if logdir else []))
        return code, *capsys.readouterr()

    return call


def refused(answer, text):
    assert answer[0] == 2
    lines = [line for line in answer[2].splitlines() if line.startswith("sparsight: ")]
    assert len(lines) == 1, answer[2]
    assert text in lines[0]


def test_layers_from_a_file(folder, run):
    (folder / "layers.txt").write_text("# those that matter\nfc\nconv[1]\n\n")
    assert run("epoch_1.onnx", "--layers", "@layers.txt")[0] == 0
    assert [layer.name for layer in read_run("run").tables[1].layers] == ["conv1", "fc"]
    refused(run("epoch_1.onnx", "--layers", "@no.txt"), "--layers @no.txt")


def test_tables(folder, run):
    assert run(".", "--out", "table.csv", logdir=None)[0] == 0
    with open("table.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["step"], row["layer"]) for row in rows] == [
        (step, layer) for step in "12" for layer in ("conv1", "conv2")
    ]
    wanted = sparsight.analyze(network(), PROBES, device="cpu")
    assert float(rows[0]["entropy"]) == pytest.approx(wanted[0].statistics["entropy"])
    assert run(".", "--out", "table.npz", "--statistics", "rms", logdir=None)[0] == 0
    with np.load("table.npz") as table:
        assert table["values"].shape == (2, 2, len(table["statistics"]))
        assert list(table["layers"]) == ["conv1", "conv2"]
        at = list(table["statistics"]).index("rms")
        assert table["values"][1, 1, at] == pytest.approx(wanted[1].statistics["rms"])
    refused(run(".", logdir=None), "nothing to write to: give --logdir")
    refused(run(".", "--out", "table.txt"), "ends in .parquet, .csv or .npz")
    refused(run(".", "--out", "no/table.csv"), "no such folder: no")


def test_a_parquet_table(folder, run):
    """Read by pyarrow and by pandas: the rows of the .csv, with NaN where nothing was measured."""
    assert run(".", "--out", "table.parquet", logdir=None)[0] == 0
    assert run(".", "--out", "table.csv", logdir=None)[0] == 0
    table = pyarrow.parquet.read_table("table.parquet")
    with open("table.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert table.column_names == list(rows[0])
    for found, wanted in zip(table.to_pylist(), rows, strict=True):
        for name, text in wanted.items():
            if name in ("layer", "operator"):
                assert found[name] == text
            else:
                assert found[name] == pytest.approx(float(text or "nan"), nan_ok=True), name
    frame = pandas.read_parquet("table.parquet")
    assert list(frame["step"]) == [1, 1, 2, 2]
    assert frame["channels"].dtype == np.int64
    assert frame["dead_fraction"].dtype == np.float64


def test_a_table_that_cannot_be_written_is_refused_beforehand(folder, run):
    (folder / "table.csv").mkdir()
    refused(run(".", "--out", "table.csv"), "cannot write table.csv: it is a folder")
    assert not (folder / "run").exists()


def test_what_is_not_installed_is_said_before_anything_is_measured(folder, run, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    refused(run(".", "--out", "table.parquet"), "pip install pyarrow")
    assert not (folder / "run").exists()


# -- labels


def test_loss_and_accuracy(folder, run):
    labels = np.arange(11) % 3
    np.save("labels.npy", labels)
    assert run(".", "--labels", "labels.npy", "--output", "y")[0] == 0
    scalars = read_run("run").scalars
    (logits,) = reference.tensors_of(network(), {"x": PROBES}, "y")
    wide = logits.astype(np.float64)
    losses = np.log(np.exp(wide).sum(axis=1)) - wide[np.arange(11), labels]
    assert scalars["loss/validation"][2] == pytest.approx(losses.mean(), rel=1e-5)
    accuracy = (logits.argmax(axis=1) == labels).mean()
    assert scalars["accuracy/validation"][1] == pytest.approx(accuracy, rel=1e-5)


@pytest.mark.parametrize(
    ("labels", "options", "text"),
    [
        (np.arange(11) % 5, [], "the model has classes 0 to 2"),
        (np.zeros(5, int), [], "got 5 labels for 11 probes"),
        (np.zeros(11), [], "whole numbers"),
        (np.zeros(11, int), ["--output", "z"], "no output 'z'"),
    ],
)
def test_labels_that_do_not_fit(folder, run, labels, options, text):
    np.save("labels.npy", labels)
    refused(run("epoch_1.onnx", "--labels", "labels.npy", *options), text)


# -- probes


def test_fewer_probes_by_chance(folder, run):
    assert run("epoch_1.onnx", "--max-probes", 5, "--seed", 3, "--shown-probes", 2)[0] == 0
    first = read_run("run").probes
    assert (first.count, first.indices) == (5, (0, 4))
    assert run("epoch_1.onnx", "--max-probes", 5, "--seed", 3, logdir="again")[0] == 0
    assert run("epoch_1.onnx", "--max-probes", 5, "--seed", 4, logdir="other")[0] == 0
    assert read_run("again").probes.digest == first.digest
    assert read_run("other").probes.digest != first.digest
    refused(run("epoch_2.onnx", "--max-probes", 5, "--seed", 4), "measured on other probes")


def test_probes_from_a_function(folder, run, monkeypatch):
    (folder / "my_probes.py").write_text(
        "import numpy as np\n"
        "def images():\n    return np.load('probes.npz')['x']\n"
        "def named():\n    return {'x': images()}\n"
        "def wrong():\n    return 'nothing'\n"
        "def broken():\n    raise ValueError('no data')\n"
    )
    monkeypatch.delitem(sys.modules, "my_probes", raising=False)
    for name in ("images", "named"):
        assert run("epoch_1.onnx", probes=f"my_probes:{name}", logdir=name)[0] == 0
        assert read_run(name).probes.count == 11
    refused(run("epoch_1.onnx", probes="my_probes:wrong"), "returned a str; expected an array")
    refused(run("epoch_1.onnx", probes="my_probes:broken"), ": ValueError: no data")
    refused(run("epoch_1.onnx", probes="my_probes:nothing"), ": AttributeError")
    refused(run("epoch_1.onnx", probes="no_such_module:f"), ": ModuleNotFoundError")


def test_pictures_through_the_command_line(folder, run, pictures):
    nodes = [node("Conv", "x a.weight", "a"), node("Conv", "a b.weight", "y")]
    weights = {"a.weight": graphs.random((4, 3, 3, 3)), "b.weight": graphs.random((2, 4, 1, 1))}
    content = graphs.model(nodes, {"x": ["n", 3, "h", "w"]}, ["y"], weights)
    (folder / "net.onnx").write_bytes(content)
    options = ["--size", "8x6", "--mean", ".5", "--std", ".5", "--layout", "nchw"]
    assert run("net.onnx", *options, probes=pictures)[0] == 0
    assert read_run("run").probes.kind == "image"
    assert read_run("run").tables[0].layers[0].map_shape == (6, 4)
    refused(run("net.onnx", "--size", "8y6", probes=pictures), "--size '8y6'")
    refused(run("net.onnx", "--mean", "a", probes=pictures), "--mean 'a'")
    code, _, err = run("net.onnx", "--size", "8", "--scale", "1", probes=pictures, logdir="raw")
    assert code == 0
    assert "looks like unscaled grey levels" in err


# -- inputs of other kinds


def test_text_and_scalars(folder, run):
    """An input of strings, and one of no rank that is the same for all samples."""
    words, numbers = ["hot", "cold", "mild"], [1.0, -1.0, 0.5]
    labels = node(
        "LabelEncoder", "t", "n", domain="ai.onnx.ml", keys_strings=words, values_floats=numbers
    )
    nodes = [
        labels,
        node("Reshape", "n rows", "r"),
        node("Mul", "r factor", "m"),
        node("MatMul", "m a.weight", "a"),
        node("MatMul", "a b.weight", "y"),
    ]
    weights = {"rows": np.array([-1, 1]), "a.weight": graphs.random((1, 4))}
    weights["b.weight"] = graphs.random((4, 2))
    proto = onnx.ModelProto.FromString(
        graphs.model(nodes, {"t": ["n"], "factor": []}, ["y"], weights, domains=["ai.onnx.ml"])
    )
    proto.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.STRING
    proto.opset_import[1].version = 3
    onnx.save(proto, "text.onnx")
    np.savez("text.npz", t=np.array(words), factor=np.float32(2))
    assert run("text.onnx", probes="text.npz")[0] == 0
    linear = 2 * np.array(numbers)[:, None] * weights["a.weight"]
    wanted = reference.over_rfavs(reference.entropy, linear, -1)
    found = read_run("run").tables[0].value("a", "entropy")
    assert found == pytest.approx(wanted.mean(), abs=1e-5)
    objects = {"t": np.array(words, object), "factor": np.float32(2)}
    (measured,) = sparsight.analyze(proto, objects, device="cpu")
    assert measured.statistics["entropy"] == pytest.approx(wanted.mean(), abs=1e-5)
    np.savez("text.npz", t=np.zeros(3, np.float32), factor=np.float32(2))
    refused(run("text.onnx", probes="text.npz", logdir="other"), "expects text [n]")


# -- padding


def test_padded_tokens_are_left_out(folder):
    weights = {"a.weight": graphs.random((4, 5)), "b.weight": graphs.random((5, 2))}
    weights["a.weight"][:, 3] = -1
    nodes = [
        node("MatMul", "tokens a.weight", "a"),
        node("Relu", "a", "r"),
        node("MatMul", "r b.weight", "b"),
        node("Unsqueeze", "mask two", "m"),
        node("Mul", "b m", "y"),
    ]
    weights["two"] = np.array([2])
    inputs = {"tokens": ["n", "t", 4], "mask": ["n", "t"]}
    content = graphs.model(nodes, inputs, ["y"], weights)
    tokens, mask = graphs.random((3, 6, 4)), np.ones((3, 6), np.float32)
    mask[1, 4:] = mask[2, 1:] = 0
    tokens[mask == 0] = -3  # what would keep the fourth channel alive
    tokens[..., 0] = np.where(mask == 0, tokens[..., 0], 9)
    (measured,) = sparsight.analyze(
        content, {"tokens": tokens, "mask": mask}, device="cpu", mask="mask"
    )
    entropy = reference.over_rfavs(reference.entropy, tokens @ weights["a.weight"], -1)
    wanted = entropy[mask == 1]
    assert measured.statistics["entropy"] == pytest.approx(wanted.mean(), abs=1e-5)
    assert measured.statistics["nan_share"] == 0
    np.testing.assert_array_equal(np.isnan(measured.maps), mask == 0)
    inputs = (tokens @ weights["a.weight"])[mask == 1]
    assert measured.statistics["zero_fraction"] == pytest.approx((inputs <= 0).mean())
    dead = (inputs <= 0).all(axis=0)
    assert dead[3]
    assert not ((tokens @ weights["a.weight"]) <= 0)[..., 3].all()
    assert measured.statistics["dead_fraction"] == dead.mean()
    with pytest.raises(UsageError, match="'masks' is not an input with positions; did you mean"):
        sparsight.analyze(content, {"tokens": tokens, "mask": mask}, mask="masks")
    with pytest.raises(UsageError, match=r"'tokens' .* \(6, 4\), which match no layer"):
        sparsight.analyze(content, {"tokens": tokens, "mask": mask}, mask="tokens")


# -- watching


def test_watch(folder):
    """Checkpoints that appear while it runs are measured; Ctrl-C ends it well."""
    command = [sys.executable, "-m", "sparsight", "analyze", ".", "--probes", "probes.npz"]
    command += ["--logdir", "run", "--device", "cpu", "--watch"]
    for name in ("epoch_1.onnx", "epoch_2.onnx"):
        os.rename(name, name + ".later")
    with started(command, stderr=subprocess.PIPE, text=True) as process:
        waiting = process.stderr.readline()
        for epoch in (1, 2):
            os.rename(f"epoch_{epoch}.onnx.later", f"epoch_{epoch}.onnx")
            wait_until(lambda last=epoch: _steps()[-1:] == (last,), process)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate()
    assert process.returncode == 0, err
    assert waiting.startswith("waiting: ")


@pytest.fixture
def watch(run, monkeypatch):
    """Runs with `--watch`; whenever it would sleep the next of the changes is made; then Ctrl-C."""

    def call(*changes, **options):
        waiting = iter(changes)

        def sleep(seconds):
            if seconds == campaign._POLL:
                change = next(waiting, None)
                if change is None:
                    raise KeyboardInterrupt
                change()

        monkeypatch.setattr(campaign.time, "sleep", sleep)
        return run(".", "--watch", **options)

    return call


def writes(name, content):
    return lambda: Path(name).write_bytes(content)


def nothing():
    pass


def test_a_file_that_was_half_written_is_measured_once_it_is_whole(folder, watch):
    whole = network()
    Path("epoch_2.onnx").write_bytes(whole[:500])
    parts = [writes("epoch_2.onnx", whole[:size]) for size in (1000, len(whole) - 1)]
    code, _, err = watch(nothing, nothing, *parts, nothing, writes("epoch_2.onnx", whole), nothing)
    assert code == 0
    assert err.count("epoch_2.onnx is not an ONNX file") == 1
    assert _steps() == (1, 2)


def test_all_files_are_half_written_when_watching_begins(folder, watch):
    whole = network()
    for epoch in (1, 2):
        Path(f"epoch_{epoch}.onnx").write_bytes(whole[: 500 * epoch])
    code, _, err = watch(
        nothing, nothing, writes("epoch_2.onnx", whole), nothing, writes("epoch_1.onnx", whole)
    )
    assert code == 0
    assert err.count("epoch_1.onnx is not an ONNX file") <= 2  # waited for, and left out
    assert _steps() == (1, 2)


def test_a_file_that_stays_broken_is_named_at_the_end(folder, watch):
    Path("epoch_2.onnx").write_bytes(network()[:500])
    code, _, err = watch(*[nothing] * 5)
    assert code == 2
    assert err.count("epoch_2.onnx is not an ONNX file") == 1
    assert "cannot measure these checkpoints: epoch_2.onnx" in err
    assert _steps() == (1,)


def test_external_data_that_comes_late(folder, watch):
    proto = onnx.load_model_from_string(network())
    onnx.save_model(
        proto,
        "epoch_3.onnx",
        save_as_external_data=True,
        location="epoch_3.onnx.data",
        size_threshold=0,
    )
    data = Path("epoch_3.onnx.data")
    content = data.read_bytes()
    data.write_bytes(content[:10])
    assert watch(nothing, writes(data, content), nothing)[0] == 0
    assert _steps() == (1, 2, 3)


@pytest.mark.parametrize("before", [None, b"", b"PK\x03\x04"])
def test_probes_that_are_written_later(folder, watch, before):
    content = Path("probes.npz").read_bytes()
    Path("probes.npz").unlink()
    if before is not None:
        Path("probes.npz").write_bytes(before)
    code, _, err = watch(nothing, nothing, writes("probes.npz", content), nothing)
    assert code == 0
    assert err.count("waiting: ") == 1
    assert _steps() == (1, 2)


def test_probes_that_will_never_fit_end_the_watch(folder, watch):
    np.savez("probes.npz", x=PROBES[:, :1])
    refused(watch(), "the probes are float32 [11, 1, 8, 8]")


def test_files_that_vanish_while_it_watches(folder, watch):
    vanish = [lambda name=f"epoch_{epoch}.onnx": os.remove(name) for epoch in (1, 2)]
    code, _, err = watch(*vanish, nothing, writes("epoch_3.onnx", network()), nothing)
    assert code == 0, err
    assert _steps() == (1, 2, 3)


def test_a_named_file_that_vanishes_does_not_stop_the_others(folder, run, monkeypatch):
    changes = iter([lambda: os.remove("epoch_1.onnx"), writes("epoch_3.onnx", network()), nothing])

    def sleep(seconds):
        if seconds == campaign._POLL:
            next(changes, _interrupt)()

    monkeypatch.setattr(campaign.time, "sleep", sleep)
    assert run("epoch_1.onnx", "epoch_[23].onnx", "--watch")[0] == 0
    assert _steps() == (1, 2, 3)


def _interrupt():
    raise KeyboardInterrupt


def test_a_file_that_is_replaced_is_told_once(folder, watch):
    other = network().replace(b"conv1", b"conv9")
    code, _, err = watch(nothing, writes("epoch_1.onnx", other), nothing, nothing)
    assert code == 0
    assert err.count("epoch_1.onnx has changed since it was measured") == 1
    assert list(read_run("run").maps) == ["conv1", "conv2"]


def test_a_file_that_is_written_to_while_it_is_measured(folder, watch, monkeypatch):
    measure, whole = campaign.measure, network()
    other = whole.replace(b"conv1", b"conv9")

    def slow(path, *arguments):
        result = measure(path, *arguments)
        if path.name == "epoch_2.onnx" and path.read_bytes() == whole:
            path.write_bytes(other)
        return result

    monkeypatch.setattr(campaign, "measure", slow)
    assert watch(nothing, nothing)[0] == 0
    assert [layer.name for layer in read_run("run").tables[2].layers] == ["conv9", "conv2"]


def _steps():
    try:
        return read_run("run").steps
    except sparsight.SparsightError:
        return ()

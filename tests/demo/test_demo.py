"""The demo as a user starts it, shorter."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from tests.waiting import started

from sparsight.cli import main
from sparsight.errors import RunError, UsageError
from sparsight.runs.reader import read_run
from sparsight_torch.demo.folders import make_way
from sparsight_torch.demo.report import disagreement

DEMO = [sys.executable, "-m", "sparsight", "demo"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo") / "runs"
    done = subprocess.run(
        [*DEMO, "--no-serve", "--epochs", "6", "--logdir", str(folder)],
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "120"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder, " ".join(done.stdout.split())  # lines are broken to the terminal's width


def test_it_ends_with_a_table(runs):
    _, printed = runs
    for part in ("best accuracy", "onset", "Layers that changed most", "scale-free", "sr2Net-s"):
        assert part in printed
    differences = [
        float(number) for number in re.findall(r"differ by\s+at most (\S+) nats", printed)
    ]
    assert len(differences) == 2
    assert max(differences) < 1e-4


@pytest.mark.parametrize("network", ["vanillaNet-s", "sr2Net-s"])
def test_recorded_and_analysed_agree(runs, network):
    folder, _ = runs
    recorded, analyzed = read_run(folder / network), read_run(folder / f"{network}-analyzed")
    assert recorded.steps == (-1, 0, 1, 2, 3, 4, 5)
    assert analyzed.steps == (-1, 0, 5)
    assert disagreement(recorded, analyzed) < 1e-4


def test_one_corrupt_weight_makes_them_disagree(runs, tmp_path):
    folder, _ = runs
    path = folder / "vanillaNet-s/checkpoints/epoch_0005.onnx"
    proto = onnx.load(path)
    tensor = next(t for t in proto.graph.initializer if t.name == "conv4.weight")
    values = numpy_helper.to_array(tensor).copy()
    values.flat[0] += 1
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    onnx.save(proto, tmp_path / "epoch_0005.onnx")
    probes = folder / "vanillaNet-s/probes.npz"
    analyze = [sys.executable, "-m", "sparsight", "analyze", str(tmp_path / "epoch_0005.onnx")]
    options = ["--probes", str(probes), "--logdir", str(tmp_path / "run")]
    subprocess.run([*analyze, *options], check=True, capture_output=True)
    assert disagreement(read_run(folder / "vanillaNet-s"), read_run(tmp_path / "run")) > 1e-4


def test_the_penalty_keeps_entropy_up(runs):
    folder, _ = runs
    ends = [
        read_run(folder / network).statistic("fc1", "entropy")[-1]
        for network in ("vanillaNet-s", "sr2Net-s")
    ]
    assert np.diff(ends)[0] > 0


@pytest.fixture
def refused(capsys):
    """What the demo says when it will not touch a folder."""
    threads = torch.get_num_threads()

    def call(folder):
        assert main(["demo", "--logdir", str(folder)]) == 2
        return capsys.readouterr().err.replace("\n", "")

    yield call
    torch.set_num_threads(threads)


def test_a_foreign_folder_is_left_alone(refused, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    assert "thesis.tex" in refused(tmp_path)
    assert (tmp_path / "thesis.tex").exists()


def everything(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_folders_that_are_called_like_its_runs_are_left_alone(refused, tmp_path):
    for name in ("vanillaNet-s", "sr2Net-s-analyzed"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "events.out.tfevents.1.host").write_bytes(b"weeks of training")
    before = everything(tmp_path)
    assert "was not made by the demo" in refused(tmp_path)
    assert everything(tmp_path) == before


def made(folder):
    """As an earlier demo leaves it."""
    make_way(folder, ["one", "two"])
    for name in ("one", "two"):
        (folder / name / "events.out.tfevents.0.sparsight").touch()
        (folder / name / "checkpoints").mkdir()
        (folder / name / "checkpoints/epoch_0000.onnx").touch()
    return folder


def test_what_it_has_made_is_replaced(tmp_path):
    made(tmp_path)
    make_way(tmp_path, ["one", "two"])
    assert {path.name for path in everything(tmp_path)} == {"sparsight-demo.txt"}
    (tmp_path / "one/sparsight-demo.txt").unlink()  # killed just before the marker was written
    make_way(tmp_path, ["one", "two", "three"])


@pytest.mark.parametrize(
    "foreign", ["notes.txt", "one/notes.txt", "two/checkpoints/mine.onnx", "one/checkpoints/a/b"]
)
def test_what_others_put_beside_is_left_alone(tmp_path, foreign):
    path = made(tmp_path) / foreign
    path.parent.mkdir(exist_ok=True)
    path.write_text("by hand")
    before = everything(tmp_path)
    with pytest.raises(UsageError, match="which the demo did not make; pass another --logdir"):
        make_way(tmp_path, ["one", "two"])
    assert everything(tmp_path) == before


def test_links_are_not_followed(tmp_path):
    mine = made(tmp_path / "mine") / "one"
    runs = tmp_path / "runs"
    runs.mkdir()
    (runs / "one").symlink_to(mine, target_is_directory=True)
    made(tmp_path / "other")
    shutil.rmtree(tmp_path / "other/one/checkpoints")
    (tmp_path / "other/one/checkpoints").symlink_to(mine / "checkpoints", target_is_directory=True)
    before = everything(mine)
    for folder in (runs, tmp_path / "other"):
        with pytest.raises(UsageError, match="the demo did not make"):
            make_way(folder, ["one", "two"])
    assert everything(mine) == before


def test_a_demo_that_is_running_is_left_alone(tmp_path):
    fcntl = pytest.importorskip("fcntl")
    made(tmp_path)
    with open(tmp_path / "two/sparsight.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        before = everything(tmp_path)
        with pytest.raises(RunError, match="another process is already recording into"):
            make_way(tmp_path, ["one", "two"])
        assert everything(tmp_path) == before


SERVE = """
import sys
from pathlib import Path
from rich.console import Console
from sparsight_torch.demo.serving import serve_tensorboard
serve_tensorboard(Path(sys.argv[1]), 0, Console())
"""


@pytest.fixture
def served(tmp_path):
    """A process that serves TensorBoard, with its address."""
    command = [sys.executable, "-c", SERVE, str(tmp_path)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with started(command, text=True, **pipes) as process:
        lines = []
        for line in process.stdout:
            lines.append(line)
            if match := re.search(r"http://localhost:(\d+)/#sparsity", line):
                break
        else:
            pytest.fail("".join(lines))
        yield process, int(match[1])


@pytest.mark.parametrize("name", ["SIGTERM", "SIGKILL", "SIGHUP"])
def test_tensorboard_ends_when_the_demo_is_killed(served, name):
    process, port = served
    process.send_signal(getattr(signal, name))
    process.stdout.read()  # until nobody is left who could write
    assert process.wait() == -getattr(signal, name)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("localhost", port)).close()


def test_tensorboard_ends_at_ctrl_c(served):
    """A terminal sends it to all processes at once."""
    process, port = served
    os.killpg(process.pid, signal.SIGINT)
    said = process.stdout.read()
    assert process.wait() == 0
    assert "Stopping TensorBoard." in said
    assert "Traceback" not in said
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("localhost", port)).close()


def test_it_serves_the_tab_until_interrupted(tmp_path):
    command = [*DEMO, "--epochs", "1", "--port", "0", "--logdir", str(tmp_path / "runs")]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with started(command, text=True, **pipes) as process:
        lines = []
        for line in process.stdout:
            lines.append(line)
            if match := re.search(r"(http://localhost:\d+/)#sparsity", line):
                break
        else:
            pytest.fail("".join(lines))
        with urllib.request.urlopen(match[1] + "data/plugin/sparsity/index") as answer:
            assert b"vanillaNet-s" in answer.read()
        process.send_signal(signal.SIGINT)
        assert process.wait() == 0

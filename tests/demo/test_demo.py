"""The demo as a user starts it, shorter."""

import os
import re
import signal
import subprocess
import sys
import urllib.request

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from tests.waiting import started

from sparsight.reader import read_run
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
    for part in ("best accuracy", "onset", "layers that moved most", "scale-free", "sr2Net-s"):
        assert part in printed
    differences = [float(number) for number in re.findall(r"differ by (\S+) nats", printed)]
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


def test_a_foreign_folder_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    done = subprocess.run([*DEMO, "--logdir", str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 2
    assert "thesis.tex" in done.stderr.replace("\n", "")
    assert "Traceback" not in done.stderr
    assert (tmp_path / "thesis.tex").exists()


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

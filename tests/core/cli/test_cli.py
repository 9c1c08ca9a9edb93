import json
import os
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest
from tests.core import graphs
from tests.core.disks import limited_disk
from tests.core.small_cnn import PROBES, network
from tests.waiting import started

from sparsight.cli import _app, main
from sparsight.cli.extensions import GROUP
from sparsight.runs.reader import read_run


@pytest.fixture
def folder(tmp_path):
    """A training run: checkpoints of three epochs, and probes."""
    checkpoints = tmp_path / "checkpoints"
    checkpoints.mkdir()
    for epoch in (1, 2, 10):
        (checkpoints / f"epoch_{epoch}.onnx").write_bytes(network())
    np.savez(tmp_path / "probes.npz", x=PROBES)
    return tmp_path


@pytest.fixture
def run(capsys, monkeypatch):
    """Runs a command: its exit code, stdout and stderr."""
    monkeypatch.setenv("COLUMNS", "200")

    def call(*arguments):
        code = main([str(argument) for argument in arguments])
        return code, *capsys.readouterr()

    return call


def analyze(folder, *arguments):
    given = [str(a) for a in arguments] or [str(folder / "checkpoints")]
    probes, logdir = folder / "probes.npz", folder / "run"
    return ["analyze", *given, "--probes", probes, "--logdir", logdir, "--device", "cpu"]


def test_taps(folder, run):
    code, out, _ = run("taps", folder / "checkpoints/epoch_1.onnx")
    assert code == 0
    for text in ("conv1", "conv2", "fc *", "5x2x3x3", "linear output", "output layer"):
        assert text in out
    code, out, _ = run("taps", folder / "checkpoints/epoch_1.onnx", "--json")
    assert code == 0
    listed = json.loads(out)
    assert [layer["name"] for layer in listed["layers"]] == ["conv1", "conv2", "fc"]
    assert [layer["output_layer"] for layer in listed["layers"]] == [False, False, True]
    assert [layer["map_shape"] for layer in listed["layers"]] == [[6, 6], [4, 4], [1, 1]]
    assert listed["left_out"] == []


def test_analyze_and_again(folder, run):
    code, out, err = run(*analyze(folder))
    assert code == 0
    assert "conv1" in out
    assert "3 checkpoints in" in out
    assert "tensorboard --logdir" in out
    assert err.count("left out: the output layer fc,") == 1
    recorded = read_run(folder / "run")
    assert recorded.steps == (1, 2, 10)
    assert recorded.probes.count == len(PROBES)
    assert list(recorded.maps) == ["conv1", "conv2"]
    files = len(list((folder / "run").iterdir()))
    code, _, err = run(*analyze(folder))
    assert code == 0
    assert "3 of 3 checkpoints are already recorded" in err
    assert len(list((folder / "run").iterdir())) == files


def test_a_checkpoint_that_fills_a_gap(folder, run):
    assert run(*analyze(folder))[0] == 0
    (folder / "checkpoints/epoch_5.onnx").write_bytes(network())
    assert run(*analyze(folder))[0] == 0
    assert read_run(folder / "run").steps == (1, 2, 5, 10)


def test_a_broken_checkpoint_does_not_stop_the_others(folder, run):
    (folder / "checkpoints/epoch_1.onnx").write_bytes(network()[:100])
    code, _, err = run(*analyze(folder))
    assert code == 2
    assert "epoch_1.onnx is not an ONNX file" in err
    assert "cannot measure these checkpoints: epoch_1.onnx" in err
    assert read_run(folder / "run").steps == (2, 10)


def test_a_full_disk_gets_a_sentence_and_leaves_whole_records(folder, run):
    assert run(*analyze(folder))[0] == 0
    for epoch in (5, 11, 12):  # one fills a gap
        (folder / "checkpoints" / f"epoch_{epoch}.onnx").write_bytes(network())
    recorded = set()
    for room in range(0, 14_000, 2000):
        with limited_disk() as disk:
            disk.room = room
            answer = run(*analyze(folder))
            assert_refused(answer, "run: No space left on device")
        recorded.add(read_run(folder / "run").steps)
    assert recorded == {(1, 2, 10), (1, 2, 10, 11), (1, 2, 10, 11, 12)}
    assert run(*analyze(folder))[0] == 0
    assert read_run(folder / "run").steps == (1, 2, 5, 10, 11, 12)


def test_a_run_that_is_being_recorded_into(folder, run):
    fcntl = pytest.importorskip("fcntl")
    (folder / "run").mkdir()
    with open(folder / "run/sparsight.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert_refused(run(*analyze(folder)), "another process is already recording into")
    assert run(*analyze(folder))[0] == 0


def test_layers_and_statistics(folder, run):
    options = ("--layers", "fc", "--layers", "conv1", "--statistics", "rms,dead_fraction")
    assert run(*analyze(folder), *options)[0] == 0
    recorded = read_run(folder / "run")
    assert np.isfinite(recorded.statistic("fc", "rms")).all()
    assert np.isnan(recorded.statistic("conv1", "scale_free_entropy")).all()


def test_nan_share_stands_in_the_table_where_there_is_one(folder, run):
    assert "NaN" not in run(*analyze(folder))[1]
    probes = PROBES.copy()
    probes[1, 0, 0, 0] = np.nan
    np.savez(folder / "probes.npz", x=probes)
    code, out, _ = run(*analyze(folder), "--logdir", folder / "other")
    assert code == 0
    assert "NaN" in next(line for line in out.splitlines() if "H / ln D" in line)


def called(arguments, **streams):
    """`sparsight` as a process of its own."""
    return started([sys.executable, "-m", "sparsight", *map(str, arguments)], text=True, **streams)


@pytest.mark.parametrize("command", ["taps", "taps --json", "analyze", "doctor"])
def test_an_output_that_nobody_reads(folder, command):
    """As behind `| head`: no word, and the exit code that other programs have."""
    model = folder / "checkpoints/epoch_1.onnx"
    arguments = {
        "taps": ["taps", model],
        "taps --json": ["taps", model, "--json"],
        "analyze": analyze(folder),
        "doctor": ["doctor"],
    }[command]
    read, write = os.pipe()
    os.close(read)
    with called(arguments, stdout=write, stderr=subprocess.PIPE) as process:
        os.close(write)
        _, err = process.communicate()
    assert process.returncode == 141, err
    assert "Traceback" not in err
    assert "Exception" not in err
    if command == "analyze":
        assert read_run(folder / "run").steps == (1, 2, 10)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux only")
@pytest.mark.parametrize("options", [[], ["--json"]])
def test_an_output_on_a_full_disk(folder, options):
    arguments = ["taps", folder / "checkpoints/epoch_1.onnx", *options]
    with (
        open("/dev/full", "w") as full,
        called(arguments, stdout=full, stderr=subprocess.PIPE) as process,
    ):
        _, err = process.communicate()
    assert process.returncode == 2
    assert err == "sparsight: cannot write the output: No space left on device\n"


def assert_refused(answer, text):
    code, _, err = answer
    assert code == 2
    lines = [line for line in err.splitlines() if line.startswith("sparsight: ")]
    assert len(lines) == 1
    assert text in lines[0]
    assert "Traceback" not in err


def test_bad_input_gets_one_sentence(folder, run):
    model = folder / "checkpoints/epoch_1.onnx"
    assert_refused(run("taps", folder / "no.onnx"), "no such file")
    assert_refused(run("taps", folder / "probes.npz"), "is not an ONNX")
    assert_refused(run(*analyze(folder, folder / "no.onnx")), "no such file")
    assert_refused(run(*analyze(folder), "--probes", folder / "no.npz"), "no such file")
    assert_refused(run(*analyze(folder), "--probes", model), "as an .npz or .npy file")
    assert_refused(run(*analyze(folder), "--device", "cuda"), "sparsight doctor")
    assert_refused(run(*analyze(folder), "--layers", "conv9"), "no layer 'conv9'")
    assert_refused(run(*analyze(folder), "--statistics", "x"), "unknown statistic 'x'")
    assert_refused(run(*analyze(folder), "--step-pattern", "("), "--step-pattern")
    assert_refused(run(*analyze(folder), "--logdir", model), "a file of that name exists")
    np.save(folder / "wrong.npy", PROBES[:, :1])
    answer = run(*analyze(folder), "--probes", folder / "wrong.npy")
    assert_refused(answer, "expects float32 [n, 2, 8, 8], but the probes are float32 [11, 1, 8, 8]")
    (folder / "relu.onnx").write_bytes(
        graphs.model([graphs.node("Relu", "x", "y")], {"x": ["n", 3]}, ["y"])
    )
    assert_refused(run(*analyze(folder, folder / "relu.onnx")), "no measurable layer")


def test_options_that_typer_refuses(folder, run):
    for arguments in (["frob"], ["analyze"], [*analyze(folder), "--centre", "middle"]):
        code, _, err = run(*arguments)
        assert code == 2
        assert "Error" in err


def test_other_probes_are_called_out(folder, run):
    assert run(*analyze(folder))[0] == 0
    np.savez(folder / "probes.npz", x=PROBES[1:])
    (folder / "checkpoints/epoch_11.onnx").write_bytes(network())
    assert_refused(run(*analyze(folder)), "was measured on other probes")


def test_names_from_files_do_not_reach_the_terminal_raw(folder, run):
    evil = "fc\x1b[2J[red].weight"
    nodes = [graphs.node("Gemm", "x w", "a"), graphs.node("Gemm", "a w", "y")]
    nodes[0].input[1] = evil
    weights = {"w": np.eye(3, dtype=np.float32), evil: np.eye(3, dtype=np.float32)}
    path = folder / "evil.onnx"
    path.write_bytes(graphs.model(nodes, {"x": ["n", 3]}, ["y"], weights))
    np.save(folder / "p.npy", graphs.random((4, 3)))
    for arguments in (["taps", path], [*analyze(folder, path), "--probes", folder / "p.npy"]):
        code, out, err = run(*arguments)
        assert code == 0
        assert "[red]" in out
        assert "\x1b" not in out + err


def test_doctor(run):
    code, out, _ = run("doctor")
    assert code == 0
    for text in ("sparsight", "onnx", "CPUExecutionProvider", "runs", "has the Sparsity tab"):
        assert text in out
    assert "B of memory free" in out


def test_doctor_explains_two_wheels(run, monkeypatch):
    class Wheel:
        version = "1.0"

        def __init__(self, name):
            self.name = name

    wheels = [Wheel("onnxruntime"), Wheel("onnxruntime_gpu"), Wheel("onnxruntime-extensions")]
    monkeypatch.setattr(sys.modules["sparsight.cli.doctor"], "distributions", lambda: wheels)
    code, out, _ = run("doctor")
    assert code == 2
    assert "PROBLEM: onnxruntime and onnxruntime-gpu are both installed" in out
    assert "pip uninstall -y onnxruntime onnxruntime-gpu" in out


@pytest.fixture
def commands(tmp_path, monkeypatch):
    """Sub-commands of a package of somebody else's."""
    extensions = sys.modules["sparsight.cli.extensions"]
    (tmp_path / "fine_package.py").write_text(
        "import typer\n"
        "def greet(name: str = 'you') -> None:\n"
        '    """Greet somebody.\n\n    At length."""\n'
        "    print('hello', name)\n"
    )
    (tmp_path / "needy_package.py").write_text(
        "import a_module_that_is_not_there\ndef go() -> None:\n    'Go.'\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    entries = [
        EntryPoint("greet", "fine_package:greet", GROUP),
        EntryPoint("needy", "needy_package:go", GROUP),
        EntryPoint("lost", "no_such_package:go", GROUP),
    ]
    monkeypatch.setattr(extensions, "entry_points", lambda group: entries)


def test_sub_commands_of_other_packages(commands, run):
    code, out, _ = run("--help")
    assert code == 0
    for text in ("greet", "Greet somebody.", "needy", "Go.", "lost", "taps"):
        assert text in out
    assert "needy_package" not in sys.modules
    assert run("greet", "--name", "Ada")[:2] == (0, "hello Ada\n")
    code, out, _ = run("greet", "--help")
    assert code == 0
    assert "At length." in out
    assert_refused(run("needy"), "needs a_module_that_is_not_there: pip install")
    assert_refused(run("lost"), "needs no_such_package: pip install")
    assert run("taps", "--help")[0] == 0
    assert_refused(run("paper"), "from a clone of Sparsight: pip install ./reproduction")


def test_every_option_is_in_the_documentation():
    from typer.main import get_command

    text = (Path(__file__).parents[3] / "docs/analyze.md").read_text("utf-8")
    commands = get_command(_app([])).commands
    for name in ("taps", "analyze"):
        for parameter in commands[name].params:
            for option in parameter.opts:
                assert not option.startswith("--") or option == "--help" or f"`{option}" in text


def test_as_a_program(folder):
    command = [sys.executable, "-m", "sparsight", "taps", str(folder / "no.onnx")]
    finished = subprocess.run(command, capture_output=True, text=True)
    assert finished.returncode == 2
    assert finished.stderr == f"sparsight: no such file: {folder / 'no.onnx'}\n"


INTERRUPTED = """
import importlib.abc, os, runpy, signal, sys
name, sys.argv = sys.argv[1], ["sparsight", *sys.argv[2:]]

class Interrupt(importlib.abc.MetaPathFinder):
    def find_spec(self, fullname, path, target=None):
        if fullname == name:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupt())
runpy.run_module("sparsight", run_name="__main__", alter_sys=True)
"""


@pytest.mark.parametrize(
    "module",
    [
        "sparsight.cli",
        "typer",
        "rich.table",
        "sparsight.analysis.analyze",
        "numpy",
        "numpy._core._multiarray_umath",
        "onnx",
        "onnx.onnx_cpp2py_export",
        "onnxruntime",
        "onnxruntime.capi._pybind_state",
        "onnxruntime.capi.onnxruntime_pybind11_state",
    ],
)
def test_an_interrupt_while_it_starts_is_silent(folder, module):
    assert_silent(module, analyze(folder))


def test_an_interrupt_of_a_sub_command_that_is_being_loaded(folder):
    assert_silent("torch", ["demo", "--logdir", folder / "demo"])


def assert_silent(module, arguments):
    """An interrupt while a module is imported ends the program without a word."""
    command = [sys.executable, "-c", INTERRUPTED, module, *map(str, arguments)]
    with started(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        out, err = process.communicate()
    assert (process.returncode, out, err) == (130, "", "")


def test_an_interrupt_while_it_measures(folder, run, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("sparsight.cli.campaign.measure", interrupted)
    assert run(*analyze(folder))[0] == 130

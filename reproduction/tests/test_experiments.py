"""Cells as they are run: killed and resumed, finished once, several at a time, stored."""

import dataclasses
import errno
import fcntl
import io
import json
import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest
import torch
from reproduction.tests.layouts import write_cifar_10
from rich.console import Console
from tests.waiting import started, wait_until

from sparsight.cli import main
from sparsight.errors import RunError, UsageError
from sparsight.maths.onset import find_onset
from sparsight.runs.reader import read_run
from sparsight_paper.cells import PRESETS, Cell, Protocol
from sparsight_paper.choices import Choices
from sparsight_paper.commands import default_runs, select
from sparsight_paper.data import load_data
from sparsight_paper.execution import Execution
from sparsight_paper.experiments import Experiment
from sparsight_paper.history import onset_of
from sparsight_paper.networks import build
from sparsight_paper.results import read_result
from sparsight_paper.running import run_all
from sparsight_paper.training import validate

SMALL = ["--epochs", "5", "--training-images", "400", "--probes", "20"]
SMALL += ["--validation-images", "50", "--threads", "1", "--device", "cpu"]
# Between kernels for AVX-512, AVX2 and SSE, and with older code, the training loss differed by
# 1.3e-4, the validation loss by 8e-4 (of the value), accuracy by .016.
CLOSE = {
    "loss/training": {"rel": 5e-4},
    "penalty/sparsity": {"rel": 5e-4},
    "loss/validation": {"rel": 4e-3},
    "accuracy/training": {"abs": 0.02},
    "accuracy/validation": {"abs": 0.04},
}
# Of layers before training nothing differed; in later records, of the value or absolute:
CLOSE_LAYERS = {
    "relative_entropy": {"rel": 2e-3},  # 2.4e-4
    "entropy": {"rel": 2e-3},  # 2.6e-4
    "scale_free_entropy": {"rel": 0.04},  # .014
    "rms": {"rel": 0.2},  # .064
    "dead_fraction": {"abs": 0.05},  # .016, one channel of 64
    "correlation_mean": {"abs": 5e-4},  # 6.5e-5
    "correlation_mean_absolute": {"abs": 5e-4},  # 6e-5
}
PAPER = [sys.executable, "-m", "sparsight", "paper"]


@pytest.fixture(autouse=True)
def threads():
    """An experiment sets the threads of its process."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_cifar_10(tmp_path_factory.mktemp("data"), batches=(600,))


def run(*arguments):
    """On the CPU if nothing else is said, also where there is a GPU."""
    return main(["paper", "run", "--device", "cpu", *map(str, arguments)])


def checkpoint(folder):
    return torch.load(folder / "checkpoint.pt", weights_only=True)


def weights_of(folder):
    return torch.load(folder / "weights.pt", weights_only=True)


def kill_in_the_middle(command, path):
    """Kill a run, which is given no chance to tidy up, when its second epoch is checkpointed."""

    def checkpointed():
        return path.exists() and len(checkpoint(path.parent)["history"]["seconds"]) >= 2

    with started(command, stderr=subprocess.PIPE) as process:
        while process.poll() is None and not checkpointed():
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        _, errors = process.communicate()
    assert process.returncode == -signal.SIGKILL, errors.decode()


def test_a_killed_run_ends_as_one_that_was_not(data, tmp_path, capfd):
    arguments = ["--preset", "smoke", "--network", "sr3Net", "--data", str(data), *SMALL]
    name = "cifar-10_sr3Net-s_sgd_seed0"
    killed, whole = tmp_path / "killed" / name, tmp_path / "whole" / name
    command = [*PAPER, "run", *arguments, "--runs", str(tmp_path / "killed")]
    kill_in_the_middle(command, killed / "checkpoint.pt")
    assert not (killed / "result.json").exists()
    assert run(*arguments, "--runs", tmp_path / "killed") == 0
    assert "resumes after" in capfd.readouterr().err
    assert run(*arguments, "--runs", tmp_path / "whole") == 0

    ours, theirs = (weights_of(folder) for folder in (killed, whole))
    assert ours.keys() == theirs.keys()
    for key, weights in ours.items():
        assert torch.equal(weights, theirs[key]), key
    first, second = (read_result(folder / "result.json") for folder in (killed, whole))
    for part in ("epochs", "layers", "best_accuracy", "onset", "data"):
        assert first[part] == second[part]
    recorded, uninterrupted = read_run(killed), read_run(whole)
    assert recorded.steps == uninterrupted.steps == (-1, 0, 1, 2, 3, 4)
    for step in recorded.steps:
        assert (recorded.tables[step].values == uninterrupted.tables[step].values).all()
    assert recorded.scalars == uninterrupted.scalars


def rewrite_checkpoint(folder, change):
    state = checkpoint(folder)
    change(state)
    torch.save(state, folder / "checkpoint.pt")


class Interrupted(Exception):
    """A run is broken off after an epoch."""


def interrupted(experiment, after=1):
    """The experiment, run for `after` epochs and checkpointed."""

    def report(epoch, scalars, seconds):
        if epoch == after - 1:
            raise Interrupted

    with pytest.raises(Interrupted):
        experiment.run(report)
    return experiment


def with_other_random_numbers(state):
    state["training"]["random"] = torch.Generator().manual_seed(1).get_state()


def test_without_its_random_numbers_a_resumed_run_would_differ(data, tmp_path):
    """Dropout's random numbers are part of the result, and the comparison can fail."""
    cell = Cell("dropNet", "s", "cifar-10")
    protocol = Protocol("test", 60, 20, 8, epochs=2)
    weights = {}
    for name in ("whole", "resumed", "other numbers"):
        experiment = Experiment(cell, protocol, tmp_path / name, data, Execution(threads=1))
        if name != "whole":
            interrupted(experiment)
        if name == "other numbers":
            rewrite_checkpoint(experiment.folder, with_other_random_numbers)
        experiment.run()
        weights[name] = weights_of(experiment.folder)
    for name, whole in weights["whole"].items():
        assert torch.equal(whole, weights["resumed"][name])
        assert not torch.equal(whole, weights["other numbers"][name])


def test_a_statistic_that_an_older_checkpoint_lacks_is_none_before(data, tmp_path):
    protocol = Protocol("test", 40, 20, 8, epochs=2)
    cell = Cell("vanillaNet", "s", "cifar-10")
    one = interrupted(Experiment(cell, protocol, tmp_path, data, Execution(threads=1)))

    def forget(state):
        for curves in state["history"]["layers"].values():
            assert len(curves.pop("correlation_mean_absolute")) == 2

    rewrite_checkpoint(one.folder, forget)
    for layer, curves in one.run()["layers"].items():
        assert {len(curve) for curve in curves.values()} == {3}, layer
        first, second, last = curves["correlation_mean_absolute"]
        assert (first, second) == (None, None)
        assert 0 < abs(curves["correlation_mean"][2]) < last < 1


def test_going_on_with_another_number_of_threads_is_said_and_kept(data, tmp_path):
    protocol = Protocol("test", 40, 20, 8, epochs=3)
    cell = Cell("vanillaNet", "s", "cifar-10")
    one = interrupted(Experiment(cell, protocol, tmp_path, data, Execution(threads=1)))
    assert checkpoint(one.folder)["history"]["ran_on"] == [one.execution.described()]
    two = Experiment(cell, protocol, tmp_path, data, Execution(threads=2))
    with pytest.warns(UserWarning, match=r"different conditions.*\(threads: 1, now 2\)"):
        interrupted(two, after=2)
    result = two.run()  # nothing has changed since, and nothing is said
    assert result["hardware"]["threads"] == 2
    (before,) = result["resumed_on"]
    assert before["hardware"]["threads"] == 1
    assert before["versions"] == result["versions"]


@pytest.mark.parametrize("epochs", [1, 2])
def test_where_an_older_checkpoint_ran_is_not_known(epochs, data, tmp_path):
    cell = Cell("vanillaNet", "s", "cifar-10")
    experiment = Experiment(cell, Protocol("test", 40, 20, 8, epochs=epochs), tmp_path, data)
    interrupted(experiment)
    rewrite_checkpoint(experiment.folder, lambda state: state["history"].pop("ran_on"))
    result = experiment.run()
    assert "resumed_on" not in result
    assert result["hardware"]["threads"] == torch.get_num_threads()


def test_an_interruption_alone_is_not_kept(data, tmp_path):
    cell = Cell("vanillaNet", "s", "cifar-10")
    experiment = Experiment(cell, Protocol("test", 40, 20, 8, epochs=1), tmp_path, data)
    assert "resumed_on" not in interrupted(experiment).run()


def test_the_weights_take_the_checkpoints_place(data, tmp_path):
    cell = Cell("normNet", "s", "cifar-10")
    experiment = Experiment(cell, Protocol("test", 60, 30, 8, epochs=2), tmp_path, data)
    interrupted(experiment, after=2)  # as if killed before the result was written
    assert not experiment.result_path.exists()
    assert experiment.timed()[0] == 2
    last = checkpoint(experiment.folder)["training"]["model"]
    result = experiment.run()
    assert {path.name for path in experiment.folder.iterdir() if "tfevents" not in path.name} == {
        "result.json",
        "weights.pt",
    }
    model = build("normNet", "s", classes=10)
    model.load_state_dict(weights_of(experiment.folder))
    for name, weights in model.state_dict().items():
        assert torch.equal(weights, last[name]), name
    images = load_data("cifar-10", data, training=60, validation=30, probes=8)
    assert validate(model, images)["accuracy"] == pytest.approx(result["last_accuracy"], abs=1e-5)


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="the system counts no reads")
def test_the_number_of_epochs_is_known_without_reading_the_weights(data, tmp_path):
    def read():
        return int(Path("/proc/self/io").read_text().split()[1])  # rchar

    cell = Cell("vanillaNet", "s", "cifar-10")
    experiment = Experiment(cell, Protocol("test", epochs=3), tmp_path, data)
    history = {"epochs": {}, "layers": {}, "seconds": [1.0, 1.0]}
    experiment._save({"training": {"model": {"fc1": torch.zeros(2**24)}}, "history": history})
    before = read()
    assert experiment.timed() == (2, 2.0)
    assert read() - before < 2**20
    before = read()
    assert len(checkpoint(experiment.folder)["training"]["model"]["fc1"]) == 2**24
    assert read() - before >= 2**26  # so that what is counted above are these reads


def test_several_at_a_time_give_what_one_gives(data, tmp_path):
    arguments = ["--preset", "smoke", "--network", "vanillaNet", "--data", data, *SMALL]
    arguments += ["--epochs", "1", "--seed", "3", "--seed", "4"]
    assert run(*arguments, "--runs", tmp_path / "two", "--jobs", "2") == 0
    assert run(*arguments, "--runs", tmp_path / "array", "--index", "1") == 0
    assert [path.name for path in (tmp_path / "array").iterdir()] == [
        "cifar-10_vanillaNet-s_sgd_seed4"
    ]
    name = "cifar-10_vanillaNet-s_sgd_seed4/result.json"
    first, second = (read_result(tmp_path / runs / name) for runs in ("two", "array"))
    assert first["epochs"] == second["epochs"]
    third = read_result(tmp_path / "two/cifar-10_vanillaNet-s_sgd_seed3/result.json")
    assert third["epochs"] != first["epochs"]


def test_a_job_that_fails_says_why(data, tmp_path, capfd):
    arguments = ["--preset", "smoke", "--network", "vanillaNet", "--data", data, *SMALL]
    arguments += ["--seed", "1", "--seed", "2", "--training-images", "3000", "--jobs", "2"]
    assert run(*arguments, "--runs", tmp_path) == 2
    assert "lacks data_batch_2.bin" in capfd.readouterr().err


def is_run_by_another(folder):
    with open(folder / "lock") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def test_jobs_end_when_their_parent_is_killed(data, tmp_path):
    """At once: in the middle of their first epoch."""
    arguments = ["--preset", "small", "--network", "sr1Net", "--size", "m", "--data", str(data)]
    arguments += [*SMALL, "--training-images", "580", "--seed", "1", "--seed", "2"]
    command = [*PAPER, "run", *arguments, "--runs", str(tmp_path), "--jobs", "2"]
    folders = [tmp_path / f"cifar-10_sr1Net-m_sgd_seed{seed}" for seed in (1, 2)]
    with started(command) as parent:
        wait_until(lambda: all(any(folder.glob("*tfevents*")) for folder in folders), parent)
        assert all(map(is_run_by_another, folders))
        parent.kill()
        parent.wait()
        wait_until(lambda: not any(map(is_run_by_another, folders)))
    assert not any((folder / "checkpoint.pt").exists() for folder in folders)


class Killed(Experiment):
    """As where memory runs out."""

    def run(self, report):
        report(0, {"loss/validation": 1.0, "accuracy/validation": 0.5}, 1.5)
        warnings.warn("about to be killed", stacklevel=2)
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_job_that_is_killed_says_so(data, tmp_path):
    said = io.StringIO()
    cells = [Cell("vanillaNet", "s", "cifar-10", seed=seed) for seed in (1, 2)]
    both = [Killed(cell, Protocol("test", epochs=1), tmp_path, data) for cell in cells]
    with (
        pytest.warns(UserWarning, match="about to be killed"),
        pytest.raises(RunError, match=r"was killed.*resumes after each cell's last epoch.*--jobs"),
    ):
        run_all(both, 2, Console(file=said, width=200))
    line = "epoch 1/1, validation loss 1.000, accuracy 0.500, under 1 min left"
    assert line in said.getvalue()


def test_a_finished_cell_is_not_run_again(data, tmp_path, capfd):
    arguments = ["--preset", "tiny", "--data", data, "--runs", tmp_path, *SMALL, "--epochs", "1"]
    assert run(*arguments) == 0
    path = tmp_path / "cifar-10_sr2Net-s_sgd_seed0/result.json"
    best = read_result(path)["best_accuracy"]
    assert f"{path.parent}: best accuracy {best:.4f}, no onset" in capfd.readouterr().err
    written = path.stat().st_mtime_ns
    assert run(*arguments) == 0
    assert "finished" in capfd.readouterr().err
    assert path.stat().st_mtime_ns == written
    assert run(*arguments, "--epochs", "2") == 2
    assert "other settings (epochs: 1, not 2)" in capfd.readouterr().err


def test_who_stops_it_is_told_that_it_goes_on(data, tmp_path):
    class Stopped(Experiment):
        def run(self, report):
            raise KeyboardInterrupt

    said = io.StringIO()
    stopped = Stopped(Cell("sr2Net", "s", "cifar-10"), Protocol("test"), tmp_path, data)
    with pytest.raises(KeyboardInterrupt):
        run_all([stopped], 1, Console(file=said, width=200))
    assert "the same command resumes" in said.getvalue()


def test_a_damaged_checkpoint_is_named(data, tmp_path, capfd):
    folder = tmp_path / "cifar-10_sr2Net-s_sgd_seed0"
    folder.mkdir()
    (folder / "checkpoint.pt").write_bytes(b"damaged")
    assert run("--preset", "tiny", "--data", data, "--runs", tmp_path, *SMALL) == 2
    assert "remove it to start again" in capfd.readouterr().err


def test_a_folder_that_cannot_be_written(data, tmp_path, capfd):
    (tmp_path / "cifar-10_sr2Net-s_sgd_seed0").write_text("a file")
    arguments = ["--preset", "tiny", "--data", data, "--runs", tmp_path, *SMALL]
    assert run(*arguments) == 2
    assert "cannot write" in capfd.readouterr().err


def test_two_processes_do_not_run_one_cell(data, tmp_path, capfd):
    folder = tmp_path / "cifar-10_sr2Net-s_sgd_seed0"
    folder.mkdir()
    arguments = ["--preset", "tiny", "--data", data, "--runs", tmp_path, *SMALL]
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert run(*arguments, "--epochs", "1") == 2
    assert "another process is running" in capfd.readouterr().err
    assert run(*arguments, "--epochs", "1") == 0


def test_a_file_system_without_locks_is_named(data, tmp_path, monkeypatch, capfd):
    def no_locks(file, operation):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    assert run("--preset", "tiny", "--data", data, "--runs", tmp_path, *SMALL) == 2
    said = capfd.readouterr().err
    assert "Traceback" not in said
    assert "against other processes (No locks available); choose a --runs" in said


def test_help_shows_the_sub_commands(capfd):
    assert main(["--help"]) == 0
    assert "Reproduce the paper's networks" in capfd.readouterr().out
    assert main(["paper", "--help"]) == 0
    printed = capfd.readouterr().out
    for name in ("run", "table2", "figure1", "results"):
        assert f" {name} " in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--preset", "smal"], "did you mean 'small'"),
        (["--network", "srNet"], "has --network srNet; did you mean"),
        (["--index", "99"], "there are 24 cells"),
        (["--choose", "pading=valid"], "unknown choice 'pading'"),
        (["--choose", "padding=none"], "expected one of same, valid"),
        (["--choose", "kappa=much"], "expected a number"),
        (["--choose", "lambda=nan"], "expected a strength, 0 or more"),
        (["--choose", "lambda=-1"], "expected a strength, 0 or more"),
        (["--precision", "bf16"], "needs CUDA"),
        (["--device", "tpu"], "'cpu', 'cuda' or 'cuda:1'"),
    ],
)
def test_bad_input_gets_a_sentence(arguments, message, capfd):
    assert run(*arguments) == 2
    assert message in capfd.readouterr().err


def test_open_choices_have_folders_of_their_own(data, tmp_path):
    choices = ["padding=valid", "entropy_at=activation", "reduction=mean", "lambda=0.01"]
    chosen = [part for choice in choices for part in ("--choose", choice)]
    arguments = ["--preset", "tiny", "--data", data, "--runs", tmp_path, *SMALL, "--epochs", "1"]
    assert run(*arguments, *chosen) == 0
    (folder,) = tmp_path.iterdir()
    for part in ("padding-valid", "entropy_at-activation", "reduction-mean", "lambda-0.01"):
        assert part in folder.name
    assert read_result(folder / "result.json")["cell"]["choices"]["reduction"] == "mean"


@pytest.mark.parametrize(
    "cell",
    [
        Cell("LeNet-sr", "", "cifar-10", "adam"),
        Cell("normNet", "s", "cifar-10", choices=Choices(placement="convolution")),
        Cell("sr1Net", "s", "cifar-10", choices=Choices(initialisation="torch", form="squared")),
    ],
    ids=lambda cell: cell.name,
)
def test_every_kind_of_cell_runs(cell, data, tmp_path):
    protocol = Protocol("test", training=40, validation=20, probes=8, epochs=1)
    result = Experiment(cell, protocol, tmp_path, data, Execution(threads=1)).run()
    assert len(result["epochs"]["loss/training"]) == 1
    assert all(len(curve["rms"]) == 2 for curve in result["layers"].values())
    assert ("penalty/sparsity" in result["epochs"]) == (cell.network != "normNet")


def test_presets_hold_the_papers_tables():
    full = PRESETS["full"]
    assert len(full.cells) == len({cell.name for cell in full.cells}) == 36 + 12
    assert full.protocol.epochs == 100
    assert full.protocol.rate("sgd") == 0.01
    small = PRESETS["small"].cells
    assert len(small) == len(set(small)) == 24
    assert sum(cell.size == "m" for cell in small) == 6


def test_unknown_parts_of_a_cell():
    with pytest.raises(UsageError, match="did you mean 'sr1Net'"):
        Cell("sr1net", "s", "cifar-10")
    with pytest.raises(UsageError, match="unknown size 'l'"):
        Cell("sr1Net", "l", "cifar-10")


def test_cells_are_listed_with_their_index(tmp_path, capfd):
    assert main(["paper", "cells", "--preset", "smoke", "--runs", str(tmp_path)]) == 0
    listed = capfd.readouterr().out.splitlines()
    assert "0  cifar-10_vanillaNet-s_sgd_seed0" in listed[1]
    assert len(listed) == 7


@pytest.mark.real_data
def test_the_stored_cell_comes_out_again(real, tmp_path):
    """So that no table can be typed: see reproduction/README.md for how far other CPUs were off."""
    arguments = ["--preset", "tiny", "--data", real, "--runs", tmp_path, "--threads", "1"]
    assert run(*arguments) == 0
    stored = json.loads((Path(__file__).parent / "tiny.json").read_text())
    again = read_result(tmp_path / "cifar-10_sr2Net-s_sgd_seed0/result.json")
    assert again["cell"] == stored["cell"]
    assert again["protocol"] == stored["protocol"]
    assert again["data"] == stored["data"]
    assert again["start"] == pytest.approx(stored["start"], abs=5e-3)  # two images of 500
    for name, curve in stored["epochs"].items():
        assert again["epochs"][name] == pytest.approx(curve, **CLOSE[name]), name
    for layer, curves in stored["layers"].items():
        for name, (before, *after) in curves.items():
            first, *later = again["layers"][layer][name]
            assert first == pytest.approx(before, rel=1e-4), (layer, name)
            assert later == pytest.approx(after, **CLOSE_LAYERS[name]), (layer, name)
    losses = stored["epochs"]["loss/training"]
    assert losses[0] > losses[1] > losses[2] * 1.002  # further apart than what is let through


def test_presets_of_one_protocol_share_their_cells():
    """So that a default cell of `choices` is the one of `small`, and trained once."""
    small, choices, adam = (PRESETS[name] for name in ("small", "choices", "adam"))
    assert small.protocol == choices.protocol == adam.protocol
    assert default_runs(choices) == default_runs(adam) == default_runs(small)
    default = {cell for cell in choices.cells if not cell.choices.changed()}
    assert default < set(small.cells)
    varied = [cell for cell in choices.cells if cell.choices.changed()]
    assert all(len(cell.choices.changed()) == 1 for cell in varied)
    assert all(dataclasses.replace(cell, choices=Choices()) in default for cell in varied)
    touched = {name for cell in varied for name in cell.choices.changed()}
    assert touched == {field.name.strip("_") for field in dataclasses.fields(Choices)}


def test_choices_and_seeds_replace_the_presets():
    chosen = select(PRESETS["choices"], {"network": ["sr2Net"]}, choices=Choices(padding="valid"))
    assert [cell.name for cell in chosen] == ["cifar-10_sr2Net-s_sgd_padding-valid_seed0"]
    chosen = select(PRESETS["small"], {"network": ["sr2Net"], "size": ["s"]}, [1, 7])
    assert [cell.seed for cell in chosen] == [1, 7]


def test_the_onset_is_that_of_the_recorded_curve(data, tmp_path):
    """With the loss before training, as the tab and the figures have it."""
    cell, protocol = Cell("sr2Net", "s", "cifar-10"), Protocol("test", 40, 20, 8, epochs=1)
    experiment = Experiment(cell, protocol, tmp_path, data, Execution("cpu", 1))
    result = experiment.run()
    recorded = read_run(experiment.folder).scalars
    assert list(recorded["loss/validation"]) == [-1, 0]
    for name in ("loss/validation", "accuracy/validation"):
        assert result["start"][name] == pytest.approx(recorded[name][-1], rel=1e-4)
    losses = [2.3, 1.2, 1.0, 1.0, 1.02, 1.5, 1.6, 1.7, 1.8, 1.9]
    history = {"start": {"loss/validation": losses[0]}, "epochs": {"loss/validation": losses[1:]}}
    onset = find_onset(range(-1, 9), losses)
    assert onset_of(history) == onset
    assert onset != find_onset(range(9), losses[1:])
    older = {"epochs": {"loss/validation": losses[1:]}}  # of code that did not keep the start
    assert onset_of(older) == find_onset(range(9), losses[1:])

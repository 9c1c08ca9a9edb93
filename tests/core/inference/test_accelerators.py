"""What `analyze` does on an accelerator, with the CPU's provider in its place."""

import logging
import sys

import numpy as np
import pytest
from tests.core import graphs
from tests.core.small_cnn import PROBES, assert_same, network

import sparsight
from sparsight.analysis import analyze as analysis
from sparsight.analysis.analyze import Settings, measure
from sparsight.cli import main
from sparsight.errors import OutOfMemoryError, UsageError
from sparsight.inference import correlation_graph
from sparsight.inference.runtime import Session
from sparsight.system import devices
from sparsight.system.devices import CPU, Device

node = graphs.node


@pytest.fixture
def cuda(monkeypatch):
    """A device called "cuda" that computes on the CPU, with buffers in its memory."""
    monkeypatch.setitem(devices.DEVICES, "cuda", CPU)
    monkeypatch.setattr(Device, "memory", property(lambda device: ("cpu", 0)))
    correlation_graph.device_summariser.cache_clear()
    yield
    correlation_graph.device_summariser.cache_clear()


@pytest.fixture
def fed(monkeypatch):
    """How many samples each batch was fed with."""
    counts = []
    run = analysis.TapSession.run

    def counting(session, feeds, count, *options):
        counts.append(count)
        assert len(feeds["x"]) == count
        return run(session, feeds, count, *options)

    monkeypatch.setattr(analysis.TapSession, "run", counting)
    return counts


@pytest.mark.parametrize("batch_size", [None, 1, 4, 11, 100])
def test_the_same_as_on_the_cpu(cuda, batch_size):
    wanted = sparsight.analyze(network(), PROBES, device="cpu")
    found = sparsight.analyze(network(), PROBES, device="cuda", batch_size=batch_size)
    assert_same(found, wanted)
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(one.correlation.counts, other.correlation.counts)
        assert one.statistics["dead_fraction"] == other.statistics["dead_fraction"]


def others(said):
    """What is said beside the layers that are left out, whatever the device."""
    return [line for line in said if not line.startswith("left out: ")]


def test_the_last_batch_is_filled_up(cuda, fed):
    sparsight.analyze(network(), PROBES, device="cuda", batch_size=4)
    assert fed == [4, 4, 4]
    fed.clear()
    sparsight.analyze(network(), PROBES, device="cpu", batch_size=4)
    assert fed == [4, 4, 3]
    fed.clear()
    sparsight.analyze(network(), PROBES, device="cuda", batch_size=64)
    assert fed == [11]


def test_what_fills_up_is_not_counted(cuda):
    """Dead channels and zeros of probes that differ most in the last."""
    probes = np.concatenate([np.abs(PROBES[:4]), -np.abs(PROBES[:1])])
    wanted = sparsight.analyze(network(), probes, device="cpu", batch_size=1)
    assert_same(sparsight.analyze(network(), probes, device="cuda", batch_size=4), wanted)


def test_where_probes_cannot_be_told_apart_nothing_is_filled_up(cuda, fed):
    nodes = [node("Transpose", "x", "t", perm=[1, 0, 2]), node("MatMul", "t a.weight", "a")]
    nodes += [node("Relu", "a", "r"), node("Transpose", "r", "u", perm=[1, 0, 2])]
    nodes += [node("MatMul", "u b.weight", "y")]
    weights = {"a.weight": graphs.random((4, 5)), "b.weight": graphs.random((5, 2))}
    content = graphs.model(nodes, {"x": ["n", 3, 4]}, ["y"], weights)
    probes = graphs.random((7, 3, 4))
    wanted = sparsight.analyze(content, probes, device="cpu", batch_size=7)
    assert_same(sparsight.analyze(content, probes, device="cuda", batch_size=4), wanted)
    assert fed[-1] == 3


def test_correlations_are_made_there(cuda, monkeypatch):
    made = []
    call = correlation_graph.DeviceSummariser.__call__

    def counting(summariser, *blocks):
        made.append(blocks)
        return call(summariser, *blocks)

    monkeypatch.setattr(correlation_graph.DeviceSummariser, "__call__", counting)
    sparsight.analyze(network(), PROBES, device="cpu")
    assert not made
    layers = sparsight.analyze(network(), PROBES, device="cuda")
    assert len(made) == len(layers)


def test_a_device_that_multiplies_no_doubles_says_so(monkeypatch):
    monkeypatch.setitem(devices.DEVICES, "coreml", CPU)
    said = []
    found = measure(network(), PROBES, Settings(device="coreml"), notice=said.append)
    assert_same(found, sparsight.analyze(network(), PROBES, device="cpu"))
    assert others(said) == [
        "filter correlations are computed on the CPU, because coreml cannot multiply float64"
    ]


def test_operators_left_to_others_are_said(monkeypatch):
    monkeypatch.setattr(Session, "elsewhere", {"Shape": 3, "Gather": 2})
    said = []
    measure(network(), PROBES, Settings(device="cpu"), notice=said.append)
    assert others(said) == ["cpu leaves these operators to other providers: Gather (2), Shape (3)"]


def test_auto_says_what_it_took(caplog):
    caplog.set_level(logging.INFO, "sparsight")
    sparsight.analyze(network(), PROBES)
    assert "device: auto chose cpu" in caplog.messages
    caplog.clear()
    sparsight.analyze(network(), PROBES, device="cpu")
    assert others(caplog.messages) == []


# -- the size of a batch


SAMPLE = 4 * (2 * 5 * 36 + 2 * 6 * 16 + 6 + 6 + 3 + 6 * 5 * 36)
"""Bytes that a sample of the network takes at most: all its values, and six times conv1's."""
WEIGHTS = 4 * (5 * 2 * 9 + 6 * 5 * 9 + 6 * 3)


def test_memory_limits_the_batch(fed):
    said = []
    limit = 2 * WEIGHTS + 3 * SAMPLE
    settings = Settings(device="cpu", memory_limit=limit, statistics="entropy")
    found = measure(network(), PROBES, settings, notice=said.append)
    assert max(fed) == 3
    assert_same(found, sparsight.analyze(network(), PROBES, device="cpu", statistics="entropy"))
    assert others(said) == ["memory on cpu allows batches of 3, not 16"]
    fed.clear()
    said.clear()
    settings = Settings(device="cpu", memory_limit=limit, statistics="entropy", batch_size=5)
    measure(network(), PROBES, settings, notice=said.append)
    assert others(said) == ["memory on cpu allows batches of 3, not 5"]
    assert max(fed) == 3
    settings = Settings(device="cpu", memory_limit=limit, statistics="entropy", batch_size=2)
    said.clear()
    measure(network(), PROBES, settings, notice=said.append)
    assert others(said) == []


def test_little_free_memory_limits_the_batch(fed, monkeypatch):
    said = []
    monkeypatch.setattr("sparsight.inference.batch_memory.free_memory", lambda device: 5 * SAMPLE)
    measure(network(), PROBES, Settings(device="cpu"), notice=said.append)
    assert max(fed) == 2
    assert others(said) == ["memory on cpu allows batches of 2, not 16"]
    fed.clear()
    measure(network(), PROBES, Settings(device="cpu", batch_size=7), notice=said.append)
    assert max(fed) == 7  # what is asked for is done


def test_a_limit_that_the_provider_does_not_keep_limits_the_batch(fed, monkeypatch):
    monkeypatch.setitem(devices.DEVICES, "coreml", CPU)
    monkeypatch.setattr("sparsight.inference.batch_memory.free_memory", lambda device: None)
    limit, said = 2 * WEIGHTS + 3 * SAMPLE, []
    settings = Settings(device="coreml", memory_limit=limit, statistics="entropy", batch_size=8)
    measure(network(), PROBES, settings, notice=said.append)
    assert max(fed) == 2
    assert others(said) == ["memory on coreml allows batches of 2, not 8"]


@pytest.mark.parametrize(("given", "fed_first"), [(None, 16), (20, 20)])
def test_a_limit_is_of_no_use_where_shapes_are_unknown(fed, given, fed_first):
    nodes = [node("NonZero", "x", "where"), node("Cast", "where", "found", to=1)]
    nodes += [node("Transpose", "found", "rows", perm=[1, 0]), node("MatMul", "rows w", "y")]
    content = graphs.model(nodes, {"x": ["n", 2]}, ["y"], {"w": graphs.random((2, 5))})
    settings = Settings(["y"], device="cpu", memory_limit=1000, batch_size=given)
    said = []
    measure(content, np.ones((40, 2), np.float32), settings, notice=said.append)
    assert max(fed) == fed_first
    (notice,) = others(said)
    assert notice.endswith(f"{fed_first} at once, whatever the memory limit")


def test_limits_that_make_no_sense():
    with pytest.raises(UsageError, match="memory_limit=0"):
        Settings(memory_limit=0)


def test_a_fixed_batch_stays(fed):
    settings = Settings(device="cpu", memory_limit=1000, batch_size=3)
    measure(network(4), PROBES, settings)
    assert fed == [4, 4, 4]


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_batch_that_does_not_fit_is_halved(cuda, monkeypatch, device):
    run, said = analysis.TapSession.run, []

    def small(session, feeds, count, *options):
        if count > 2:
            raise OutOfMemoryError("too many")
        return run(session, feeds, count, *options)

    monkeypatch.setattr(analysis.TapSession, "run", small)
    settings = Settings(device=device, batch_size=8)
    found = measure(network(), PROBES, settings, notice=said.append)
    assert others(said) == [
        "a batch of 8 samples does not fit into memory; trying 4",
        "a batch of 4 samples does not fit into memory; trying 2",
    ]
    monkeypatch.undo()
    assert_same(found, sparsight.analyze(network(), PROBES, device="cpu"))


def test_one_sample_that_does_not_fit_is_an_error(monkeypatch):
    def full(*_):
        raise OutOfMemoryError("1 samples of the model do not fit")

    monkeypatch.setattr(analysis.TapSession, "run", full)
    with pytest.raises(OutOfMemoryError):
        measure(network(), PROBES, Settings(device="cpu"))
    with pytest.raises(OutOfMemoryError):  # a fixed batch cannot be halved
        measure(network(4), PROBES, Settings(device="cpu"))


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--batch-size", "0"], "--batch-size '0': expected auto or a number, 1 or more"),
        (["--batch-size", "many"], "--batch-size 'many': expected auto or a number, 1 or more"),
        (["--memory-limit", "much"], "cannot read 'much' as an amount of memory"),
    ],
)
def test_options_that_make_no_sense(tmp_path, capsys, options, text):
    (tmp_path / "net.onnx").write_bytes(network())
    np.save(tmp_path / "probes.npy", PROBES)
    files = [str(tmp_path / "net.onnx"), "--probes", str(tmp_path / "probes.npy")]
    assert main(["analyze", *files, "--out", str(tmp_path / "table.csv"), *options]) == 2
    assert text in " ".join(capsys.readouterr().err.split())


def test_options_of_the_command_line(tmp_path, capsys):
    (tmp_path / "net_1.onnx").write_bytes(network())
    (tmp_path / "net_2.onnx").write_bytes(network())
    np.save(tmp_path / "probes.npy", PROBES)
    files = [str(tmp_path), "--probes", str(tmp_path / "probes.npy")]
    files += ["--out", str(tmp_path / "table.csv"), "--device", "cpu"]
    assert main(["analyze", *files, "--batch-size", "auto", "--memory-limit", "17kB"]) == 0
    assert capsys.readouterr().err.count("memory on cpu allows batches of 2, not 16") == 1


def test_without_psutil_the_usual_batch_is_taken(fed, monkeypatch):
    monkeypatch.setitem(sys.modules, "psutil", None)
    sparsight.analyze(network(), PROBES, device="cpu")
    assert fed == [11]

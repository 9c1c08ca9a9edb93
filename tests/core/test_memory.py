"""Amounts of memory, what is free, and the batch that follows from it."""

import sys
import types

import numpy as np
import onnx
import pytest
from tests.core import graphs

from sparsight.devices import CPU, Device
from sparsight.errors import UsageError
from sparsight.footprint import activation_bytes, batch_that_fits, weight_bytes
from sparsight.memory import _of_host, amount, free_memory, parse_amount
from sparsight.model import open_model
from sparsight.taps import find_taps

node = graphs.node
HOST = Device("cpu", CPU)
CUDA = Device("cuda", "CUDAExecutionProvider")


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("2GB", 2 * 10**9),
        ("2gib", 2 * 2**30),
        ("512 MiB", 512 * 2**20),
        ("1.5g", 1_500_000_000),
        (".5k", 500),
        ("1000000", 1_000_000),
        ("1tb", 10**12),
        ("80B", 80),
    ],
)
def test_amounts(text, size):
    assert parse_amount(text) == size


@pytest.mark.parametrize(
    "text", ["", "GB", "-2GB", "2XB", "0", "0.2", "2iB", "2 G i", "1e9", "nan", "9" * 400]
)
def test_what_is_no_amount(text):
    with pytest.raises(UsageError, match="as in 2GB or 512MiB"):
        parse_amount(text)


def test_amounts_for_people():
    assert amount(1_500_000_000) == "1.5 GB"
    assert amount(12_000_000) == "12 MB"


def test_the_host_has_memory():
    assert 2**20 < free_memory(HOST) < 2**50
    assert free_memory(Device("directml", "DmlExecutionProvider")) is None


def test_a_container_may_have_less(tmp_path, monkeypatch):
    (tmp_path / "memory.max").write_text("1000000\n")
    (tmp_path / "memory.current").write_text("700000\n")
    (tmp_path / "memory.stat").write_text("anon 5\ninactive_file 100000\n")
    assert _of_host(tmp_path) == 400_000
    (tmp_path / "memory.current").write_text("2000000\n")
    assert _of_host(tmp_path) == 0
    (tmp_path / "memory.max").write_text("max\n")
    assert _of_host(tmp_path) > 2**20
    assert _of_host(tmp_path / "nothing") > 2**20
    monkeypatch.setitem(sys.modules, "psutil", None)
    assert _of_host(tmp_path) is None


@pytest.fixture
def driver(monkeypatch):
    """NVIDIA's bindings, with two GPUs and one that was cut out of a third."""
    module = types.ModuleType("pynvml")
    free = {0: 10, 1: 20, "MIG-1": 30}
    module.NVMLError = type("NVMLError", (Exception,), {})
    module.calls = []
    module.nvmlInit = lambda: module.calls.append("init")
    module.nvmlShutdown = lambda: module.calls.append("shutdown")

    def handle(key):
        if key not in free:
            raise module.NVMLError("Not Found")
        return key

    module.nvmlDeviceGetHandleByIndex = handle
    module.nvmlDeviceGetHandleByUUID = handle
    module.nvmlDeviceGetMemoryInfo = lambda key: types.SimpleNamespace(free=free[key])
    monkeypatch.setitem(sys.modules, "pynvml", module)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return module


@pytest.mark.parametrize(
    ("visible", "number", "wanted"),
    [
        (None, 0, 10),
        (None, 1, 20),
        (None, 2, None),
        ("1", 0, 20),
        ("1,0", 1, 10),
        ("MIG-1", 0, 30),
        ("1", 1, None),
        ("", 0, None),
    ],
)
def test_free_memory_of_gpus(driver, monkeypatch, visible, number, wanted):
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert free_memory(Device("cuda", "CUDAExecutionProvider", number)) == wanted
    assert driver.calls == ["init", "shutdown"]


def test_without_the_drivers_bindings(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert free_memory(CUDA) is None


# -- batches


def test_batches_by_what_is_free(driver, monkeypatch):
    fits = [batch_that_fits(CUDA, size, 0) for size in (1, 2, 4, 100)]
    assert fits == [4, 2, 1, 1]  # half of the 10 bytes that are free, and powers of two
    assert batch_that_fits(CUDA, None, 0) == 16
    driver.nvmlDeviceGetMemoryInfo = lambda key: types.SimpleNamespace(free=10**12)
    assert batch_that_fits(CUDA, 1000, 0) == 64
    assert batch_that_fits(HOST, 1, 0) == 16
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert batch_that_fits(CUDA, 1000, 0) == 16  # nobody tells


def test_batches_by_a_limit(monkeypatch):
    assert batch_that_fits(HOST, 10, weights=20, limit=100) == 6
    assert batch_that_fits(HOST, 10, weights=100, limit=100) == 1
    assert batch_that_fits(HOST, None, weights=0, limit=100) == 16
    monkeypatch.setitem(sys.modules, "psutil", None)
    assert batch_that_fits(HOST, 10, weights=20, limit=100) == 6


def test_bytes_of_a_sample():
    content = graphs.model(
        [node("Conv", "x a.weight", "a", pads=[1] * 4), node("Relu", "a", "y")],
        {"x": ["n", 3, "h", "w"]},
        ["y"],
        {"a.weight": graphs.random((8, 3, 3, 3))},
    )
    model = open_model(content)
    taps = find_taps(model).taps
    values = 8 * 5 * 7
    assert activation_bytes(model, taps, {"x": (1, 3, 5, 7)}) == (2 + 6) * values * 4
    assert activation_bytes(model, taps, {}) is None  # the sides of the map are anything
    assert weight_bytes(model) == 8 * 3 * 3 * 3 * 4


def test_shapes_that_nobody_infers_have_no_size():
    nodes = [node("NonZero", "x", "where"), node("Cast", "where", "found", to=1)]
    nodes += [node("Transpose", "found", "rows", perm=[1, 0]), node("MatMul", "rows w", "y")]
    weights = {"w": graphs.random((2, 5))}
    model = open_model(graphs.model(nodes, {"x": ["n", 4]}, ["y"], weights))
    assert activation_bytes(model, find_taps(model).taps, {"x": (1, 4)}) is None


def test_shapes_that_the_model_fixes_to_another_batch():
    content = graphs.passing(2, 3)
    proto = onnx.ModelProto.FromString(content)
    told = onnx.helper.make_tensor_value_info("layer_out", 1, [5, 3])
    proto.graph.value_info.append(told)
    model = open_model(proto)
    found = activation_bytes(model, find_taps(model).taps, {"x": (1, 3)})
    assert found == (3 * 3 + 6 * 3) * 4
    assert np.prod(model.inferred["layer_out"]) == 15  # what the model says stays what it says

"""Amounts of memory, what is free, and the batch that follows from it."""

import sys
import types

import numpy as np
import onnx
import pytest
from tests.core import graphs

from sparsight.errors import UsageError
from sparsight.graph.model import open_model
from sparsight.graph.taps import find_taps
from sparsight.inference.batch_memory import activation_bytes, batch_that_fits, weight_bytes
from sparsight.system.devices import CPU, Device
from sparsight.system.memory import _of_host, amount, free_memory, parse_amount

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
    with pytest.raises(UsageError, match="2GB or 512MiB"):
        parse_amount(text)


def test_amounts_for_people():
    assert amount(1_500_000_000) == "1.5 GB"
    assert amount(12_000_000) == "12 MB"


def test_the_host_has_memory():
    assert 2**20 < free_memory(HOST) < 2**50
    assert free_memory(Device("directml", "DmlExecutionProvider")) is None


def put(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{text}\n")


def test_a_container_may_have_less(tmp_path, monkeypatch):
    put(tmp_path / "proc/self/cgroup", "0::/")
    group = tmp_path / "sys/fs/cgroup"
    put(group / "memory.max", 1_000_000)
    put(group / "memory.current", 700_000)
    put(group / "memory.stat", "anon 5\ninactive_file 100000")
    assert _of_host(tmp_path) == 400_000
    put(group / "memory.current", 2_000_000)
    assert _of_host(tmp_path) == 0
    put(group / "memory.max", "max")
    assert _of_host(tmp_path) > 2**20
    assert _of_host(tmp_path / "nothing") > 2**20
    monkeypatch.setitem(sys.modules, "psutil", None)
    assert _of_host(tmp_path) is None


def test_a_job_of_a_cluster_may_have_less(tmp_path):
    """The limit stands above the process's own control group."""
    put(tmp_path / "proc/self/cgroup", "0::/slurm/job_7/step_0")
    job = tmp_path / "sys/fs/cgroup/slurm/job_7"
    for group, limit in ((job, 900_000), (job / "step_0", "max")):
        put(group / "memory.max", limit)
        put(group / "memory.current", 100_000)
        put(group / "memory.stat", "anon 5")
    assert _of_host(tmp_path) == 800_000


def test_control_groups_of_version_1(tmp_path):
    """A container that sees its own group as the topmost, though the path is the host's."""
    put(tmp_path / "proc/self/cgroup", "12:cpu,cpuacct:/docker/a:b\n9:memory:/docker/a:b\n0::/")
    group = tmp_path / "sys/fs/cgroup/memory"
    put(group / "memory.limit_in_bytes", 1_000_000)
    put(group / "memory.usage_in_bytes", 300_000)
    put(group / "memory.stat", "total_rss 7\ntotal_inactive_file 50000\ninactive_file 1")
    assert _of_host(tmp_path) == 750_000
    put(group / "memory.limit_in_bytes", 9223372036854771712)  # that is no limit
    assert _of_host(tmp_path) > 2**20


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

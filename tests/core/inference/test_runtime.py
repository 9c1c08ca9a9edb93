"""Opening and running models: IO binding, memory that ends, devices that do not load."""

import os
import subprocess
import sys
import types

import numpy as np
import onnx
import onnxruntime
import pytest
from tests.core import graphs

from sparsight.cli import main
from sparsight.errors import DeviceError, ModelError
from sparsight.inference.runtime import Program, Session, _is_of_memory, provider_report
from sparsight.system import devices
from sparsight.system.devices import CPU, Device, candidates, providers

node = graphs.node
NETWORK = graphs.model(
    [
        node("Conv", "x w", "a"),
        node("Relu", "a", "b"),
        node("Shape", "b", "sides"),
        node("Cast", "sides", "shape", to=1),
        node("GlobalAveragePool", "b", "y"),
    ],
    {"x": ["n", 3, "h", "w"]},
    ["y", "b", "shape"],
    {"w": graphs.random((4, 3, 3, 3))},
)


# -- IO binding


def assert_same_run(content, names, batches, **options):
    """Bound and plain runs give the same, batch after batch."""
    plain = Session(Program(content), "cpu", bound=False)
    bound = Session(Program(content), "cpu", bound=True, **options)
    for feeds in batches:
        wanted, found = plain.run(names, feeds, ""), bound.run(names, feeds, "")
        for one, other in zip(wanted, found, strict=True):
            np.testing.assert_array_equal(one, other)
            assert one.dtype == other.dtype
    return bound


def test_bound_runs_give_the_same_whatever_the_shapes():
    shapes = [(4, 3, 8, 8), (4, 3, 8, 8), (3, 3, 8, 8), (3, 3, 6, 9), (4, 3, 8, 8)]
    batches = [{"x": graphs.random(shape, seed=i)} for i, shape in enumerate(shapes)]
    assert_same_run(NETWORK, ["y", "shape", "b"], batches)


def test_a_buffer_is_used_again_while_the_shape_stays():
    session = Session(Program(NETWORK), "cpu", bound=True)
    first, second = graphs.random((4, 3, 8, 8)), graphs.random((4, 3, 8, 8), seed=1)
    (kept,) = session.run(["y"], {"x": first}, "")
    (buffer,) = session._buffers.values()
    before = kept.copy()
    session.run(["y"], {"x": second}, "")
    assert session._buffers["x"] is buffer
    np.testing.assert_array_equal(kept, before)  # results are nobody's buffer
    session.run(["y"], {"x": first[:3]}, "")
    assert session._buffers["x"] is not buffer


def test_arrays_in_any_order_of_bytes():
    values = graphs.random((4, 8, 8, 3))
    feeds = {"x": np.moveaxis(values, -1, 1)}
    assert not feeds["x"].flags.c_contiguous
    assert_same_run(NETWORK, ["y"], [feeds, feeds])


@pytest.mark.parametrize("dtype", ["float16", "float64", "int64", "int8", "uint8", "bool"])
def test_inputs_of_any_type(dtype):
    kind = onnxruntime.OrtValue.ortvalue_from_numpy(np.zeros(1, dtype)).element_type()
    content = graphs.model([node("Identity", "x", "y")], {"x": ["n", 3]}, ["y"], element_type=kind)
    values = (graphs.random((5, 3)) * 3).astype(dtype)
    bound = assert_same_run(content, ["y"], [{"x": values}, {"x": values[:2]}])
    assert set(bound._buffers) == {"x"}


def test_scalar_inputs():
    content = graphs.model([node("Mul", "x s", "y")], {"x": ["n", 3], "s": []}, ["y"])
    feeds = {"x": graphs.random((5, 3)), "s": np.array(2, np.float32)}
    assert_same_run(content, ["y"], [feeds, feeds])


def test_text_is_not_bound_and_runs_all_the_same():
    content = graphs.model([node("Identity", "x", "y")], {"x": ["n"]}, ["y"], element_type=8)
    for text in (np.array(["a", "bc"]), np.array(["a", "bc"], object)):
        bound = assert_same_run(content, ["y"], [{"x": text}])
        assert not bound._buffers


@pytest.mark.parametrize("bound", [False, True])
def test_bfloat16_inputs(bound):
    """numpy has no such type, and ONNX Runtime takes no array of ml_dtypes' as it is."""
    nodes = [node("Cast", "x", "a", to=1), node("Mul", "a s", "y")]
    content = graphs.model(nodes, {"x": ["n", 3], "s": []}, ["y"])
    proto = onnx.ModelProto.FromString(content)
    proto.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.BFLOAT16
    kind = onnx.helper.tensor_dtype_to_np_dtype(onnx.TensorProto.BFLOAT16)
    values = graphs.random((3, 5))
    feeds = {"x": values.astype(kind).T, "s": np.array(2, np.float32)}
    session = Session(Program(proto.SerializeToString()), "cpu", bound=bound)
    (found,) = session.run(["y"], feeds, "")
    np.testing.assert_array_equal(found, 2 * values.astype(kind).T.astype(np.float32))


def test_only_accelerators_bind_unless_told():
    assert not Session(Program(NETWORK), "cpu")._bound


def test_bound_runs_that_fail_say_so():
    session = Session(Program(NETWORK, source="net.onnx"), "cpu", bound=True)
    with pytest.raises(ModelError, match=r"cannot run net\.onnx"):
        session.run(["y"], {"x": graphs.random((4, 2, 8, 8))}, "")


# -- memory that ends


@pytest.mark.parametrize(
    "text",
    [
        "CUDA failure 2: out of memory ; GPU=0 ; hostname=h ; file=cuda_allocator.cc",
        "Non-zero status code returned while running Conv node. BFCArena::AllocateRawInternal "
        "Failed to allocate memory for requested buffer of size 1048576",
        "Available memory of 4 is smaller than requested bytes of 1048576",
        "CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED",
        "CUDNN failure 4: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
        "Non-zero status code returned while running Add node. std::bad_alloc",
        "8007000E Not enough memory resources are available to complete this operation.",
    ],
)
def test_what_is_said_where_memory_ends(text):
    assert _is_of_memory(RuntimeError(text))
    assert not _is_of_memory(RuntimeError("Got invalid dimensions for input: x"))


LIMITED = """
import resource, sys, weakref
from pathlib import Path
import numpy as np
from tests.core import graphs
from sparsight.inference import runtime
from sparsight.errors import OutOfMemoryError

node = graphs.node
nodes = [node("Conv", "x v", "a", pads=[1] * 4), node("Relu", "a", "b")]
nodes += [node("Conv", "b w", "c", pads=[1] * 4), node("GlobalAveragePool", "c", "y")]
weights = {"v": graphs.random((64, 3, 3, 3)), "w": graphs.random((64, 64, 3, 3))}
program = runtime.Program(graphs.model(nodes, {"x": ["n", 3, 48, 48]}, ["y"], weights, 13))
session = runtime.Session(program, "cpu", bound=sys.argv[1] == "bound")
samples = graphs.random((128, 3, 48, 48))
(wanted,) = runtime.Session(program, "cpu").run(["y"], {"x": samples[:4]}, "")

size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + 200 * 2**20, resource.RLIM_INFINITY))
number = 128
while True:
    inner = weakref.ref(session._session) if session._session else None
    try:
        (found,) = session.run(["y"], {"x": samples[:number]}, f"{number} samples")
        break
    except OutOfMemoryError as error:
        # also while the error is at hand
        assert inner is None or inner() is None, "the session that failed lives on"
        assert not session._buffers
        print(error)
    number //= 2
np.testing.assert_allclose(found[:4], wanted, rtol=1e-5)
print("runs", len(found) < 128)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits its own address space")
@pytest.mark.parametrize("how", ["plain", "bound"])
def test_a_batch_that_does_not_fit_leaves_nothing_behind(how):
    finished = subprocess.run(
        [sys.executable, "-c", LIMITED, how],
        capture_output=True,
        text=True,
        # address space that malloc reserves for arenas of its own would count as well
        env={**os.environ, "MALLOC_ARENA_MAX": "1"},
    )
    assert finished.returncode == 0, finished.stderr
    lines = finished.stdout.splitlines()
    said = "128 samples do not fit into the memory of cpu; give a smaller --batch-size"
    assert lines[0] == said
    assert lines[-1] == "runs True"


# -- devices


def test_options_of_providers():
    available = ["TensorrtExecutionProvider", "CUDAExecutionProvider", CPU]
    (cuda,) = candidates("cuda:1", available, 2 * 10**9)
    assert cuda.options == {
        "device_id": "1",
        "cudnn_conv_algo_search": "HEURISTIC",
        "arena_extend_strategy": "kSameAsRequested",
        "gpu_mem_limit": "2000000000",
    }
    assert cuda.memory == ("cuda", 1)
    assert [name for name, _ in providers(cuda, available)] == [available[1], CPU]
    (tensorrt,) = candidates("tensorrt", available, 10**9)
    chain = providers(tensorrt, available)
    assert [name for name, _ in chain] == available  # CUDA has what TensorRT lacks
    assert chain[0][1] == {"device_id": "0", "trt_max_workspace_size": "1000000000"}
    assert chain[1][1]["gpu_mem_limit"] == "1000000000"
    (cpu,) = candidates("cpu", available, 10**9)
    assert providers(cpu, available) == [(CPU, {})]
    (unlimited,) = candidates("cuda", available)
    assert "gpu_mem_limit" not in unlimited.options
    (directml,) = candidates("directml", ["DmlExecutionProvider", CPU])
    assert directml.memory == ("cpu", 0)
    assert not directml.supports_float64


@pytest.fixture
def without_cuda(monkeypatch):
    """A GPU wheel on a machine without CUDA: the provider is listed, and falls away unsaid."""
    wheel = types.ModuleType("onnxruntime")
    vars(wheel).update(vars(onnxruntime))

    def preload_dlls():
        print("Failed to load libcudart.so.12: no such file")

    def session(content, options, providers, **others):
        return onnxruntime.InferenceSession(content, options, providers=[CPU], **others)

    wheel.get_available_providers = lambda: ["CUDAExecutionProvider", CPU]
    wheel.preload_dlls = preload_dlls
    wheel.InferenceSession = session
    monkeypatch.setitem(sys.modules, "onnxruntime", wheel)


def test_asked_for_and_not_there_says_why(without_cuda, capsys):
    with pytest.raises(DeviceError, match=r"'cuda' was asked for and does not load: .*libcudart"):
        Session(Program(NETWORK), "cuda")
    session = Session(Program(NETWORK), "auto")
    assert session.device.name == "cpu"
    (reason,) = session.passed_over
    assert reason.startswith("cuda: ")
    assert "libcudart.so.12" in reason
    assert "fell back to CPUExecutionProvider" in reason
    _, report = provider_report()
    assert report[CPU] is None
    assert "libcudart.so.12" in report["CUDAExecutionProvider"]
    assert capsys.readouterr().out == ""


def test_auto_says_what_it_took(without_cuda, tmp_path, capsys):
    (tmp_path / "net.onnx").write_bytes(graphs.passing(2, 3))
    np.save(tmp_path / "probes.npy", graphs.random((4, 3)))
    files = [str(tmp_path / "net.onnx"), "--probes", str(tmp_path / "probes.npy")]
    assert main(["analyze", *files, "--out", str(tmp_path / "table.csv")]) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert said.count("device: auto took cpu; passed over cuda: Failed to load libcudart") == 1


def test_a_model_that_no_device_runs_is_not_the_devices_fault(monkeypatch):
    monkeypatch.setitem(devices.DEVICES, "coreml", CPU)
    content = graphs.model(
        [node("Teleport", "x", "y", domain="no")], {"x": [1]}, ["y"], {}, 18, 1, ["no"]
    )
    with pytest.raises(ModelError, match=r"on coreml: .*Teleport"):
        Session(Program(content), "coreml")


def test_operators_that_ran_elsewhere(monkeypatch):
    """The CPU's wheel holds a provider that takes nothing."""
    report = provider_report()[1]
    if "AzureExecutionProvider" not in report:
        pytest.skip("no provider without operators in this ONNX Runtime")
    if not hasattr(onnxruntime.InferenceSession, "get_provider_graph_assignment_info"):
        pytest.skip("this ONNX Runtime does not tell where operators run")
    assert report["AzureExecutionProvider"].startswith("it loads, and leaves even an addition")
    assert Session(Program(graphs.passing(2, 3)), "cpu").elsewhere is None
    monkeypatch.setitem(devices.DEVICES, "coreml", CPU)
    assert Session(Program(graphs.passing(2, 3)), "coreml").elsewhere == {}
    monkeypatch.setitem(devices.DEVICES, "coreml", "AzureExecutionProvider")
    assert Session(Program(graphs.passing(2, 3)), "coreml").elsewhere == {"Gemm": 2, "Relu": 1}


def test_names_of_devices():
    assert Device("cuda", "CUDAExecutionProvider", 2).name == "cuda:2"
    assert Device("cpu", CPU).name == "cpu"
    assert not Device("cpu", CPU).accelerator

"""Files that lie: one sentence, in bounded time and memory, and never a crash."""

import contextlib
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from tests.core import graphs
from tests.core.small_cnn import PROBES, network

import sparsight
from sparsight.errors import SparsightError
from sparsight.graph.model import open_model
from sparsight.graph.taps import filters, find_taps

node = graphs.node
CONTENT = network()

CHILD = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (4 * 2**30, 4 * 2**30))
resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
from sparsight.cli import main
sys.exit(main(sys.argv[1:]))
"""


def run(folder: Path, model: bytes | None = None, command: str = "analyze"):
    """The command line in a process of its own, with 4 GB and a minute of the CPU."""
    if model is not None:
        (folder / "model.onnx").write_bytes(model)
    np.savez(folder / "probes.npz", x=PROBES)
    arguments = [command, "model.onnx"]
    if command == "analyze":
        arguments += ["--probes", "probes.npz", "--logdir", "run", "--device", "cpu"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-c", CHILD, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        env=environment,
    )


def assert_one_sentence(finished, text=""):
    lines = [line for line in finished.stderr.splitlines() if line.startswith("sparsight: ")]
    assert finished.returncode == 2, finished.stderr[-2000:]
    assert len(lines) == 1, finished.stderr
    assert "Traceback" not in finished.stderr
    assert text in lines[0]


def changed(change) -> bytes:
    proto = onnx.ModelProto.FromString(CONTENT)
    change(proto)
    return proto.SerializeToString()


def weight(proto, name="conv1.weight"):
    return next(tensor for tensor in proto.graph.initializer if tensor.name == name)


def cyclic(proto):
    proto.graph.node[0].input[0] = "d"


def dangling(proto):
    proto.graph.node[2].input[0] = "nowhere"


def twice(proto):
    proto.graph.node[2].output[0] = "a"


def lying_dims(proto):
    weight(proto).dims[0] = 5000


def negative_dims(proto):
    weight(proto).dims[0] = -5


def huge_header(proto):
    tensor = weight(proto)
    del tensor.dims[:]
    tensor.dims.extend([2_500_000, 1000, 1, 1])
    tensor.raw_data = b""


def unknown_type(proto):
    weight(proto).data_type = 999


def lying_shapes(proto):
    value = helper.make_tensor_value_info("a", TensorProto.FLOAT, ["n", 5, 77, 77])
    proto.graph.value_info.append(value)


def no_outputs(proto):
    del proto.graph.output[:]


def no_opset(proto):
    proto.opset_import[0].domain = "elsewhere"


def future_opset(proto):
    proto.opset_import[0].version = 9999


def unknown_operator(proto):
    proto.graph.node[1].op_type = "Teleport"


def string_input(proto):
    proto.graph.input[0].type.tensor_type.elem_type = TensorProto.STRING


def sequence_input(proto):
    kind = helper.make_tensor_type_proto(TensorProto.FLOAT, None)
    proto.graph.input[0].type.CopyFrom(helper.make_sequence_type_proto(kind))


def huge_constant(proto):
    shape = helper.make_tensor("s", TensorProto.INT64, [4], [2_500_000, 1000, 1, 1])
    proto.graph.initializer.append(shape)
    del weight(proto).dims[:]
    proto.graph.initializer.remove(weight(proto))
    proto.graph.node.insert(0, node("ConstantOfShape", "s", "conv1.weight"))


def long_list(proto):
    """Shape inference follows the numbers of lists, which shapes may be made of."""
    length = helper.make_tensor("length", TensorProto.INT64, [1], [2**40])
    proto.graph.initializer.append(length)
    proto.graph.node.insert(0, node("ConstantOfShape", "length", "list"))
    proto.graph.node.insert(1, node("Slice", "list length length", "part"))
    proto.graph.node[2].input[0] = "part"


def long_input(proto):
    value = helper.make_tensor_value_info("list", TensorProto.INT64, [2**40])
    proto.graph.input.append(value)
    proto.graph.node.insert(0, node("Slice", "list list list", "part"))


def long_tensor(proto):
    tensor = helper.make_tensor("list", TensorProto.INT64, [1], [1])
    tensor.dims[0] = 2**62
    proto.graph.initializer.append(tensor)
    proto.graph.node.insert(0, node("Slice", "list list list", "part"))


def no_node_outputs(proto):
    del proto.graph.node[0].output[:]


def missing_inputs(proto):
    del proto.graph.node[0].input[:]


def _computed_weights(proto, *made, **stored):
    """The weights of the first layer are what these nodes make."""
    stored |= {"huge": [2**31, 2**31], "deep": [2**14, 2**14], "shape": [5, 2, 3, 3]}
    for name, numbers in stored.items():
        numbers = np.asarray(numbers, np.int64)
        proto.graph.initializer.append(onnx.numpy_helper.from_array(numbers, name))
    kept = weight(proto)
    kept.name = "w"
    for place, part in enumerate(made):
        proto.graph.node.insert(place, part)


def expanded_weights(proto):
    """Exabytes, of which some are taken."""
    _computed_weights(
        proto,
        node("Cast", "one", "f", to=TensorProto.FLOAT),
        node("Expand", "f huge", "e"),
        node("Slice", "e from to", "part"),
        node("Reshape", "part shape", "conv1.weight"),
        **{"one": [[1]], "from": [0, 0], "to": [9, 10]},
    )


def doubled_weights(proto):
    """A thousand times twice as wide."""
    tiles = [node("Tile", f"t{n} twice", f"t{n + 1}") for n in range(60)]
    _computed_weights(
        proto,
        node("Reshape", "w flat", "t0"),
        *tiles,
        node("Slice", "t60 from to", "part"),
        node("Reshape", "part shape", "conv1.weight"),
        **{"flat": [-1], "twice": [2], "from": [0], "to": [90]},
    )


def endless_weights(proto):
    """A Loop without an end."""
    body = helper.make_graph(
        [node("Identity", "c", "c_out"), node("Identity", "v", "v_out")],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("c", TensorProto.BOOL, []),
            helper.make_tensor_value_info("v", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("c_out", TensorProto.BOOL, []),
            helper.make_tensor_value_info("v_out", TensorProto.FLOAT, None),
        ],
    )
    made = node("Loop", "- yes w", "conv1.weight", body=body)
    _computed_weights(proto, node("Cast", "one", "yes", to=TensorProto.BOOL), made, one=1)


def circular_weights(proto):
    _computed_weights(
        proto, node("Add", "w other", "conv1.weight"), node("Neg", "conv1.weight", "other")
    )


COMPUTED = {f.__name__: f for f in (
    expanded_weights, doubled_weights, endless_weights, circular_weights,
)}  # fmt: skip


@pytest.mark.parametrize("name", COMPUTED)
def test_weights_that_ask_for_too_much(name, tmp_path):
    """Listed in bounded time and memory; ONNX Runtime is not asked to compute them here."""
    (tmp_path / "model.onnx").write_bytes(changed(COMPUTED[name]))
    listed = run(tmp_path, command="taps")
    assert listed.returncode in (0, 2), listed.stderr[-2000:]
    assert "Traceback" not in listed.stderr
    attempt(changed(COMPUTED[name]))


DAMAGE = {f.__name__: f for f in (
    cyclic, dangling, twice, lying_dims, negative_dims, huge_header, unknown_type, lying_shapes,
    no_outputs, no_opset, future_opset, unknown_operator, string_input, sequence_input,
    huge_constant, long_list, long_input, long_tensor, no_node_outputs, missing_inputs,
)}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGE)
def test_damaged_models(name, tmp_path):
    assert_one_sentence(run(tmp_path, changed(DAMAGE[name])))
    listed = run(tmp_path, command="taps")
    assert listed.returncode in (0, 2)
    assert "Traceback" not in listed.stderr


@pytest.mark.parametrize(
    "location",
    [
        *("/etc/passwd", "../secret.bin", "a/../../secret.bin", "link.bin", "", "no.bin"),
        *("no\0name.bin", "\0"),
    ],
)
def test_external_data_stays_in_the_models_folder(location, tmp_path):
    inside = tmp_path / "inside"
    inside.mkdir()
    (tmp_path / "secret.bin").write_bytes(bytes(10_000))
    (inside / "link.bin").symlink_to(tmp_path / "secret.bin")

    def outside(proto):
        tensor = weight(proto)
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", location), ("offset", "0"), ("length", "360")):
            tensor.external_data.add(key=key, value=value)

    finished = run(inside, changed(outside))
    assert_one_sentence(finished)
    if location != "no.bin":
        assert "outside the model's folder" in finished.stderr
        assert not (inside / "run").exists()


def test_external_data_that_is_there(tmp_path):
    proto = onnx.ModelProto.FromString(CONTENT)
    onnx.save_model(
        proto,
        tmp_path / "model.onnx",
        save_as_external_data=True,
        location="w.bin",
        size_threshold=0,
    )
    assert run(tmp_path).returncode == 0
    measured = sparsight.analyze(tmp_path / "model.onnx", PROBES, device="cpu")
    wanted = sparsight.analyze(CONTENT, PROBES, device="cpu")
    np.testing.assert_array_equal(measured.to_numpy(), wanted.to_numpy())
    with pytest.raises(SparsightError, match="in another file"):
        sparsight.analyze((tmp_path / "model.onnx").read_bytes(), PROBES)


def attempt(content: bytes) -> None:
    """What is read of a model before ONNX Runtime sees it either works or is refused, soon."""
    start = time.process_time()  # what others do on the machine does not count
    with contextlib.suppress(SparsightError):
        model = open_model(content)
        for tap in find_taps(model).taps:
            filters(model, tap)
        _ = model.inferred
    assert time.process_time() - start < 2


def test_what_is_no_text_in_metadata_is_left_alone():
    """Only names have to be text."""
    proto = onnx.ModelProto.FromString(CONTENT)
    for made in proto.graph.node:
        made.metadata_props.add(key="pkg.torch.onnx.name_scopes", value="0000")
    content = proto.SerializeToString().replace(b"0000", b"\xff\xfe\xfd\xfc")
    assert find_taps(open_model(content)).taps == find_taps(open_model(CONTENT)).taps


@settings(max_examples=150)
@given(st.integers(0, len(CONTENT)))
def test_cut_short(length):
    attempt(CONTENT[:length])


@settings(max_examples=300)
@given(st.lists(st.tuples(st.integers(0, len(CONTENT) - 1), st.integers(0, 255)), max_size=8))
def test_changed_bytes(changes):
    content = bytearray(CONTENT)
    for position, value in changes:
        content[position] = value
    attempt(bytes(content))


@settings(max_examples=100)
@given(st.binary(max_size=300))
def test_any_bytes(content):
    attempt(content)


def test_changed_bytes_through_the_command_line(tmp_path):
    """A few whole runs: ONNX Runtime reads the file as well."""
    random = np.random.default_rng(1)
    head = CONTENT.replace(graphs.random((6, 5, 3, 3), seed=2).tobytes(), b"")
    for _ in range(6):
        content = bytearray(head)
        for position in random.integers(0, len(head), 6):
            content[position] = random.integers(0, 256)
        finished = run(tmp_path, bytes(content))
        assert finished.returncode in (0, 2), finished.stderr[-2000:]
        assert "Traceback" not in finished.stderr


def test_the_limits_of_the_child_are_real():
    assert resource.getrlimit(resource.RLIMIT_AS)[0] != 4 * 2**30

"""ONNX Runtime: a model is opened on a device, and run. Nothing else imports it."""

from __future__ import annotations

import contextlib
import io
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper

from ..errors import DeviceError, MissingExtraError, ModelError, OutOfMemoryError
from ..system.devices import CPU, Device, candidates, device_of, providers

__all__ = ["Program", "Session", "provider_report"]

Arrays = Mapping[str, NDArray[Any]]

_SMALL_MODEL = 2**21  # bytes: below it a second thread costs more than it brings

_MEMORY = (  # what allocators, cuBLAS, cuDNN and DirectML say, in small letters
    "failed to allocate memory",
    "out of memory",
    "bad allocation",
    "bad_alloc",
    "smaller than requested bytes",
    "alloc_failed",
    "allocation_failed",
    "not enough memory",
)


@dataclass(frozen=True)
class Program:
    """What is run: the bytes of a model, and where the numbers of its weights are."""

    content: bytes
    weights: Arrays = field(default_factory=dict)
    """Of initializers that lie "elsewhere" (see `weights.moved_out`)."""
    folder: Path | None = None
    """Where other external data lies."""
    source: str = "the model"
    """What to call it in messages."""

    @property
    def size(self) -> int:
        """Bytes, weights included."""
        return len(self.content) + sum(array.nbytes for array in self.weights.values())


class Session:
    """A program on a device.

    `threads` for the CPU are as many as there are cores, one for a small model; `memory_limit` is
    in bytes. `bound` inputs are written into buffers that stay where they are from batch to batch,
    on the device if it has memory of its own: so on accelerators, unless told otherwise. On the
    CPU, where ONNX Runtime reads arrays in place, it brings nothing (.97 to 1.03 of the time on
    three networks). Raises DeviceError where the device is
    not there, ModelError where ONNX Runtime cannot run the program, OutOfMemoryError where its
    weights do not fit, MissingExtraError where there is no ONNX Runtime.
    """

    def __init__(
        self,
        program: Program,
        device: str = "auto",
        *,
        threads: int | None = None,
        memory_limit: int | None = None,
        bound: bool | None = None,
    ) -> None:
        self._program = program
        self._threads = threads
        self.passed_over: list[str] = []
        """Devices that "auto" could not take, each with the reason."""
        self.device, self._session = self._take(device, memory_limit)
        self._bound = self.device.accelerator if bound is None else bound
        self._buffers: dict[str, Any] = {}

    def run(self, names: Sequence[str], feeds: Arrays, what: str) -> list[NDArray[Any]]:
        """The outputs of these names. Raises OutOfMemoryError if `what` ("16 samples of ...") is
        too large for the device, ModelError if the program fails otherwise.

        After an OutOfMemoryError the session has let go of all its memory: the arena of a run that
        failed stays full of holes. The next run opens it anew.
        """
        if self._session is None:
            self._session = self._opened()
        try:
            if self._bound and all(map(_can_be_bound, feeds.values())):
                return self._run_bound(names, feeds)
            if any(array.dtype.kind == "V" for array in feeds.values()):
                return self._run_reinterpreted(names, feeds)
            return list(self._session.run(list(names), dict(feeds)))
        except Exception as error:  # of ONNX Runtime's own types, which share no base
            if not _is_of_memory(error):
                source = self._program.source
                raise ModelError(f"ONNX Runtime cannot run {source}: {_line(error)}") from None
        # Not within the handler: the frames of the error's context would keep the session alive.
        self.close()
        raise OutOfMemoryError(
            f"{what} do not fit into the memory of {self.device.name}; give a smaller --batch-size"
        )

    def close(self) -> None:
        """Let go of the device's memory; the next run opens the session anew."""
        self._buffers.clear()
        self._session = None

    @property
    def elsewhere(self) -> Mapping[str, int] | None:
        """Operators that the device's provider left to others, and how many of each.

        Which node runs where is known of accelerators, and to newer versions of ONNX Runtime (1.24
        on); else None.
        """
        return _elsewhere(self._session, self.device)

    def _run_bound(self, names: Sequence[str], feeds: Arrays) -> list[NDArray[Any]]:
        """With IO binding: inputs are copied into buffers once, outputs arrive on the host.

        Everything is bound for each run: an input that a node on the CPU reads is copied when it is
        bound, and an output of the run before would be taken for a buffer of the right shape.
        """
        binding = self._session.io_binding()
        for name, array in feeds.items():
            binding.bind_ortvalue_input(name, self._buffer(name, array))
        for name in names:
            binding.bind_output(name, "cpu")
        self._session.run_with_iobinding(binding)
        return list(binding.copy_outputs_to_cpu())

    def _run_reinterpreted(self, names: Sequence[str], feeds: Arrays) -> list[NDArray[Any]]:
        """For types that numpy does not have, as bfloat16: ONNX Runtime refuses arrays of them, and
        takes their bytes if it is told the type."""
        values = {}
        for name, array in feeds.items():
            kind = helper.np_dtype_to_tensor_dtype(array.dtype)
            raw = np.ascontiguousarray(array).reshape(array.shape)
            raw = raw.view(f"u{array.itemsize}") if array.dtype.kind == "V" else raw
            make = _runtime().OrtValue.ortvalue_from_numpy_with_onnx_type
            values[name] = make(raw, kind)
        return [value.numpy() for value in self._session.run_with_ort_values(list(names), values)]

    def _buffer(self, name: str, array: NDArray[Any]) -> Any:
        """A buffer with the numbers of an array: that of the last batch, if the shape is still the
        same."""
        values, kind = _runtime().OrtValue, helper.np_dtype_to_tensor_dtype(array.dtype)
        buffer = self._buffers.get(name)
        if buffer is None or tuple(buffer.shape()) != array.shape:
            buffer = values.ortvalue_from_shape_and_type(array.shape, kind, *self.device.memory)
            self._buffers[name] = buffer
        buffer.update_inplace(np.ascontiguousarray(array))
        return buffer

    def _take(self, wanted: str, memory_limit: int | None) -> tuple[Device, Any]:
        """The first device that works, of those that are wanted, and an open session on it."""
        for device in candidates(wanted, _runtime().get_available_providers(), memory_limit):
            session, failure = self._try(device)
            if session is not None:
                return device, session
            if wanted != "auto":
                raise DeviceError(
                    f"device {wanted!r} does not load: {failure}; "
                    "`sparsight doctor` shows what does"
                )
            self.passed_over.append(f"{device.name}: {failure}")
        raise DeviceError(f"no device works: {'; '.join(self.passed_over)}")

    def _try(self, device: Device) -> tuple[Any, str]:
        """An open session, or why the device does not load.

        Raises ModelError or OutOfMemoryError where it does, and the program is what does not work.
        """
        self.device = device
        try:
            with _listening(device) as heard:
                session = self._opened()
        except (ModelError, OutOfMemoryError):
            failure = _trial(device)
            if failure is None:
                raise
            return None, failure
        if session.get_providers()[0] == device.provider:
            return session, ""
        return None, _reason(heard, session)

    def _opened(self) -> Any:
        program, device = self._program, self.device
        try:
            return _open(program, device, self._threads)
        except Exception as error:
            if _is_of_memory(error):
                raise OutOfMemoryError(
                    f"{program.source} does not fit into the memory of {device.name}"
                ) from None
            raise ModelError(
                f"ONNX Runtime cannot run {program.source} on {device.name}: {_line(error)}"
            ) from None


def _elsewhere(session: Any, device: Device) -> Mapping[str, int] | None:
    tell = getattr(session, "get_provider_graph_assignment_info", None)
    if tell is None or not device.accelerator:
        return None
    return Counter(
        node.op_type
        for part in tell()
        if part.ep_name != device.provider
        for node in part.get_nodes()
    )


def provider_report() -> tuple[str, dict[str, str | None]]:
    """Version of ONNX Runtime, and for each of its providers why it does not load, or None.

    Runs a one-node model on each. Raises MissingExtraError where there is no ONNX Runtime.
    """
    runtime = _runtime()
    found = runtime.get_available_providers()
    return runtime.__version__, {name: _trial(device_of(name)) for name in found}


def _trial(device: Device) -> str | None:
    """Why a one-node model does not run on a device, or None."""
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    made = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    node = helper.make_node("Add", ["x", "x"], ["y"])
    graph = helper.make_graph([node], "trial", [value], [made])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    try:
        with _listening(device) as heard:
            session = _open(Program(model.SerializeToString()), device, None)
        (result,) = session.run(None, {"x": np.ones(1, np.float32)})
    except Exception as error:
        return _line(error)
    if session.get_providers()[0] != device.provider:
        return _reason(heard, session)
    if _elsewhere(session, device):
        return "it loads, and leaves even an addition to other providers"
    return None if result[0] == 2 else f"it computes 1 + 1 = {result[0]}"


def _reason(heard: Sequence[str], session: Any) -> str:
    """Why a provider is not there, if it was heard; that it is not, in any case."""
    fallen = f"ONNX Runtime fell back to {session.get_providers()[0]}"
    return _shortened(f"{'; '.join(heard)} ({fallen})") if heard else fallen


@contextlib.contextmanager
def _listening(device: Device) -> Iterator[list[str]]:
    """What ONNX Runtime says while it loads a provider.

    Where libraries are missing it raises nothing: it says so in its log, which newer versions hand
    over, and `preload_dlls` prints.
    """
    heard: list[str] = []
    if device.provider == CPU:
        yield heard
        return
    listen = getattr(_runtime(), "set_default_logger_callback", None)
    if listen is not None:
        listen(lambda *said: heard.append(str(said[-1])))
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            yield heard
    finally:
        if listen is not None:
            listen(None)
        heard += printed.getvalue().splitlines()


def _open(program: Program, device: Device, threads: int | None) -> Any:
    runtime = _runtime()
    options = runtime.SessionOptions()
    options.log_severity_level = 4  # what goes wrong arrives as an exception
    # Threads that wait by spinning take the cores from those that gather the results.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if threads is not None or program.size < _SMALL_MODEL:
        options.intra_op_num_threads = threads or 1
    if program.folder is not None:
        key = "session.model_external_initializers_file_folder_path"
        options.add_session_config_entry(key, str(program.folder))
    if device.accelerator:
        options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    if device.memory[0] == "cuda" and hasattr(runtime, "preload_dlls"):
        runtime.preload_dlls()
    weights = {n: runtime.OrtValue.ortvalue_from_numpy(a) for n, a in program.weights.items()}
    if weights:
        options.add_external_initializers(list(weights), list(weights.values()))
    chain = providers(device, runtime.get_available_providers())
    # Its own fallback would print to stdout and run on the CPU, also in the middle of a run.
    return runtime.InferenceSession(program.content, options, providers=chain, enable_fallback=0)


def _can_be_bound(array: NDArray[Any]) -> bool:
    """ONNX Runtime makes no buffers for text, and numpy has no bfloat16 of its own."""
    return array.dtype.kind in "biuf"


def _is_of_memory(error: Exception) -> bool:
    text = str(error).lower()
    return isinstance(error, MemoryError) or any(sign in text for sign in _MEMORY)


def _runtime() -> ModuleType:
    try:
        import onnxruntime
    except ImportError:
        raise MissingExtraError(
            "ONNX Runtime", "cpu", "running a model (or 'sparsight[gpu]' for NVIDIA GPUs)"
        ) from None
    return onnxruntime  # type: ignore[no-any-return]


def _line(error: Exception) -> str:
    """What ONNX Runtime says, in one line of bearable length."""
    return _shortened(str(error))


def _shortened(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 300 else text[:297] + "..."

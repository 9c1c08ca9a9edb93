"""Running instrumented models: the one user of ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper

from .devices import Device, candidates
from .errors import DeviceError, MissingExtraError, ModelError, OutOfMemoryError
from .instrument import Instrumented
from .measurement import BatchStatistics
from .taps import Tap

__all__ = ["Batch", "TapSession", "provider_report"]

Arrays = Mapping[str, NDArray[Any]]

_SMALL_MODEL = 2**21  # bytes: below it a second thread costs more than it brings

_MEMORY = ("Failed to allocate memory", "out of memory", "bad allocation", "std::bad_alloc")


@dataclass(frozen=True)
class Batch:
    """What one run of an instrumented model gives."""

    layers: Mapping[str, BatchStatistics]
    outputs: Arrays
    """The model's own outputs that were asked for, by name."""


class TapSession:
    """An instrumented model on a device, ready to be fed.

    `folder` is where the model's external data lies, `source` what to call it in messages;
    `threads` for the CPU are as many as there are cores, one for a small model. Raises
    DeviceError where the device is not there, ModelError where ONNX Runtime cannot run the model,
    MissingExtraError where there is no ONNX Runtime.
    """

    def __init__(
        self,
        instrumented: Instrumented,
        taps: Sequence[Tap],
        device: str = "auto",
        *,
        folder: Path | None = None,
        source: str = "the model",
        threads: int | None = None,
    ) -> None:
        self._taps = tuple(taps)
        self._outputs = instrumented.outputs
        self._map_shapes = instrumented.map_shapes
        self._names = [name for part in self._outputs.values() for name in part.values()]
        self._source = source
        self.device, self._session = _open(instrumented.content, device, folder, source, threads)

    def run(
        self,
        feeds: Arrays,
        count: int,
        kept: int | None = None,
        outputs: Sequence[str] = (),
    ) -> Batch:
        """Measure one batch of `count` probes.

        Of the results, those of the first `kept` probes are returned: the others filled up a batch
        of fixed size. `outputs` of the model are returned as they are. Raises ModelError where the
        model fails, OutOfMemoryError where the batch is too large for the device.
        """
        names = [*self._names, *outputs]
        try:
            arrays = self._session.run(names, dict(feeds))
        except Exception as error:  # of ONNX Runtime's own types, which share no base
            if any(sign in str(error) for sign in _MEMORY):
                raise OutOfMemoryError(
                    f"{count} samples of {self._source} do not fit into the memory of "
                    f"{self.device.name}; give a smaller --batch-size"
                ) from None
            raise ModelError(f"ONNX Runtime cannot run {self._source}: {_line(error)}") from None
        values = dict(zip(names, arrays, strict=True))
        kept = count if kept is None else kept
        layers = {tap.name: self._statistics(tap, values, count, kept) for tap in self._taps}
        return Batch(layers, {name: values[name][:kept] for name in outputs})

    def _statistics(self, tap: Tap, values: Arrays, count: int, kept: int) -> BatchStatistics:
        part = {key: values[name] for key, name in self._outputs[tap.name].items()}
        shape = self._shape(tap, part)
        if not shape or shape[0] % count:
            raise ModelError(
                f"{self._source}: layer {tap.name!r} puts out vectors of {tap.channels} channels "
                f"at {list(shape)} for {count} probes: the first axis does not count them"
            )
        map_shape = shape[1:] or (1, 1)
        if shape[0] != count:  # [N * L, D], as of tokens that the model flattened
            map_shape = (shape[0] // count, *shape[1:])
        highest = float(np.log(tap.channels))

        def maps(key: str) -> NDArray[Any] | None:
            return part[key].reshape(count, *map_shape)[:kept] if key in part else None

        entropy, scaled = maps("plogp"), maps("scaled_plogp")
        assert entropy is not None  # every chain puts it out
        if scaled is not None:
            unknown = np.full_like(scaled, np.nan)
            scaled = np.clip(-scaled / highest, 0, 1) if tap.channels > 1 else unknown
        zeros = part.get("relu_zeros")
        alive, at_most_zero = None, None
        if zeros is not None:
            by_channel = zeros.reshape(count, -1, tap.channels)[:kept].sum((0, 1), dtype=np.float64)
            alive = entropy.size - by_channel  # at how many positions it is not <= 0
            at_most_zero = int(by_channel.sum())
        return BatchStatistics(
            entropy=np.clip(-entropy, 0, highest),
            scale_free_entropy=scaled,
            rms=maps("rms"),
            relu_maximum=alive,
            relu_zeros=at_most_zero,
        )

    def _shape(self, tap: Tap, part: Arrays) -> tuple[int, ...]:
        """Shape of a tapped tensor without its channels, of the fed batch."""
        known = self._map_shapes.get(tap.name)
        if known is None:
            sides = part["shape"] if "shape" in part else part["plogp"].shape
            return tuple(int(side) for side in sides[:-1])
        if int(np.prod(known)) != part["plogp"].shape[1]:
            raise ModelError(
                f"{self._source}: layer {tap.name!r} has {part['plogp'].shape[1]} positions; the "
                f"model's own shapes say {'x'.join(map(str, known))}"
            )
        return (part["plogp"].shape[0], *known)


def provider_report() -> tuple[str, dict[str, str | None]]:
    """Version of ONNX Runtime, and for each of its providers why it does not load, or None.

    Runs a one-node model on each. Raises MissingExtraError where there is no ONNX Runtime.
    """
    runtime = _runtime()
    return runtime.__version__, {name: _trial(name) for name in runtime.get_available_providers()}


def _trial(provider: str) -> str | None:
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    made = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    node = helper.make_node("Add", ["x", "x"], ["y"])
    graph = helper.make_graph([node], "trial", [value], [made])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    try:
        session = _session(model.SerializeToString(), Device(provider, provider), None)
        (result,) = session.run(None, {"x": np.ones(1, np.float32)})
    except Exception as error:
        return _line(error)
    used = str(session.get_providers()[0])
    if used != provider:
        return f"it does not load: ONNX Runtime fell back to {used}"
    return None if result[0] == 2 else f"it computes 1 + 1 = {result[0]}"


def _open(
    content: bytes, wanted: str, folder: Path | None, source: str, threads: int | None
) -> tuple[Device, Any]:
    tried = candidates(wanted, _runtime().get_available_providers())
    for device in tried:
        try:
            session = _session(content, device, folder, threads)
        except Exception as error:
            raise ModelError(
                f"ONNX Runtime cannot run {source} on {device.name}: {_line(error)}"
            ) from None
        if session.get_providers()[0] == device.provider:
            return device, session
    raise DeviceError(
        f"device {wanted!r} was asked for; its {tried[-1].provider} is installed and does not "
        "load: `sparsight doctor` says why"
    )


def _session(
    content: bytes, device: Device, folder: Path | None, threads: int | None = None
) -> Any:
    runtime = _runtime()
    options = runtime.SessionOptions()
    options.log_severity_level = 4  # what goes wrong arrives as an exception
    # Threads that wait by spinning take the cores from those that gather the results.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if threads is not None or len(content) < _SMALL_MODEL:
        options.intra_op_num_threads = threads or 1
    if folder is not None:
        key = "session.model_external_initializers_file_folder_path"
        options.add_session_config_entry(key, str(folder))
    if device.name.startswith(("cuda", "tensorrt")) and hasattr(runtime, "preload_dlls"):
        runtime.preload_dlls()
    providers: list[Any] = [(device.provider, dict(device.options))]
    if device.provider != "CPUExecutionProvider":
        providers.append("CPUExecutionProvider")  # for the operators that a provider lacks
    return runtime.InferenceSession(content, options, providers=providers)


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
    text = " ".join(str(error).split())
    return text if len(text) <= 300 else text[:297] + "..."

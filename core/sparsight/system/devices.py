"""Devices by name, and the ONNX Runtime providers that stand for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import DeviceError

__all__ = ["CPU", "DEVICES", "Device", "candidates", "device_of", "providers"]

CPU = "CPUExecutionProvider"

DEVICES: Mapping[str, str] = {
    "cpu": CPU,
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "directml": "DmlExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
}
"""ONNX Runtime's provider of each device."""

_AUTO = ("cuda", "directml", "cpu")  # the others compile for minutes, or change the numbers

_NVIDIA = ("cuda", "tensorrt")

_INSTALL = {
    "cuda": "pip uninstall onnxruntime, then pip install 'sparsight[gpu]'",
    "tensorrt": "pip install 'sparsight[gpu]' and NVIDIA's tensorrt",
    "directml": "pip uninstall onnxruntime, then pip install onnxruntime-directml (Windows only)",
    "coreml": "pip install 'sparsight[cpu]' (macOS only)",
}


@dataclass(frozen=True)
class Device:
    """A device that can be asked for, and the provider that runs on it."""

    kind: str
    """"cpu", "cuda" ..."""
    provider: str
    number: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)
    """Of the provider."""

    @property
    def name(self) -> str:
        """As it is asked for: "cuda", "cuda:1"."""
        return f"{self.kind}:{self.number}" if self.number else self.kind

    @property
    def accelerator(self) -> bool:
        """Whether it is not the CPU."""
        return self.kind != "cpu"

    @property
    def memory(self) -> tuple[str, int]:
        """Where buffers for its inputs lie: ONNX Runtime's name of the memory, and its number.

        In NVIDIA's case on the device. The others take them from the host: ONNX Runtime copies them
        itself where it must.
        """
        return ("cuda", self.number) if self.kind in _NVIDIA else ("cpu", 0)

    @property
    def limits_memory(self) -> bool:
        """Whether its provider keeps a limit of memory that it is given."""
        return self.kind in _LIMITS

    @property
    def supports_float64(self) -> bool:
        """Whether it has a MatMul for float64; DirectML and CoreML have none."""
        return self.kind == "cpu" or self.kind in _NVIDIA


def candidates(
    wanted: str, available: Sequence[str], memory_limit: int | None = None
) -> list[Device]:
    """The devices to try for "cpu", "cuda", "cuda:1" ... or "auto", the best first.

    `available` holds the names of the providers in the installed ONNX Runtime, `memory_limit` is in
    bytes. Raises DeviceError for a name that is none, or for a device whose provider is not there.
    """
    if wanted == "auto":
        names = [name for name in _AUTO if DEVICES[name] in available]
        return [_device(name, 0, memory_limit) for name in names]
    kind, colon, number = wanted.partition(":")
    numbered = kind in (*_NVIDIA, "directml")
    if kind not in DEVICES or (colon and not (numbered and number.isdecimal())):
        known = ", ".join(DEVICES)
        raise DeviceError(
            f"unknown device {wanted!r}; expected auto, {known}, or a numbered one such as cuda:1"
        )
    if DEVICES[kind] not in available:
        raise DeviceError(
            f"device {wanted!r} needs {DEVICES[kind]}, which the installed ONNX Runtime lacks "
            f"(it has {', '.join(available)}); to add it: "
            f"{_INSTALL.get(kind, 'reinstall ONNX Runtime')}; `sparsight doctor` shows what "
            "works"
        )
    return [_device(kind, int(number or 0), memory_limit)]


def device_of(provider: str) -> Device:
    """The device of a provider, called as the provider is where none of ours is."""
    kinds = {name: kind for kind, name in DEVICES.items()}
    return Device(kinds.get(provider, provider), provider)


def providers(device: Device, available: Sequence[str]) -> list[tuple[str, dict[str, Any]]]:
    """The providers of a session with their options: for the operators that one lacks, the next."""
    chain = [(device.provider, dict(device.options))]
    if device.kind == "tensorrt" and DEVICES["cuda"] in available:
        limit = device.options.get("trt_max_workspace_size")
        cuda = _device("cuda", device.number, None if limit is None else int(limit))
        chain.append((cuda.provider, dict(cuda.options)))
    if device.provider != CPU:
        chain.append((CPU, {}))
    return chain


def _device(kind: str, number: int, memory_limit: int | None) -> Device:
    options: dict[str, Any] = {}
    if kind in (*_NVIDIA, "directml"):
        options["device_id"] = str(number)
    if kind == "cuda":
        # an exhaustive search of cuDNN's algorithms costs more than it gains on a few batches
        options["cudnn_conv_algo_search"] = "HEURISTIC"
        # batches are chosen by what is free; an arena that doubles would take up to twice as much
        options["arena_extend_strategy"] = "kSameAsRequested"
    if memory_limit is not None and kind in _LIMITS:
        options[_LIMITS[kind]] = str(memory_limit)
    return Device(kind, DEVICES[kind], number, options)


_LIMITS = {"cuda": "gpu_mem_limit", "tensorrt": "trt_max_workspace_size"}
"""The option that limits a provider's memory, bytes: CUDA's arena, weights and activations; what
TensorRT's layers may use beside them. The other providers have none."""

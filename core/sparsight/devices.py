"""Devices by name, and the ONNX Runtime providers that stand for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .errors import DeviceError

__all__ = ["DEVICES", "Device", "candidates"]

DEVICES: Mapping[str, str] = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "directml": "DmlExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
}
"""ONNX Runtime's provider of each device."""

_AUTO = ("cuda", "directml", "cpu")  # the others compile for minutes, or change the numbers

_INSTALL = {
    "cuda": "pip install 'sparsight[gpu]', without onnxruntime beside it",
    "tensorrt": "pip install 'sparsight[gpu]' and NVIDIA's tensorrt",
    "directml": "pip install onnxruntime-directml, on Windows, without onnxruntime beside it",
    "coreml": "pip install 'sparsight[cpu]', on a Mac",
}


@dataclass(frozen=True)
class Device:
    """A device that can be asked for, and the provider that runs on it."""

    name: str
    provider: str
    options: Mapping[str, Any] = field(default_factory=dict)


def candidates(wanted: str, available: Sequence[str]) -> list[Device]:
    """The devices to try for "cpu", "cuda", "cuda:1" ... or "auto", the best first.

    `available` holds the names of the providers in the installed ONNX Runtime. Raises DeviceError
    for a name that is none, or for a device whose provider is not there.
    """
    if wanted == "auto":
        return [_device(name, 0) for name in _AUTO if DEVICES[name] in available]
    name, colon, number = wanted.partition(":")
    numbered = name in ("cuda", "tensorrt", "directml")
    if name not in DEVICES or (colon and not (numbered and number.isdecimal())):
        known = ", ".join(DEVICES)
        raise DeviceError(f"no device is called {wanted!r}; there are: auto, {known}, and cuda:1")
    if DEVICES[name] not in available:
        raise DeviceError(
            f"device {wanted!r} was asked for; the installed ONNX Runtime has no {DEVICES[name]} "
            f"(it has {', '.join(available)}): {_INSTALL.get(name, 'reinstall it')}; "
            "`sparsight doctor` shows what loads"
        )
    return [_device(name, int(number or 0))]


def _device(name: str, number: int) -> Device:
    options: dict[str, Any] = {}
    if name in ("cuda", "tensorrt", "directml"):
        options["device_id"] = str(number)
    if name == "cuda":
        # an exhaustive search of cuDNN's algorithms costs more than it gains on a few batches
        options["cudnn_conv_algo_search"] = "HEURISTIC"
    return Device(f"{name}:{number}" if number else name, DEVICES[name], options)

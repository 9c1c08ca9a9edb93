"""Where a cell runs and in which arithmetic: device, threads, precision, compilation."""

from __future__ import annotations

import dataclasses
import os
import platform
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Literal

import torch
from torch import Tensor, nn

from sparsight.errors import DeviceError, UsageError

__all__ = ["Execution"]

Precision = Literal["float32", "tf32", "bf16"]


@dataclass(frozen=True)
class Execution:
    """How to run; `prepare` sets the process up for it.

    Networks are channels-last: the faster layout on CUDA and on CPUs (benchmarks/paper.py).
    """

    device: str = "cpu"
    threads: int | None = None
    precision: Precision = "float32"
    """"tf32" and "bf16" are for CUDA; validation and measurement stay in float32."""
    compile: bool = False

    def __post_init__(self) -> None:
        kind = self.device.split(":")[0]
        if kind not in ("cpu", "cuda"):
            raise UsageError(f"no device {self.device!r}; 'cpu', 'cuda' or 'cuda:1' was wanted")
        if kind == "cuda" and not torch.cuda.is_available():
            raise DeviceError("PyTorch finds no CUDA device here; pass --device cpu")
        if self.precision not in ("float32", "tf32", "bf16"):
            raise UsageError(f"no precision {self.precision!r}; there are: float32, tf32, bf16")
        if self.precision != "float32" and kind == "cpu":
            raise UsageError(f"precision {self.precision} is for CUDA; the CPU trains in float32")

    @property
    def cuda(self) -> bool:
        """Whether it runs on CUDA."""
        return self.device.startswith("cuda")

    def prepare(self) -> None:
        """Make this process deterministic, and give it its threads and precision."""
        if self.threads is not None:
            torch.set_num_threads(self.threads)
        if self.cuda:
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # wanted by determinism
            torch.use_deterministic_algorithms(True)
            torch.backends.cudnn.benchmark = False
            torch.backends.cuda.matmul.allow_tf32 = self.precision == "tf32"
            torch.backends.cudnn.allow_tf32 = self.precision == "tf32"

    def placed(self, model: nn.Module) -> nn.Module:
        """The model on the device, channels-last."""
        return model.to(self.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]

    def arranged(self, images: Tensor) -> Tensor:
        """A batch laid out as the model is."""
        return images.contiguous(memory_format=torch.channels_last)

    def compiled(self, model: nn.Module) -> Callable[[Tensor], Tensor]:
        """What a training step calls."""
        forward: Callable[[Tensor], Tensor] = torch.compile(model) if self.compile else model
        return forward

    def precision_of_forward(self) -> AbstractContextManager[Any]:
        """The context of a training step's forward."""
        if self.precision == "bf16":
            return torch.autocast("cuda", torch.bfloat16)
        return nullcontext()

    def described(self) -> dict[str, Any]:
        """What a result keeps of it: hardware and versions."""
        hardware = {
            **dataclasses.asdict(self),
            "threads": torch.get_num_threads(),
            "processor": _processor(),
            "cpus": os.cpu_count(),
            "gpu": torch.cuda.get_device_name(self.device) if self.cuda else None,
            "system": platform.platform(),
        }
        packages = {name: version(name) for name in ("sparsight", "torch", "numpy")}
        return {"hardware": hardware, "versions": {"python": platform.python_version(), **packages}}


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            found = next((line for line in lines if line.startswith("model name")), "")
    except OSError:
        found = ""
    return found.partition(":")[2].strip() or platform.processor() or platform.machine()

"""Where a cell runs and in which arithmetic: device, threads, precision, compilation."""

from __future__ import annotations

import dataclasses
import os
import platform
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Literal

import torch
from torch import Tensor, nn

from sparsight.errors import DeviceError, OutOfMemoryError, UsageError

__all__ = ["Execution"]

Precision = Literal["float32", "tf32", "bf16"]


@dataclass(frozen=True)
class Execution:
    """How to run; `prepare` sets the process up for it.

    Networks are channels-last: the faster layout on CUDA and on CPUs (reproduction/benchmark.py).
    """

    device: str = "cpu"
    threads: int | None = None
    precision: Precision = "float32"
    """"tf32" and "bf16" are for CUDA; validation and measurement stay in float32."""
    compile: bool = False

    def __post_init__(self) -> None:
        if not re.fullmatch(r"cpu|cuda(:\d+)?", self.device):
            raise UsageError(f"unknown device {self.device!r}; expected 'cpu', 'cuda' or 'cuda:1'")
        if self.precision not in ("float32", "tf32", "bf16"):
            raise UsageError(
                f"unknown precision {self.precision!r}; expected float32, tf32 or bf16"
            )
        if self.precision != "float32" and not self.cuda:
            raise UsageError(f"precision {self.precision} needs CUDA; the CPU trains in float32")
        number = int(self.device.partition(":")[2] or 0)
        if self.cuda and number >= torch.cuda.device_count():
            there = torch.cuda.device_count()
            raise DeviceError(f"PyTorch finds {there} CUDA devices; pass --device cpu")

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
            # Nothing of ours reads memory before it is written, and filling all of it takes time.
            torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
            torch.backends.cudnn.benchmark = False
            _allow_tf32(False)  # convolutions would use it by default
        if self.compile:
            _compile_alike()

    def placed(self, model: nn.Module) -> nn.Module:
        """The model on the device, channels-last."""
        return model.to(self.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]

    def arranged(self, images: Tensor) -> Tensor:
        """A batch laid out as the model is."""
        return images.contiguous(memory_format=torch.channels_last)

    def compiled(self, model: nn.Module) -> Callable[[Tensor], Tensor]:
        """What a training step calls; full batches and the last, smaller one are compiled apart."""
        forward: Callable[[Tensor], Tensor] = model
        return torch.compile(model, dynamic=False) if self.compile else forward

    @contextmanager
    def training(self) -> Iterator[None]:
        """The arithmetic of an epoch of training, backward passes included."""
        if self.precision != "tf32":
            yield
            return
        _allow_tf32(True)
        try:
            yield
        finally:
            _allow_tf32(False)

    def forward(self) -> AbstractContextManager[Any]:
        """The arithmetic of a training step's forward; bf16 has float32's range: no GradScaler."""
        if self.precision == "bf16":
            return torch.autocast("cuda", torch.bfloat16)
        return nullcontext()

    @contextmanager
    def memory_for(self, what: str) -> Iterator[None]:
        """Raises OutOfMemoryError where `what` does not fit into the device's memory."""
        try:
            yield
        except (MemoryError, RuntimeError) as error:
            if not isinstance(error, MemoryError) and not _is_of_memory(error):
                raise
            raise OutOfMemoryError(
                f"{what} does not fit into the memory of {self.device}: stop other programs, "
                "run fewer --jobs at a time, or choose a smaller --size; the same command "
                "resumes after the last epoch"
            ) from None

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
        packages: dict[str, Any] = {n: version(n) for n in ("sparsight", "torch", "numpy")}
        if self.cuda:
            packages |= {"cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version()}
        return {"hardware": hardware, "versions": {"python": platform.python_version(), **packages}}


def _is_of_memory(error: RuntimeError) -> bool:
    """PyTorch's allocators have a type for CUDA alone; drivers and libraries say it in words."""
    words = ("out of memory", "can't allocate memory", "CUBLAS_STATUS_ALLOC_FAILED")
    return isinstance(error, torch.OutOfMemoryError) or any(word in str(error) for word in words)


def _allow_tf32(allowed: bool) -> None:
    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed


def _compile_alike() -> None:
    """Compile each cell anew, and alike.

    A function that was compiled for a few networks is run uncompiled for the next; and the compiler
    is kept from choosing kernels by how fast they happen to be: sums would differ.
    """
    from torch._inductor import config

    torch.compiler.reset()
    if hasattr(config, "deterministic"):  # newer than the oldest PyTorch that we run with
        config.deterministic = True


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            found = next((line for line in lines if line.startswith("model name")), "")
    except OSError:
        found = ""
    return found.partition(":")[2].strip() or platform.processor() or platform.machine()

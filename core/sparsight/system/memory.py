"""Memory: how much of it is free on a device, and amounts as people write them."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from ..errors import UsageError
from .devices import Device

__all__ = ["amount", "free_memory", "free_on_host", "parse_amount"]

_AMOUNT = re.compile(r"(\d+(?:\.\d+)?|\.\d+)\s*(?:([kmgt])(i?))?b?", re.IGNORECASE)

_LIMITS = {
    "": ("memory.max", "memory.current", "inactive_file"),
    "memory": ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}
"""Files of Linux's control groups for limit, use and cache, by folder: version 2, version 1."""


def parse_amount(text: str) -> int:
    """Bytes of "2GB", "512MiB", "1.5g" or "1000000". Raises UsageError for anything else."""
    match = _AMOUNT.fullmatch(text.strip())
    size = 0.0
    if match is not None:
        number, unit, binary = match.groups(default="")
        size = float(number) * (1024 if binary else 1000) ** " kmgt".index(unit.lower() or " ")
    if not 1 <= size < math.inf:
        raise UsageError(
            f"cannot read {text!r} as an amount of memory; expected something like 2GB or 512MiB"
        )
    return int(size)


def amount(size: int) -> str:
    """Bytes for people: "1.5 GB", "12 MB"."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


def free_memory(device: Device) -> int | None:
    """Bytes that are free on a device; None if unknown."""
    if device.kind == "cpu":
        return free_on_host()
    if device.memory[0] == "cuda":
        return _of_nvidia(device.number)
    return None


def free_on_host() -> int | None:
    """Bytes of main memory that are free; None if unknown."""
    return _of_host(Path("/"))


def _of_host(root: Path) -> int | None:
    try:
        import psutil
    except ImportError:
        return None
    return min([int(psutil.virtual_memory().available), *_of_groups(root)])


def _of_groups(root: Path) -> Iterator[int]:
    """What a container, or a job of a cluster, may still take; psutil knows the machine only.

    A limit may stand at the process's own control group or at any that this one is in. A container
    may see its own group as the topmost, whatever the path says.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        for folder, files in _LIMITS.items():
            if folder in controllers.split(","):
                own = PurePosixPath(path.lstrip("/"))
                for group in (own, *own.parents):
                    yield from _of_group(root / "sys/fs/cgroup" / folder / group, *files)


def _of_group(group: Path, limit: str, use: str, cache: str) -> Iterator[int]:
    try:
        most = (group / limit).read_text().strip()
        used = int((group / use).read_text())
        stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        # pages of files that were not used lately are given up when memory is needed
        cached = int(stat.get(cache, 0))
    except (OSError, ValueError):
        return
    if most.isdecimal():
        yield max(int(most) - used + cached, 0)


def _of_nvidia(number: int) -> int | None:
    """Through NVIDIA's own bindings of the driver's library: they need no CUDA of any version."""
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
        try:
            return int(pynvml.nvmlDeviceGetMemoryInfo(_handle(pynvml, number)).free)
        finally:
            pynvml.nvmlShutdown()
    except (pynvml.NVMLError, ValueError):
        return None


def _handle(pynvml: Any, number: int) -> Any:
    """The driver's handle of the GPU that CUDA calls `number`.

    CUDA counts the visible ones only. It puts the fastest first where CUDA_DEVICE_ORDER does not
    say otherwise, so that in a machine of unlike GPUs this may be another one's memory; then a
    batch that is too large is halved.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return pynvml.nvmlDeviceGetHandleByIndex(number)
    names = [name.strip() for name in visible.split(",")]
    if number >= len(names):
        raise ValueError(f"GPU {number} is not visible")
    if names[number].isdecimal():
        return pynvml.nvmlDeviceGetHandleByIndex(int(names[number]))
    return pynvml.nvmlDeviceGetHandleByUUID(names[number])

"""Memory: how much of it is free on a device, and amounts as people write them."""

from __future__ import annotations

import math
import os
import re
from pathlib import Path
from typing import Any

from .devices import Device
from .errors import UsageError

__all__ = ["amount", "free_memory", "parse_amount"]

_AMOUNT = re.compile(r"(\d+(?:\.\d+)?|\.\d+)\s*(?:([kmgt])(i?))?b?", re.IGNORECASE)

_GROUP = Path("/sys/fs/cgroup")  # of a container, as it sees itself


def parse_amount(text: str) -> int:
    """Bytes of "2GB", "512MiB", "1.5g" or "1000000". Raises UsageError for anything else."""
    match = _AMOUNT.fullmatch(text.strip())
    size = 0.0
    if match is not None:
        number, unit, binary = match.groups(default="")
        size = float(number) * (1024 if binary else 1000) ** " kmgt".index(unit.lower() or " ")
    if not 1 <= size < math.inf:
        raise UsageError(f"an amount of memory was wanted, as in 2GB or 512MiB; {text!r} is none")
    return int(size)


def amount(size: int) -> str:
    """Bytes for people: "1.5 GB", "12 MB"."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


def free_memory(device: Device) -> int | None:
    """Bytes that are free on a device; None where nobody tells."""
    if device.kind == "cpu":
        return _of_host(_GROUP)
    if device.memory[0] == "cuda":
        return _of_nvidia(device.number)
    return None


def _of_host(group: Path) -> int | None:
    try:
        import psutil
    except ImportError:
        return None
    free = int(psutil.virtual_memory().available)
    within = _of_container(group)
    return free if within is None else min(free, within)


def _of_container(group: Path) -> int | None:
    """What a container with a limit may still take; psutil knows the machine only."""
    try:
        limit = (group / "memory.max").read_text().strip()
        used = int((group / "memory.current").read_text())
        lines = (group / "memory.stat").read_text().splitlines()
    except (OSError, ValueError):
        return None
    # pages of files that nobody used of late are given up when memory is wanted
    cached = next((int(line.split()[1]) for line in lines if line.startswith("inactive_file ")), 0)
    return max(int(limit) - used + cached, 0) if limit.isdecimal() else None


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

"""`sparsight doctor`: what is installed, and what of it works."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from importlib.metadata import distributions, entry_points, version

import typer

from ..errors import MissingExtraError

__all__ = ["doctor"]

_SHOWN = ("sparsight", "numpy", "onnx", "tensorboard", "torch")
_SHARED_FILES = "onnxruntime"  # every wheel of ONNX Runtime starts so, and installs the same files


def doctor() -> None:
    """Report versions, ONNX Runtime's wheels and providers, memory, and TensorBoard's plugin."""
    from .output import console

    screen = console()
    healthy = True
    for name, value in _versions():
        screen.print(f"{name:24} {value}")
    for fine, line in (*_wheels(), *_providers(), *_plugin()):
        healthy = healthy and fine
        screen.print(("" if fine else "PROBLEM: ") + line, soft_wrap=True)
    if not healthy:
        raise typer.Exit(2)


def _versions() -> Iterator[tuple[str, str]]:
    yield "python", f"{platform.python_version()} on {platform.platform(terse=True)}"
    installed = {dist.name.lower(): dist.version for dist in distributions()}
    for name in _SHOWN:
        yield name, installed.get(name, "not installed")


def _wheels() -> Iterator[tuple[bool, str]]:
    found = sorted({dist.name.lower().replace("_", "-") for dist in distributions()})
    wheels = [name for name in found if name.split("-")[0] == _SHARED_FILES]
    wheels = [name for name in wheels if name != "onnxruntime-extensions"]
    if not wheels:
        yield (
            True,
            "ONNX Runtime             not installed; `sparsight analyze` needs it: "
            "pip install 'sparsight[cpu]' or, for NVIDIA GPUs, 'sparsight[gpu]'",
        )
    elif len(wheels) == 1:
        yield True, f"{wheels[0]:24} {version(wheels[0])}"
    else:
        yield (
            False,
            f"{' and '.join(wheels)} are both installed and overwrite each other's files: pip "
            f"uninstall -y {' '.join(wheels)}, then pip install 'sparsight[cpu]' or "
            "'sparsight[gpu]'",
        )


def _providers() -> Iterator[tuple[bool, str]]:
    try:
        from ..inference.runtime import provider_report

        _, report = provider_report()
    except MissingExtraError:
        return
    for name, failure in report.items():
        # A wheel lists what it was built with; only the CPU has to be there.
        fine = failure is None or name != "CPUExecutionProvider"
        yield fine, f"  {name:30} {f'runs{_free(name)}' if failure is None else failure}"


def _free(provider: str) -> str:
    """How much memory is free there, to end a line; nothing if unknown."""
    from ..system.devices import device_of
    from ..system.memory import amount, free_memory

    free = free_memory(device_of(provider))
    return "" if free is None else f"; {amount(free)} of memory free"


def _plugin() -> Iterator[tuple[bool, str]]:
    entries = [e for e in entry_points(group="tensorboard_plugins") if e.name == "sparsity"]
    if not entries:
        yield False, "TensorBoard does not find the Sparsity tab: reinstall sparsight"
        return
    try:
        entries[0].load()
    except Exception as error:  # whatever it is, TensorBoard would meet it as well
        yield False, f"TensorBoard cannot load the Sparsity tab: {error}"
    else:
        yield True, "TensorBoard              has the Sparsity tab"

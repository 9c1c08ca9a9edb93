"""Everything Sparsight raises on purpose.

SparsightError            one sentence: what arrived, what was expected, what to do
├── ModelError            a model that cannot be read, or that cannot be measured
├── ProbeError            probe samples that do not fit the model's inputs
├── DeviceError           a device or an ONNX Runtime provider that is not available
│   └── OutOfMemoryError  a batch that does not fit into the device's memory
├── TargetError           a layer asked for by a name the network does not have
├── RunError              a log directory or an event file that cannot be read or written
│   └── SchemaError       a record that this version cannot decode
├── UsageError            a call in the wrong order, or options that contradict each other
└── MissingExtraError     an optional dependency that is not installed
"""

from __future__ import annotations

from collections.abc import Iterable


class SparsightError(Exception):
    """Base of all errors raised on purpose; its text is a sentence for the user."""


class ModelError(SparsightError):
    """A model that cannot be read, or that cannot be measured."""


class ProbeError(SparsightError):
    """Probe samples that do not fit the model's inputs."""


class DeviceError(SparsightError):
    """A device, or an ONNX Runtime provider, that is not available."""


class OutOfMemoryError(DeviceError):
    """A batch that does not fit into the memory of the device."""


class TargetError(SparsightError):
    """A layer asked for by a name that the network does not have."""


class RunError(SparsightError):
    """A log directory or an event file that cannot be read or written."""


class SchemaError(RunError):
    """A record that this version of Sparsight cannot decode."""


class UsageError(SparsightError):
    """A call in the wrong order, or options that contradict each other."""


class MissingExtraError(SparsightError, ImportError):
    """An optional dependency that is not installed."""

    def __init__(self, module: str, extra: str, purpose: str) -> None:
        super().__init__(f"{purpose} needs {module}: pip install 'sparsight[{extra}]'")
        self.name = module


def nearest(name: str, known: Iterable[str], limit: int = 12) -> str:
    """A hint for a misspelt name, to end a sentence: the nearest matches, else all names."""
    import difflib  # loaded only when there is an error

    names = list(dict.fromkeys(known))
    if not names:
        return "there are none"
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    if close:
        return "did you mean " + " or ".join(repr(match) for match in close) + "?"
    shown = ", ".join(names[:limit])
    return f"there are: {shown}" + (f" and {len(names) - limit} more" if len(names) > limit else "")

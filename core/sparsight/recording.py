"""Recording checkpoints into a run directory, so that nothing is lost and nothing done twice."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import events, schema
from .errors import RunError, UsageError
from .measurement import LayerMeasurement
from .reader import Run, read_run
from .writer import RunWriter

__all__ = ["CheckpointRecorder", "Measured"]


@dataclass(frozen=True)
class Measured:
    """A measured checkpoint."""

    step: int
    measurements: Sequence[LayerMeasurement]
    scalars: Mapping[str, float] | None = None
    wall_time: float | None = None


class CheckpointRecorder:
    """Writes measured checkpoints into a run, whatever the order they come in.

    An event file's step that goes back replaces what came after it. So a checkpoint that fills a
    gap is held back until `flush`, which writes the held ones and then, as they were recorded, the
    later steps again. Raises RunError where the directory cannot be written, UsageError where it
    was measured on other probes.
    """

    def __init__(self, logdir: str | Path, probes: schema.ShownProbes) -> None:
        self.logdir = Path(logdir)
        self._probes = probes
        _make_writable(self.logdir)
        run = _recorded(self.logdir)
        if run.probes is not None and run.probes.digest != probes.digest:
            raise UsageError(
                f"{self.logdir} was measured on other probes ({run.probes.count} of digest "
                f"{run.probes.digest[:8]}, not {probes.count} of {probes.digest[:8]}), which "
                "cannot be compared; choose another --logdir"
            )
        self.recorded = set(run.steps)
        """The steps that are in the run."""
        self._held: list[Measured] = []
        self._writer = RunWriter(self.logdir)

    def add(self, measured: Measured) -> None:
        """Write a checkpoint, or hold it back if later ones are recorded already."""
        if self.recorded and measured.step < max(self.recorded):
            self._held.append(measured)
        else:
            self._write(measured)

    def flush(self) -> None:
        """Write what was held back, and after it the later steps again."""
        if not self._held:
            return
        held, self._held = sorted(self._held, key=lambda measured: measured.step), []
        later = _events_after(self.logdir, held[0].step)
        new = {measured.step: measured for measured in held}
        for step in sorted({*later, *new}):
            if step in new:
                self._write(new[step])
            else:
                self._writer.repeat(later[step])

    def close(self) -> None:
        """Write what was held back and close the event file."""
        try:
            self.flush()
        finally:
            self._writer.close()

    def __enter__(self) -> CheckpointRecorder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _write(self, measured: Measured) -> None:
        self._writer.write(
            measured.step,
            measured.measurements,
            probes=self._probes,
            scalars=measured.scalars,
            wall_time=measured.wall_time,
        )
        self.recorded.add(measured.step)


def _make_writable(logdir: Path) -> None:
    try:
        logdir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = "there is a file of that name" if logdir.is_file() else error.strerror
        raise RunError(f"cannot write to {logdir}: {reason}") from None
    if not os.access(logdir, os.W_OK | os.X_OK):
        raise RunError(f"cannot write to {logdir}: permission denied")


def _recorded(logdir: Path) -> Run:
    return read_run(logdir) if any(map(events.is_event_file, logdir.iterdir())) else Run()


def _events_after(logdir: Path, step: int) -> dict[int, Any]:
    """What our event files hold of the steps after `step`, one event each, ascending."""
    by_tag: dict[str, list[tuple[Any, Any]]] = {}
    for path in sorted(p for p in logdir.iterdir() if events.is_event_file(p)):
        for event in events.read_events(path):
            for value in event.summary.value:
                if _ours(path, value):
                    by_tag.setdefault(value.tag, []).append((event, value))
    found: dict[int, list[tuple[float, Any]]] = {}
    for records in by_tag.values():
        for position in schema.surviving([event.step for event, _ in records]):
            event, value = records[position]
            if event.step > step:
                found.setdefault(event.step, []).append((event.wall_time, value))
    return {
        later: events.event(later, max(t for t, _ in parts), [value for _, value in parts])
        for later, parts in sorted(found.items())
    }


def _ours(path: Path, value: Any) -> bool:
    """Whether a value is Sparsight's: in a file of its own also the plain scalars are."""
    plugin = value.metadata.plugin_data.plugin_name
    return path.name.endswith(".sparsight") or plugin in (schema.LAYERS_PLUGIN, schema.MAPS_PLUGIN)

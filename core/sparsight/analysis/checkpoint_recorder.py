"""Recording checkpoints into a run directory, so that nothing is lost and nothing done twice."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import schema
from ..errors import RunError, UsageError
from ..measure.measurement import LayerMeasurement
from ..runs import events
from ..runs.event_files import ours
from ..runs.reader import Run, read_run
from ..runs.writer import RunWriter, step_event

__all__ = ["CheckpointRecorder", "Measured"]

_MOMENT = 1e-3  # seconds


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
    gap is held back until `flush`, which writes the held ones and then the later steps again. Wall
    times are kept ascending with the steps, whatever the checkpoint files say. Raises RunError
    where the directory cannot be written or another process records into it, UsageError where it
    was measured on other probes.
    """

    def __init__(self, logdir: str | Path, probes: schema.ShownProbes) -> None:
        self.logdir = Path(logdir)
        self._probes = probes
        self._held: list[Measured] = []
        _make_writable(self.logdir)
        self._writer = RunWriter(self.logdir)
        self._writer.claim()
        try:
            self._times = self._recorded_times()
        except BaseException:
            self._writer.close()
            raise

    @property
    def recorded(self) -> tuple[int, ...]:
        """The steps that are in the run."""
        return tuple(self._times)

    def add(self, measured: Measured) -> None:
        """Write a checkpoint, or hold it back if later ones are recorded already."""
        if measured.step < max(self._times, default=measured.step):
            self._held.append(measured)
        else:
            self._write(measured)

    def flush(self) -> None:
        """Write what was held back, and after it the later steps again."""
        if not self._held:
            return
        held, self._held = sorted(self._held, key=lambda measured: measured.step), []
        recorded = _our_events(self.logdir)
        new = {measured.step: measured for measured in held}
        written: list[Any] = []
        for step in sorted({*recorded, *new}):
            if step in new:
                written.append(self._event(new[step], probes=not written))
            elif step > held[0].step:
                # a record of the same step and time would count as the old one
                recorded[step].wall_time += _MOMENT
                self._times[step] = recorded[step].wall_time
                written.append(recorded[step])
        self._writer.repeat(*written)  # a half of them would hide the later steps

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

    def _recorded_times(self) -> dict[int, float]:
        there = any(map(events.is_event_file, self.logdir.iterdir()))
        run, probes = read_run(self.logdir) if there else Run(), self._probes
        if run.probes is not None and run.probes.digest != probes.digest:
            raise UsageError(
                f"{self.logdir} was measured on other probes ({run.probes.count} with digest "
                f"{run.probes.digest[:8]}, not {probes.count} with digest "
                f"{probes.digest[:8]}), so the results cannot be compared; choose another "
                "--logdir"
            )
        recorded = _our_events(self.logdir)
        return {step: float(recorded[step].wall_time) for step in run.steps}

    def _write(self, measured: Measured) -> None:
        self._writer.write(
            measured.step,
            measured.measurements,
            probes=self._probes,
            scalars=measured.scalars,
            wall_time=self._place(measured),
        )

    def _event(self, measured: Measured, *, probes: bool) -> Any:
        return step_event(
            measured.step,
            measured.measurements,
            probes=self._probes if probes else None,
            scalars=measured.scalars,
            wall_time=self._place(measured),
        )

    def _place(self, measured: Measured) -> float:
        """The wall time of a new step: its own, if that is between those of its neighbours."""
        wanted = time.time() if measured.wall_time is None else measured.wall_time
        before = max((t for s, t in self._times.items() if s < measured.step), default=None)
        after = min((t for s, t in self._times.items() if s > measured.step), default=None)
        if before is not None and not before < wanted:
            wanted = before + _MOMENT if after is None else (before + after) / 2
        elif after is not None and not wanted < after:
            wanted = after - _MOMENT if before is None else (before + after) / 2
        self._times[measured.step] = wanted
        return wanted


def _make_writable(logdir: Path) -> None:
    try:
        logdir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = "a file of that name exists" if logdir.is_file() else error.strerror
        raise RunError(f"cannot write to {logdir}: {reason}") from None
    if not os.access(logdir, os.W_OK | os.X_OK):
        raise RunError(f"cannot write to {logdir}: permission denied")


def _our_events(logdir: Path) -> dict[int, Any]:
    """What is recorded in a directory, one event a step, ascending."""
    by_tag: dict[str, list[tuple[Any, Any]]] = {}
    for path in sorted(p for p in logdir.iterdir() if events.is_event_file(p)):
        for event, value in _values(path):
            if _ours(path, value):
                by_tag.setdefault(value.tag, []).append((event, value))
    found: dict[int, list[tuple[float, Any]]] = {}
    for records in by_tag.values():
        for position in schema.surviving([event.step for event, _ in records]):
            event, value = records[position]
            found.setdefault(event.step, []).append((event.wall_time, value))
    return {
        step: events.event(step, max(t for t, _ in parts), [value for _, value in parts])
        for step, parts in sorted(found.items())
    }


def _values(path: Path) -> Iterator[tuple[Any, Any]]:
    try:
        for event in events.read_events(path):
            for value in event.summary.value:
                yield event, value
    except RunError:
        return  # what follows a damaged byte; `read_run` has warned of it


def _ours(path: Path, value: Any) -> bool:
    """Whether a value is Sparsight's: in a file of its own also the plain scalars are."""
    plugin = value.metadata.plugin_data.plugin_name
    return ours(path) or plugin in (schema.LAYERS_PLUGIN, schema.MAPS_PLUGIN)

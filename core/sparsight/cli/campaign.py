"""One call of `sparsight analyze`: checkpoints in, a run directory and a table out."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from ..analysis.analyze import Settings, input_specs, known_layers, match_model, measure
from ..analysis.checkpoint_recorder import CheckpointRecorder, Measured
from ..analysis.checkpoints import Checkpoint, find_checkpoints
from ..analysis.classification import Evaluation
from ..analysis.tables import Measurements, check_table_path, write_table
from ..errors import ModelError, ProbeError, UsageError
from ..graph.model import open_model
from ..probes.probe_set import ProbeSet, load_probes, shown_positions, shown_probes
from ..probes.sources import Arrays, PictureOptions, choose, out_of_range, read_probes
from ..schema import STATISTICS, ShownProbes
from .output import console, number, plain, print_table, progress, remark

__all__ = ["Campaign", "Source"]

State = tuple[tuple[int, int, int], ...]

_POLL = 1.0  # seconds between looks for further checkpoints


@dataclass(frozen=True)
class Source:
    """Where the samples and their labels come from."""

    probes: str
    pictures: PictureOptions
    most: int | None
    seed: int
    labels: Path | None
    output: str


@dataclass
class Campaign:
    """Measures checkpoints that are not recorded yet, as long as there are any."""

    sources: Sequence[str]
    step_pattern: str | None
    source: Source
    settings: Settings
    logdir: Path | None
    out: Path | None
    _results: dict[int, Measurements] = field(default_factory=dict, init=False)
    """All of them where a table is to be written, else the last."""
    _done: set[int] = field(default_factory=set, init=False)
    _broken: dict[Path, ModelError] = field(default_factory=dict, init=False)
    _seen: dict[Path, State] = field(default_factory=dict, init=False)
    """The state in which each checkpoint was measured, or could not be."""
    _said: set[str] = field(default_factory=set, init=False)
    _watches: bool = field(default=False, init=False)
    _awaits_probes: bool = field(default=False, init=False)
    """Whether probes that cannot be read may be there later."""
    _recorder: CheckpointRecorder | None = field(default=None, init=False)

    def run(self, watch: bool = False) -> None:
        """Measure what is there, and with `watch` what comes, until Ctrl-C.

        Raises ModelError at the end if a checkpoint could not be measured.
        """
        if self.out is not None:
            check_table_path(self.out)
        self._watches = watch
        self._ready = self._wait() if watch else self._find()
        if watch:
            self._await_samples()
        with contextlib.ExitStack() as stack:
            if self.logdir is not None:
                recorder = CheckpointRecorder(self.logdir, self._shown())
                self._recorder = stack.enter_context(recorder)
            self._measure_all(self._ready)
            with contextlib.suppress(KeyboardInterrupt):
                while watch:
                    time.sleep(_POLL)
                    self._measure_all(self._settled())
        self._finish(watch)

    def _shown(self) -> ShownProbes:
        samples = self._samples
        shown = shown_positions(self.settings.shown, len(samples))
        return shown_probes(samples.samples, shown, tuple(samples.same_for_all.values()))

    def _find(self) -> list[Checkpoint]:
        return find_checkpoints(self.sources, self.step_pattern, some=self._watches)

    def _wait(self) -> list[Checkpoint]:
        """The first checkpoints, however long they take."""
        said = False
        while True:
            try:
                return self._find()
            except UsageError as error:
                if not said:
                    remark(f"waiting: {error}")
                said = True
                time.sleep(_POLL)

    def _settled(self) -> list[Checkpoint]:
        """The checkpoints that nobody is writing to."""
        before = {c.path: _state(c.path) for c in self._wait()}
        time.sleep(_POLL / 2)
        return [c for c in self._wait() if before.get(c.path) == _state(c.path)]

    def _await_samples(self) -> None:
        """Look at checkpoints and probes that cannot be read again, whenever they have changed."""
        while True:
            before = self._look()
            try:
                _ = self._samples
            except (ModelError, ProbeError) as error:
                if isinstance(error, ProbeError) and not self._awaits_probes:
                    raise
                self._say_once(f"waiting: {error}")
            else:
                return
            while self._look() == before:
                time.sleep(_POLL)
            self._ready = self._wait()

    def _look(self) -> list[tuple[Path, State]]:
        paths = [Path(self.source.probes), *(c.path for c in self._wait())]
        return [(path, _state(path)) for path in paths]

    @cached_property
    def _samples(self) -> ProbeSet:
        """The probes, matched to the inputs of the first checkpoint that is not broken."""
        failures = []
        for checkpoint in self._ready:
            try:
                model = open_model(checkpoint.path)
                known_layers(model, self.settings)  # its errors come before those of the probes
                source, axes = self.source, self.settings.input_axes
                self._awaits_probes = _may_come(source.probes)
                arrays = read_probes(source.probes, input_specs(model, axes), source.pictures)
                self._awaits_probes = False  # if they do not fit, they never will
                samples = match_model(model, arrays, axes)
                self._preview(samples)
                return samples.chosen(source.most, source.seed)
            except ModelError as error:
                failures.append(error)
        raise failures[0]

    def _preview(self, samples: ProbeSet) -> None:
        for name, array in samples.arrays.items():
            odd = out_of_range(array)
            if odd:
                remark(f"probes: {name!r}: {odd}")

    @cached_property
    def _labels(self) -> Arrays | None:
        """The labels, chosen as the probes are."""
        if self.source.labels is None:
            return None
        arrays = load_probes(self.source.labels)
        if len(arrays) != 1:
            raise ProbeError(
                f"expected one array of labels in {self.source.labels}, which holds "
                f"{', '.join(arrays) or 'none'}"
            )
        labels = choose(arrays, self.source.most, self.source.seed)
        (chosen,) = labels.values()
        if len(chosen) != len(self._samples):
            raise ProbeError(f"got {len(chosen)} labels for {len(self._samples)} probes")
        return labels

    def _measure_all(self, found: Sequence[Checkpoint]) -> None:
        done = self._done | set(self._recorder.recorded if self._recorder else ())
        todo = [c for c in found if c.step not in done and self._is_new(c.path)]
        self._say_replaced(found)
        if not self._done and not self._broken and len(todo) < len(found):
            remark(f"{len(found) - len(todo)} of {len(found)} checkpoints are already recorded")
        for checkpoint, result, evaluation in self._measurements(todo):
            if isinstance(result, ModelError):
                self._broken[checkpoint.path] = result
                if len(found) > 1 or self._watches:
                    self._say_once(f"sparsight: {result}")
            elif not (self._watches and self._is_new(checkpoint.path)):  # written to meanwhile
                self._keep(checkpoint, result, evaluation)
        if self._recorder is not None:
            self._recorder.flush()

    def _keep(
        self, checkpoint: Checkpoint, result: Measurements, evaluation: Evaluation | None
    ) -> None:
        self._broken.pop(checkpoint.path, None)
        self._done.add(checkpoint.step)
        if self.out is None:
            self._results.clear()
        self._results[checkpoint.step] = result
        if self._recorder is not None:
            scalars = evaluation.scalars() if evaluation else None
            written = _written(self._seen[checkpoint.path])  # when the network was as it is here
            self._recorder.add(Measured(checkpoint.step, result, scalars, written))

    def _say_replaced(self, found: Sequence[Checkpoint]) -> None:
        for checkpoint in found:
            if checkpoint.step in self._done and self._is_new(checkpoint.path):
                self._say_once(
                    f"{checkpoint.path.name} has changed since it was measured, but a run "
                    "holds each step once: the first measurement is kept"
                )

    def _measurements(
        self, todo: Sequence[Checkpoint]
    ) -> Iterator[tuple[Checkpoint, Measurements | ModelError, Evaluation | None]]:
        if not todo:
            return
        total = len(self._samples)
        with progress() as bar:
            task = bar.add_task("measuring", total=len(todo) * total)

            def advance(count: int) -> None:
                bar.advance(task, count)

            for position, checkpoint in enumerate(todo, start=1):
                bar.update(task, description=f"{checkpoint.path.name} (step {checkpoint.step})")
                evaluation = self._evaluation()
                self._seen[checkpoint.path] = _state(checkpoint.path)
                result: Measurements | ModelError
                try:
                    result = measure(
                        checkpoint.path,
                        self._samples,
                        self.settings,
                        advance,
                        evaluation,
                        self._say_once,
                    )
                except ModelError as error:
                    result = error
                yield checkpoint, result, evaluation
                bar.update(task, completed=position * total)

    def _is_new(self, path: Path) -> bool:
        """Whether a checkpoint is another than the one that was looked at last, if any was."""
        return self._seen.get(path) != _state(path)

    def _say_once(self, text: str) -> None:
        """What is so for one checkpoint, and for all others like it."""
        if text not in self._said:
            self._said.add(text)
            remark(text)

    def _evaluation(self) -> Evaluation | None:
        if self._labels is None:
            return None
        (labels,) = self._labels.values()
        return Evaluation(labels, self.source.output)

    def _finish(self, watch: bool) -> None:
        if self.out is not None and (self._results or not self._broken):
            write_table(self.out, self._results)
            remark(f"{_checkpoints(len(self._results))} in {self.out}")
        if self._results:
            _print_summary(max(self._results), self._results)
        if self.logdir is not None and self._recorder is not None:
            count = len(self._recorder.recorded)
            end = f"{_checkpoints(count)} in {self.logdir}: tensorboard --logdir {self.logdir}"
            console().print(plain(end), soft_wrap=True)
        if len(self._ready) == 1 and self._broken and not watch:
            raise next(iter(self._broken.values()))
        if self._broken:
            names = ", ".join(path.name for path in self._broken)
            raise ModelError(f"cannot measure these checkpoints: {names}")


def _state(path: Path) -> State:
    """What changes when a checkpoint, or a file of its external data, is written or replaced."""
    beside = []
    with contextlib.suppress(OSError):
        beside = sorted(p for p in path.parent.iterdir() if p.name.startswith(f"{path.stem}."))
    return tuple(_state_of(other) for other in dict.fromkeys([path, *beside]))


def _state_of(path: Path) -> tuple[int, int, int]:
    try:
        status = path.stat()
    except OSError:
        return 0, 0, 0
    return status.st_ino, status.st_size, status.st_mtime_ns


def _written(state: State) -> float | None:
    """Seconds since 1970; None where the file had vanished already."""
    return state[0][2] / 1e9 or None


def _may_come(probes: str) -> bool:
    """Whether probes that cannot be read may be written yet."""
    path = Path(probes)
    return path.suffix in (".npy", ".npz") or not (path.exists() or ":" in probes)


def _checkpoints(count: int) -> str:
    return "1 checkpoint" if count == 1 else f"{count} checkpoints"


def _print_summary(step: int, results: dict[int, Measurements]) -> None:
    names = ["scale_free_entropy", "rms", "dead_fraction"]
    if any(m.statistics["nan_share"] > 0 for m in results[step]):
        names.append("nan_share")
    symbols = (STATISTICS[name].symbol for name in ("relative_entropy", *names))
    columns = ["layer", "operator", "map", "D", *symbols]
    rows = [
        [
            m.layer.name,
            m.layer.operator,
            "x".join(map(str, m.layer.map_shape)),
            str(m.layer.channels),
            number(m.relative_entropy),
            *(number(m.statistics[name]) for name in names),
        ]
        for m in results[step]
    ]
    print_table(f"step {step}", columns, rows, right=len(columns) - 2)

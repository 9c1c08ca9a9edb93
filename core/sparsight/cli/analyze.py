"""`sparsight analyze`: measure checkpoints and record them for TensorBoard."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import ModelError, UsageError

if TYPE_CHECKING:
    from ..checkpoints import Checkpoint
    from ..measurement import LayerMeasurement
    from ..probes import ProbeSet
    from ..recording import CheckpointRecorder

__all__ = ["analyze"]


@dataclass(frozen=True)
class _Options:
    """How to measure, whatever the checkpoint."""

    layers: list[str] | None
    statistics: list[str]
    batch_size: int
    device: str
    shown: int
    centre: str


def analyze(
    checkpoints: Annotated[
        list[str], typer.Argument(help=".onnx files, globs, or folders of them.", metavar="MODEL")
    ],
    probes: Annotated[
        Path, typer.Option(help="Held-out samples: .npz or .npy, one array for each input.")
    ],
    logdir: Annotated[Path, typer.Option(help="Run directory for TensorBoard.")],
    device: Annotated[
        str, typer.Option(help="auto, cpu, cuda, cuda:1, tensorrt, directml or coreml.")
    ] = "auto",
    layers: Annotated[
        list[str] | None,
        typer.Option(help="Names or globs of layers; all but the output layers unless given."),
    ] = None,
    statistics: Annotated[
        str, typer.Option(help="entropy, all, or names of columns, with commas between them.")
    ] = "all",
    batch_size: Annotated[int, typer.Option(min=1, help="Samples measured at once.")] = 16,
    shown_probes: Annotated[
        int, typer.Option(min=0, help="Samples whose entropy maps are kept.")
    ] = 8,
    step_pattern: Annotated[
        str | None, typer.Option(help="Regular expression for the epoch in a file name.")
    ] = None,
    centre: Annotated[
        str, typer.Option(help="Centre of filter correlations: own mean, or mean of filters.")
    ] = "own",
) -> None:
    """Measure checkpoints layer by layer, and record them for TensorBoard's Sparsity tab.

    What a run already holds is skipped.
    """
    from ..checkpoints import find_checkpoints

    if centre not in ("own", "filters"):
        raise UsageError(f"--centre {centre!r}: own or filters was wanted")
    names = [name for name in statistics.split(",") if name]
    options = _Options(layers, names, batch_size, device, shown_probes, centre)
    found = find_checkpoints(checkpoints, step_pattern)
    _record(found, probes, logdir, options)


def _record(found: Sequence[Checkpoint], probes: Path, logdir: Path, options: _Options) -> None:
    from ..analysis import match_model, shown_indices
    from ..model import open_model
    from ..probes import load_probes, shown_probes
    from ..recording import CheckpointRecorder
    from .output import remark

    samples = match_model(open_model(found[0].path), load_probes(probes))
    shown = shown_indices(options.shown, len(samples))
    pictures = shown_probes(samples.samples, shown)
    with CheckpointRecorder(logdir, pictures) as recorder:
        todo = [checkpoint for checkpoint in found if checkpoint.step not in recorder.recorded]
        if len(todo) < len(found):
            remark(f"{len(found) - len(todo)} of {len(found)} checkpoints are in {logdir} already")
        last, broken = _measure_all(todo, samples, recorder, options)
    if last:
        _print_summary(found, last, logdir)
    if broken:
        raise ModelError(f"{broken} of {len(found)} checkpoints could not be measured")


def _measure_all(
    todo: Sequence[Checkpoint],
    samples: ProbeSet,
    recorder: CheckpointRecorder,
    options: _Options,
) -> tuple[list[LayerMeasurement], int]:
    """Measure and record; the last measurement and the number of broken checkpoints."""
    from ..recording import Measured
    from .output import remark

    last: list[LayerMeasurement] = []
    broken = 0
    for checkpoint, result in _measurements(todo, samples, options):
        if isinstance(result, ModelError):
            if len(todo) == 1:
                raise result
            broken += 1
            remark(f"sparsight: {result}")
            continue
        written = checkpoint.path.stat().st_mtime  # when the network was as it is here
        recorder.add(Measured(checkpoint.step, result, wall_time=written))
        last = result
    return last, broken


def _measurements(
    todo: Sequence[Checkpoint], samples: ProbeSet, options: _Options
) -> Iterator[tuple[Checkpoint, list[LayerMeasurement] | ModelError]]:
    from .. import analysis
    from .output import progress

    with progress() as bar:
        task = bar.add_task("measuring", total=len(todo) * len(samples))
        for number, checkpoint in enumerate(todo, start=1):
            bar.update(task, description=f"{checkpoint.path.name} (step {checkpoint.step})")
            try:
                yield (
                    checkpoint,
                    analysis.analyze(
                        checkpoint.path,
                        samples,
                        layers=options.layers,
                        statistics=options.statistics,
                        batch_size=options.batch_size,
                        device=options.device,
                        shown=options.shown,
                        centre="filters" if options.centre == "filters" else "own",
                        progress=lambda count: bar.advance(task, count),
                    ),
                )
            except ModelError as error:
                yield checkpoint, error
            bar.update(task, completed=number * len(samples))


def _print_summary(
    found: Sequence[Checkpoint], last: Sequence[LayerMeasurement], logdir: Path
) -> None:
    from .output import console, number, table

    columns = ["layer", "operator", "map", "D", "H / ln D", "scale-free", "RMS", "dead"]
    names = ("scale_free_entropy", "rms", "dead_fraction")
    rows = [
        [
            m.layer.name,
            m.layer.operator,
            "x".join(map(str, m.layer.map_shape)),
            str(m.layer.channels),
            number(m.relative_entropy),
            *(number(m.statistics[name]) for name in names),
        ]
        for m in last
    ]
    screen = console()
    screen.print(table(f"{found[-1].path.name}", columns, rows, right=6))
    screen.print(f"{len(found)} checkpoints in {logdir}: tensorboard --logdir {logdir}")

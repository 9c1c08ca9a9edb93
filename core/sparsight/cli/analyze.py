"""`sparsight analyze`: measure checkpoints and record them for TensorBoard."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ..errors import ModelError

if TYPE_CHECKING:
    from ..analysis import Settings
    from ..checkpoints import Checkpoint
    from ..measurement import LayerMeasurement
    from ..probes import ProbeSet
    from ..recording import CheckpointRecorder

__all__ = ["analyze"]


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
        Literal["own", "filters"],
        typer.Option(help="Filter correlations: centred on each filter's mean, or the mean filter"),
    ] = "own",
) -> None:
    """Measure checkpoints layer by layer, and record them for TensorBoard's Sparsity tab.

    What a run already holds is skipped.
    """
    from ..analysis import Settings
    from ..checkpoints import find_checkpoints

    settings = Settings(
        layers=layers,
        statistics=[name for name in statistics.split(",") if name],
        batch_size=batch_size,
        device=device,
        shown=shown_probes,
        centre=centre,
    )
    _record(find_checkpoints(checkpoints, step_pattern), probes, logdir, settings)


def _record(found: Sequence[Checkpoint], probes: Path, logdir: Path, settings: Settings) -> None:
    from ..probes import shown_probes
    from ..recording import CheckpointRecorder
    from .output import remark

    samples = _matched(found, probes, settings)
    pictures = shown_probes(samples.samples, settings.shown_indices(len(samples)))
    with CheckpointRecorder(logdir, pictures) as recorder:
        todo = [checkpoint for checkpoint in found if checkpoint.step not in recorder.recorded]
        if len(todo) < len(found):
            remark(f"{len(found) - len(todo)} of {len(found)} checkpoints are in {logdir} already")
        last, broken = _measure_all(todo, samples, recorder, settings)
    if last:
        _print_summary(found, last, logdir)
    if broken:
        raise ModelError(f"{broken} of {len(found)} checkpoints could not be measured")


def _matched(found: Sequence[Checkpoint], probes: Path, settings: Settings) -> ProbeSet:
    """The probes, matched to the inputs of the first checkpoint that is not broken."""
    from ..analysis import match_model, measurable
    from ..model import open_model
    from ..probes import load_probes

    arrays = load_probes(probes)
    failures = []
    for checkpoint in found:
        try:
            model = open_model(checkpoint.path)
            measurable(model, settings.layers)
            return match_model(model, arrays)
        except ModelError as error:
            failures.append(error)
    raise failures[0]


def _measure_all(
    todo: Sequence[Checkpoint],
    samples: ProbeSet,
    recorder: CheckpointRecorder,
    settings: Settings,
) -> tuple[list[LayerMeasurement], int]:
    """Measure and record; the last measurement and the number of broken checkpoints."""
    from ..recording import Measured
    from .output import remark

    last: list[LayerMeasurement] = []
    broken = 0
    for checkpoint, result in _measurements(todo, samples, settings):
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
    todo: Sequence[Checkpoint], samples: ProbeSet, settings: Settings
) -> Iterator[tuple[Checkpoint, list[LayerMeasurement] | ModelError]]:
    from ..analysis import measure
    from .output import progress

    with progress() as bar:
        task = bar.add_task("measuring", total=len(todo) * len(samples))

        def advance(count: int) -> None:
            bar.advance(task, count)

        for number, checkpoint in enumerate(todo, start=1):
            bar.update(task, description=f"{checkpoint.path.name} (step {checkpoint.step})")
            try:
                yield checkpoint, measure(checkpoint.path, samples, settings, advance)
            except ModelError as error:
                yield checkpoint, error
            bar.update(task, completed=number * len(samples))


def _print_summary(
    found: Sequence[Checkpoint], last: Sequence[LayerMeasurement], logdir: Path
) -> None:
    from .output import console, number, plain, print_table

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
    print_table(found[-1].path.name, columns, rows, right=6)
    end = f"{len(found)} checkpoints in {logdir}: tensorboard --logdir {logdir}"
    console().print(plain(end), soft_wrap=True)

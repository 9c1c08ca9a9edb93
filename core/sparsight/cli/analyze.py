"""`sparsight analyze`: measure checkpoints and record them for TensorBoard."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from ..errors import UsageError

__all__ = ["analyze"]

_PROBES, _MEASURING, _PICTURES = "Probes", "Measurement", "Image probes"


def analyze(
    checkpoints: Annotated[
        list[str], typer.Argument(help="ONNX files, folders of them, or globs.", metavar="MODEL")
    ],
    probes: Annotated[
        str,
        typer.Option(
            help="Held-out samples: an .npz or .npy file (one array per input), a folder of "
            "images, or a Python function as module:name.",
            rich_help_panel=_PROBES,
        ),
    ],
    logdir: Annotated[Path | None, typer.Option(help="Run directory for TensorBoard.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write the statistics to a .parquet, .csv or .npz file.")
    ] = None,
    device: Annotated[
        str, typer.Option(help="auto, cpu, cuda, cuda:1, tensorrt, directml or coreml.")
    ] = "auto",
    batch_size: Annotated[
        str, typer.Option(help="Samples per batch; auto: as many as memory allows, at most 64.")
    ] = "auto",
    memory_limit: Annotated[
        str | None,
        typer.Option(help="Limit for weights and activations, such as 2GB or 512MiB."),
    ] = None,
    step_pattern: Annotated[
        str | None,
        typer.Option(help="Regular expression whose first group is the epoch in a file name."),
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Keep waiting for new checkpoints, until Ctrl-C.")
    ] = False,
    max_probes: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Measure at most this many samples, chosen at random.",
            rich_help_panel=_PROBES,
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of that choice.", rich_help_panel=_PROBES)] = 0,
    shown_probes: Annotated[
        int,
        typer.Option(
            min=0,
            help="How many samples, spread over the set, have their entropy maps kept.",
            rich_help_panel=_PROBES,
        ),
    ] = 8,
    input_axis: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=AXIS",
            help="Axis of an input that counts the samples, such as h=1, or none if it is the "
            "same for all samples; default: by the names of the model's dimensions, else the "
            "first.",
            rich_help_panel=_PROBES,
        ),
    ] = None,
    mask: Annotated[
        str | None,
        typer.Option(
            help="Name of an input that is 0 at padded positions, which are left out.",
            rich_help_panel=_PROBES,
        ),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            help="Classes of the samples (.npy or .npz), to record loss and accuracy too.",
            rich_help_panel=_PROBES,
        ),
    ] = None,
    output: Annotated[
        str,
        typer.Option(
            help="Output with one score per class; default: the first.", rich_help_panel=_PROBES
        ),
    ] = "",
    layers: Annotated[
        list[str] | None,
        typer.Option(
            help="Names, globs, or @FILE with one per line; default: all but the output layers.",
            rich_help_panel=_MEASURING,
        ),
    ] = None,
    names_from: Annotated[
        Path | None,
        typer.Option(
            help="The model before it was optimised: name the layers after its weights.",
            rich_help_panel=_MEASURING,
        ),
    ] = None,
    statistics: Annotated[
        str,
        typer.Option(
            help="entropy, all, or names of statistics, comma-separated.",
            rich_help_panel=_MEASURING,
        ),
    ] = "all",
    centre: Annotated[
        Literal["own", "filters"],
        typer.Option(
            help="Centre filters on their own mean, or on the mean filter, for correlations.",
            rich_help_panel=_MEASURING,
        ),
    ] = "own",
    size: Annotated[
        str | None,
        typer.Option(
            help="Height and width, such as 64x64; default: the model's.",
            rich_help_panel=_PICTURES,
        ),
    ] = None,
    scale: Annotated[
        float | None,
        typer.Option(
            help="Factor for pixel values; default: 1/255 for floating-point inputs.",
            rich_help_panel=_PICTURES,
        ),
    ] = None,
    mean: Annotated[
        str,
        typer.Option(
            help="Subtracted after scaling, one number per channel: .485,.456,.406",
            rich_help_panel=_PICTURES,
        ),
    ] = "",
    std: Annotated[
        str,
        typer.Option(
            help="Divided by at the end, one number per channel: .229,.224,.225",
            rich_help_panel=_PICTURES,
        ),
    ] = "",
    layout: Annotated[
        Literal["auto", "nchw", "nhwc"],
        typer.Option(help="Channels first (nchw) or last (nhwc).", rich_help_panel=_PICTURES),
    ] = "auto",
) -> None:
    """Measure checkpoints layer by layer, and record them for TensorBoard's Sparsity tab.

    Checkpoints that the run already holds are skipped.
    """
    from ..analysis.analyze import Settings
    from ..probes.sample_axes import parse_axes
    from ..probes.sources import PictureOptions
    from ..system.memory import parse_amount
    from .campaign import Campaign, Source

    if logdir is None and out is None:
        raise UsageError(
            "nothing to write to: give --logdir for TensorBoard, --out for a file, or both"
        )
    settings = Settings(
        layers=None if layers is None else _listed(layers),
        statistics=[name for name in statistics.split(",") if name],
        batch_size=_batch_size(batch_size),
        device=device,
        shown=shown_probes,
        centre=centre,
        mask=mask,
        memory_limit=None if memory_limit is None else parse_amount(memory_limit),
        input_axes=parse_axes(input_axis or ()),
        names_from=names_from,
    )
    pictures = PictureOptions(
        _size(size), scale, _numbers("mean", mean), _numbers("std", std), layout
    )
    source = Source(probes, pictures, max_probes, seed, labels, output)
    Campaign(checkpoints, step_pattern, source, settings, logdir, out).run(watch)


def _listed(layers: list[str]) -> list[str]:
    """Names, with those that @FILE holds, one a line, in its place."""
    names: list[str] = []
    for entry in layers:
        if not entry.startswith("@"):
            names.append(entry)
            continue
        try:
            lines = Path(entry[1:]).read_text("utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"--layers {entry}: cannot read the file: {error}") from None
        names += [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    return names


def _batch_size(text: str) -> int | None:
    if text == "auto":
        return None
    if not text.isdecimal() or int(text) < 1:
        raise UsageError(f"--batch-size {text!r}: expected auto or a number, 1 or more")
    return int(text)


def _size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    sides = text.lower().split("x")
    sides = sides * 2 if len(sides) == 1 else sides
    if len(sides) != 2 or not all(side.isdecimal() and int(side) > 0 for side in sides):
        raise UsageError(f"--size {text!r}: expected height and width, such as 64x64")
    return int(sides[0]), int(sides[1])


def _numbers(option: str, text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(",") if part)
    except ValueError:
        raise UsageError(f"--{option} {text!r}: expected comma-separated numbers") from None

"""`sparsight analyze`: measure checkpoints and record them for TensorBoard."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from ..errors import UsageError

__all__ = ["analyze"]

_PROBES, _MEASURING, _PICTURES = "Probes", "What is measured", "Probes that are pictures"


def analyze(
    checkpoints: Annotated[
        list[str], typer.Argument(help=".onnx files, globs, or folders of them.", metavar="MODEL")
    ],
    probes: Annotated[
        str,
        typer.Option(
            help="Held-out samples: .npz or .npy (an array for each input), a folder of pictures, "
            "or a Python function module:name.",
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
        str, typer.Option(help="Samples at once; auto takes what memory allows, 64 at most.")
    ] = "auto",
    memory_limit: Annotated[
        str | None,
        typer.Option(help="Most memory for weights and activations, as in 2GB or 512MiB."),
    ] = None,
    step_pattern: Annotated[
        str | None,
        typer.Option(help="Regular expression whose group is the epoch in a file name."),
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Wait for further checkpoints, until Ctrl-C.")
    ] = False,
    max_probes: Annotated[
        int | None,
        typer.Option(
            min=1, help="Measure so many samples, chosen at random.", rich_help_panel=_PROBES
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the random choice.", rich_help_panel=_PROBES)] = 0,
    shown_probes: Annotated[
        int,
        typer.Option(
            min=0,
            help="Samples, spread over the set, whose entropy maps are kept.",
            rich_help_panel=_PROBES,
        ),
    ] = 8,
    input_axis: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=AXIS",
            help="Which axis of an input counts the samples, as in h=1; sr=none if it is the same "
            "for all. The first, unless the model's names of dimensions tell.",
            rich_help_panel=_PROBES,
        ),
    ] = None,
    mask: Annotated[
        str | None,
        typer.Option(
            help="Input that is 0 at padded positions, which are left out.", rich_help_panel=_PROBES
        ),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            help="Classes of the samples, .npy or .npz: loss and accuracy are recorded as well.",
            rich_help_panel=_PROBES,
        ),
    ] = None,
    output: Annotated[
        str,
        typer.Option(
            help="Output with a score a class; the first unless given.", rich_help_panel=_PROBES
        ),
    ] = "",
    layers: Annotated[
        list[str] | None,
        typer.Option(
            help="Names, globs, or @FILE with one a line; all but the output layers unless given.",
            rich_help_panel=_MEASURING,
        ),
    ] = None,
    names_from: Annotated[
        Path | None,
        typer.Option(
            help="The model before it was optimised: layers get the names that their weights have "
            "there.",
            rich_help_panel=_MEASURING,
        ),
    ] = None,
    statistics: Annotated[
        str,
        typer.Option(
            help="entropy, all, or names of statistics, with commas between them.",
            rich_help_panel=_MEASURING,
        ),
    ] = "all",
    centre: Annotated[
        Literal["own", "filters"],
        typer.Option(
            help="Filter correlations: centred on each filter's mean, or on the mean filter.",
            rich_help_panel=_MEASURING,
        ),
    ] = "own",
    size: Annotated[
        str | None,
        typer.Option(
            help="Height and width, as in 64x64; the model's unless given.",
            rich_help_panel=_PICTURES,
        ),
    ] = None,
    scale: Annotated[
        float | None,
        typer.Option(
            help="Factor of pixel values; 1/255 for inputs of floats unless given.",
            rich_help_panel=_PICTURES,
        ),
    ] = None,
    mean: Annotated[
        str,
        typer.Option(
            help="Subtracted after that, a number a channel: .485,.456,.406",
            rich_help_panel=_PICTURES,
        ),
    ] = "",
    std: Annotated[
        str,
        typer.Option(
            help="Divided by last, a number a channel: .229,.224,.225", rich_help_panel=_PICTURES
        ),
    ] = "",
    layout: Annotated[
        Literal["auto", "nchw", "nhwc"],
        typer.Option(help="Where the channels are: first or last.", rich_help_panel=_PICTURES),
    ] = "auto",
) -> None:
    """Measure checkpoints layer by layer, and record them for TensorBoard's Sparsity tab.

    What a run already holds is skipped.
    """
    from ..analysis.analyze import Settings
    from ..probes.sample_axes import parse_axes
    from ..probes.sources import PictureOptions
    from ..system.memory import parse_amount
    from .campaign import Campaign, Source

    if logdir is None and out is None:
        raise UsageError("give --logdir for TensorBoard, or --out for a file, or both")
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
        raise UsageError(f"--batch-size {text!r}: auto or a number from 1 on was wanted")
    return int(text)


def _size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    sides = text.lower().split("x")
    sides = sides * 2 if len(sides) == 1 else sides
    if len(sides) != 2 or not all(side.isdecimal() and int(side) > 0 for side in sides):
        raise UsageError(f"--size {text!r}: height and width were wanted, as in 64x64")
    return int(sides[0]), int(sides[1])


def _numbers(option: str, text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(",") if part)
    except ValueError:
        raise UsageError(f"--{option} {text!r}: numbers with commas between were wanted") from None

"""Reproduce the paper's networks, tables and figures."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from sparsight.errors import UsageError

from .cells import PRESETS, Cell, Choices, Preset, preset
from .data import data_folder
from .download import make_available
from .execution import Execution
from .experiments import Experiment
from .figures import FIGURES, draw, save
from .formats import DATASETS
from .networks import WIDTHS
from .report import collect, report, write_report
from .running import run_all
from .tables import Format, read_results, rendered, table2, table3

__all__ = ["command"]

command = typer.Typer(
    help="Reproduce the paper's networks, tables and figures.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

_PresetOption = Annotated[str, typer.Option("--preset", help=", ".join(PRESETS))]
_RunsOption = Annotated[
    Path | None, typer.Option("--runs", help="Where runs are; runs/paper/PRESET if not given.")
]
_DataOption = Annotated[
    Path | None, typer.Option("--data", help="Folder of the data sets; else SPARSIGHT_DATA.")
]
_Names = Annotated[list[str] | None, typer.Option(help="Only these; may be repeated.")]


def _console(stderr: bool = False) -> Console:
    return Console(stderr=stderr, markup=False, highlight=False, emoji=False)


@command.command()
def cells(preset_name: _PresetOption = "small", runs: _RunsOption = None) -> None:
    """List the cells of a preset, with the index that `run --index` takes."""
    chosen = preset(preset_name)
    _console().print(f"{preset_name}: {chosen.summary}", soft_wrap=True)
    folder = runs or default_runs(preset_name)
    for index, cell in enumerate(chosen.cells):
        finished = (folder / cell.name / "result.json").exists()
        _console().print(f"{index:3d}  {cell.name}{'  (finished)' if finished else ''}")


@command.command()
def run(
    preset_name: _PresetOption = "small",
    runs: _RunsOption = None,
    data: _DataOption = None,
    network: _Names = None,
    size: _Names = None,
    data_set: _Names = None,
    optimiser: _Names = None,
    seed: Annotated[list[int] | None, typer.Option(help="Seeds; replace the preset's.")] = None,
    index: Annotated[
        int | None, typer.Option(help="Only the cell of this index, for array jobs.")
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Cells at a time.")] = 1,
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:N.")] = "cpu",
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads of a cell.")] = None,
    precision: Annotated[str, typer.Option(help="float32, or on CUDA tf32, bf16.")] = "float32",
    compile: Annotated[bool, typer.Option("--compile", help="Compile the network.")] = False,
    epochs: Annotated[int | None, typer.Option(min=1, help="Instead of the preset's.")] = None,
    training_images: Annotated[int | None, typer.Option(min=1)] = None,
    validation_images: Annotated[int | None, typer.Option(min=1)] = None,
    probes: Annotated[int | None, typer.Option(min=1)] = None,
    choose: Annotated[
        list[str] | None,
        typer.Option(help="A choice that the paper leaves open, as padding=valid (docs/paper.md)."),
    ] = None,
) -> None:
    """Train the cells of a preset that are not finished; killed runs go on where they were."""
    chosen = preset(preset_name)
    only = {"network": network, "size": size, "data": data_set, "optimiser": optimiser}
    selected = select(chosen, only, seed, choices_of(choose) if choose else None)
    if index is not None:
        if not 0 <= index < len(selected):
            raise UsageError(f"--index {index}: there are {len(selected)} cells, counted from 0")
        selected = [selected[index]]
    overrides: dict[str, Any] = {
        "epochs": epochs,
        "training": training_images,
        "validation": validation_images,
        "probes": probes,
    }
    protocol = dataclasses.replace(
        chosen.protocol, **{key: value for key, value in overrides.items() if value is not None}
    )
    execution = Execution(device, threads, precision, compile)  # type: ignore[arg-type]
    experiments = [
        Experiment(cell, protocol, runs or default_runs(preset_name), data_folder(data), execution)
        for cell in selected
    ]
    console = _console(stderr=True)
    if not all(experiment.is_finished() for experiment in experiments):
        for name in dict.fromkeys(cell.data for cell in selected):
            make_available(name, data_folder(data), console)
    run_all(experiments, jobs, console)


@command.command()
def download(
    data_sets: Annotated[list[str], typer.Argument(help=", ".join(DATASETS))],
    data: _DataOption = None,
) -> None:
    """Fetch data sets from their publishers, unless they are there; `run` does so by itself."""
    for name in data_sets:
        folder = make_available(name, data_folder(data), _console(stderr=True))
        _console().print(f"{name}: {folder}", soft_wrap=True)


_FormatOption = Annotated[str, typer.Option("--format", help="text, markdown or latex.")]


@command.command("table2")
def print_table2(
    preset_name: _PresetOption = "full", runs: _RunsOption = None, form: _FormatOption = "text"
) -> None:
    """Print Table 2: ours beside the paper's, with the spread over seeds."""
    chosen = preset(preset_name)
    results = read_results(runs or default_runs(preset_name))
    print(rendered(table2(chosen, results), _form(form)), end="")


@command.command("table3")
def print_table3(
    preset_name: _PresetOption = "full", runs: _RunsOption = None, form: _FormatOption = "text"
) -> None:
    """Print Table 3: LeNet and AlexNet without and with regularisation."""
    chosen = preset(preset_name)
    results = read_results(runs or default_runs(preset_name))
    print(rendered(table3(chosen, results), _form(form)), end="")


@command.command()
def results(
    out: Annotated[Path, typer.Option(help="The page to write.")] = Path("docs/results.md"),
    collected: Annotated[
        Path, typer.Option(help="Result files, a folder a preset; those of --runs are added.")
    ] = Path("docs/results"),
    preset_name: _PresetOption = "small",
    runs: _RunsOption = None,
) -> None:
    """Collect the results of runs, and generate the page that shows all that were collected."""
    if runs is not None:
        collect(runs, collected / preset(preset_name).protocol.name)
    parts = [
        (chosen, read_results(collected / name))
        for name, chosen in PRESETS.items()
        if (collected / name).is_dir()
    ]
    if not parts:
        raise UsageError(f"{collected} holds no results; pass the --runs that made some")
    write_report(report(parts, collected.as_posix()), out)
    _console(stderr=True).print(f"{out} is written", soft_wrap=True)


def _figure_command(name: str) -> None:
    """Register a figure as a command of its own: `sparsight paper figure3`."""

    def figure(
        preset_name: _PresetOption = "long" if name == "figure6" else "full",
        runs: _RunsOption = None,
        data_set: Annotated[str | None, typer.Option(help="The preset's first if not given.")] = (
            None
        ),
        size: Annotated[str | None, typer.Option(help="The preset's last if not given.")] = None,
        seed: Annotated[int, typer.Option()] = 0,
        out: Annotated[Path | None, typer.Option(help="PDF, SVG or PNG.")] = None,
    ) -> None:
        cells = [cell for cell in preset(preset_name).cells if cell.size]
        data = data_set or cells[0].data
        folder = runs or default_runs(preset_name)
        chosen = size or max((cell.size for cell in cells), key=list(WIDTHS).index)
        target = out or Path(f"{name}.pdf")
        save(draw(name, folder, data, chosen, seed), target)
        _console(stderr=True).print(f"{target} is written", soft_wrap=True)

    command.command(name, help=f"Draw {FIGURES[name].title.lower()} from event files.")(figure)


for _name in FIGURES:
    _figure_command(_name)


def _form(name: str) -> Format:
    if name not in ("text", "markdown", "latex"):
        raise UsageError(f"--format {name}: text, markdown or latex was wanted")
    return name  # type: ignore[return-value]


def default_runs(preset_name: str) -> Path:
    """Where a preset's runs go if nothing else is said: presets of one protocol share a folder."""
    return Path("runs/paper") / preset(preset_name).protocol.name


def select(
    chosen: Preset,
    only: Mapping[str, Sequence[str] | None],
    seeds: Sequence[int] | None = None,
    choices: Choices | None = None,
) -> list[Cell]:
    """The cells of a preset whose attributes are among those of `only`.

    `seeds` and `choices` replace the preset's. Raises UsageError where no cell is left.
    """
    found = list(chosen.cells)
    for attribute, values in only.items():
        there = list(dict.fromkeys(getattr(cell, attribute) for cell in found))
        unknown = [value for value in values or () if value not in there]
        if unknown:
            raise UsageError(
                f"no cell of the preset has the {attribute} {unknown[0]!r}; there are: "
                + ", ".join(map(str, there))
            )
        found = [cell for cell in found if not values or getattr(cell, attribute) in values]
    if choices is not None:
        found = [dataclasses.replace(cell, choices=choices) for cell in found]
    if seeds:
        found = [dataclasses.replace(cell, seed=seed) for seed in seeds for cell in found]
    return list(dict.fromkeys(found))


def choices_of(given: list[str]) -> Choices:
    """Choices from `name=value` texts. Raises UsageError for what is no choice."""
    kinds: dict[str, Any] = {
        "padding": ("same", "valid"),
        "initialisation": ("glorot", "torch"),
        "placement": ("block", "convolution"),
        "entropy_at": ("linear", "activation"),
        "reduction": ("sum", "mean"),
        "centre": ("own", "filters"),
        "form": ("signed", "squared", "positive"),
        "lambda": float,
        "kappa": float,
    }
    found: dict[str, Any] = {}
    for text in given:
        name, _, value = text.partition("=")
        if name not in kinds:
            raise UsageError(f"no choice {name!r}; there are: {', '.join(kinds)}")
        found["lambda_" if name == "lambda" else name] = _value(name, value, kinds[name])
    return Choices(**found)


def _value(name: str, value: str, kind: Any) -> Any:
    if kind is float:
        try:
            return float(value)
        except ValueError:
            raise UsageError(f"{name}={value}: a number was wanted") from None
    if value not in kind:
        raise UsageError(f"{name}={value}: one of {', '.join(kind)} was wanted")
    return value

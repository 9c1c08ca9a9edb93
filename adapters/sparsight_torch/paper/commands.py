"""Reproduce the paper's networks, tables and figures."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from sparsight.errors import RunError, UsageError

from .cells import PRESETS, Cell, Preset, preset
from .choices import Choices, choices_of
from .data import data_folder
from .download import make_available
from .equation6 import equation6
from .execution import Execution
from .experiments import Experiment
from .figures import FIGURES, draw, save
from .formats import DATASETS
from .report import protocols, report
from .results import Results, collect, read_results, store
from .running import run_all
from .tables import Format, Table, rendered, table2, table3

__all__ = ["command"]

command = typer.Typer(
    help="Reproduce the paper's networks, tables and figures.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

_PresetOption = Annotated[str, typer.Option("--preset", help=", ".join(PRESETS))]
_RunsOption = Annotated[
    Path | None, typer.Option("--runs", help="Where runs are; runs/paper/PROTOCOL if not given.")
]
_DataOption = Annotated[
    Path | None, typer.Option("--data", help="Folder of the data sets; else SPARSIGHT_DATA.")
]
_Names = Annotated[list[str] | None, typer.Option(help="Only these; may be repeated.")]
_FormatOption = Annotated[str, typer.Option("--format", help="text, markdown or latex.")]
_Number = Annotated[int | None, typer.Option(min=1, help="Instead of the preset's.")]


def _console(stderr: bool = False) -> Console:
    return Console(stderr=stderr, markup=False, highlight=False, emoji=False)


@command.command()
def cells(preset_name: _PresetOption = "small", runs: _RunsOption = None) -> None:
    """List the cells of a preset, with the index that `run --index` takes."""
    chosen = preset(preset_name)
    _console().print(f"{preset_name}: {chosen.summary}", soft_wrap=True)
    folder = runs or default_runs(chosen)
    for index, cell in enumerate(chosen.cells):
        finished = (folder / cell.name / "result.json").exists()
        line = f"{index:3d}  {cell.name}{'  (finished)' if finished else ''}"
        _console().print(line, soft_wrap=True)


@command.command()
def run(
    preset_name: _PresetOption = "small",
    runs: _RunsOption = None,
    data: _DataOption = None,
    network: _Names = None,
    size: _Names = None,
    data_set: _Names = None,
    optimiser: _Names = None,
    seed: Annotated[
        list[int] | None, typer.Option(min=0, help="Seeds; replace the preset's.")
    ] = None,
    choose: Annotated[
        list[str] | None,
        typer.Option(
            help="What the paper leaves open, as padding=valid (docs/paper.md); replaces the "
            "preset's choices. May be repeated."
        ),
    ] = None,
    index: Annotated[
        int | None, typer.Option(help="Only the cell of this index, for array jobs.")
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Cells at a time.")] = 1,
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:N.")] = "cpu",
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads of a cell.")] = None,
    precision: Annotated[str, typer.Option(help="float32, or on CUDA tf32, bf16.")] = "float32",
    compile: Annotated[bool, typer.Option("--compile", help="Compile the network.")] = False,
    epochs: _Number = None,
    training_images: _Number = None,
    validation_images: _Number = None,
    probes: _Number = None,
) -> None:
    """Train the cells of a preset that are not finished; killed runs go on where they were."""
    chosen = preset(preset_name)
    only = {"network": network, "size": size, "data": data_set, "optimiser": optimiser}
    selected = select(chosen, only, seed, choices_of(choose) if choose else None)
    if index is not None:
        if not 0 <= index < len(selected):
            raise UsageError(f"--index {index}: there are {len(selected)} cells, counted from 0")
        selected = [selected[index]]
    given = {
        "epochs": epochs,
        "training": training_images,
        "validation": validation_images,
        "probes": probes,
    }
    changed: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    protocol = dataclasses.replace(chosen.protocol, **changed)
    execution = Execution(device, threads, precision, compile)  # type: ignore[arg-type]
    folder, root = runs or default_runs(chosen), data_folder(data)
    experiments = [Experiment(cell, protocol, folder, root, execution) for cell in selected]
    console = _console(stderr=True)
    if not all(experiment.is_finished() for experiment in experiments):
        for name in dict.fromkeys(cell.data for cell in selected):
            make_available(name, root, console)
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


@command.command()
def results(
    out: Annotated[Path, typer.Option(help="The page to write.")] = Path("docs/results.md"),
    collected: Annotated[
        Path, typer.Option(help="Result files, a folder a protocol; those of --runs are added.")
    ] = Path("docs/results"),
    preset_name: _PresetOption = "small",
    runs: Annotated[
        Path | None, typer.Option(help="Runs to collect results from; none if not given.")
    ] = None,
) -> None:
    """Collect the results of runs, and generate the page that shows all that were collected."""
    protocol = preset(preset_name).protocol
    if runs is not None:
        collect(runs, collected / protocol.name, protocol)
    there = [name for name in protocols() if (collected / name).is_dir()]
    if not there:
        raise UsageError(f"{collected} holds no results; pass the --runs that made some")
    parts = [
        (part, read_results(collected / name))
        for name, part in protocols().items()
        if name in there or part.protocol.training is None  # the paper's own: all images
    ]
    store(out, report(parts, collected.as_posix()))
    _console(stderr=True).print(f"{out} is written", soft_wrap=True)


def _table_command(name: str, table: Callable[[Preset, Results], Table], help: str) -> None:
    """Register a table as a command of its own: `sparsight paper table2`."""

    def print_table(
        preset_name: _PresetOption = "full",
        runs: _RunsOption = None,
        form: _FormatOption = "text",
    ) -> None:
        chosen = preset(preset_name)
        if runs is not None and not runs.is_dir():
            raise RunError(f"there is no folder {runs}")
        found = read_results(runs or default_runs(chosen))
        print(rendered(table(chosen, found), _form(form)), end="")

    command.command(name, help=help)(print_table)


_table_command(
    "table2", table2, "Print Table 2: ours, with the spread of seeds, beside the paper's."
)
_table_command("table3", table3, "Print Table 3: LeNet and AlexNet without and with penalties.")


@command.command("equation6")
def print_equation6(form: _FormatOption = "text") -> None:
    """Print what the two readings of Eq. 6 do to the filters of conv1."""
    print(rendered(equation6(), _form(form)), end="")


def _figure_command(name: str) -> None:
    """Register a figure as a command of its own: `sparsight paper figure3`."""
    spec = FIGURES[name]

    def figure(
        preset_name: _PresetOption = spec.preset,
        runs: _RunsOption = None,
        data_set: Annotated[str | None, typer.Option(help="The preset's first if not given.")] = (
            None
        ),
        size: Annotated[str | None, typer.Option(help="The preset's last if not given.")] = None,
        seed: Annotated[int, typer.Option(min=0)] = 0,
        out: Annotated[Path | None, typer.Option(help="PDF, SVG or PNG.")] = None,
    ) -> None:
        chosen = preset(preset_name)
        target = out or Path(f"{name}.pdf")
        save(draw(name, chosen, runs or default_runs(chosen), data_set, size, seed), target)
        _console(stderr=True).print(f"{target} is written", soft_wrap=True)

    command.command(name, help=f"Draw {spec.title.lower()} from event files.")(figure)


for _name in FIGURES:
    _figure_command(_name)


def _form(name: str) -> Format:
    if name not in ("text", "markdown", "latex"):
        raise UsageError(f"--format {name}: text, markdown or latex was wanted")
    return name  # type: ignore[return-value]


def default_runs(chosen: Preset) -> Path:
    """Where a preset's runs go if nothing else is said: presets of one protocol share a folder."""
    return Path("runs/paper") / chosen.protocol.name


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
                + ", ".join(name or "none" for name in there)
            )
        found = [cell for cell in found if not values or getattr(cell, attribute) in values]
    if choices is not None:
        found = [dataclasses.replace(cell, choices=choices) for cell in found]
    if seeds:
        found = [dataclasses.replace(cell, seed=seed) for seed in seeds for cell in found]
    return list(dict.fromkeys(found))

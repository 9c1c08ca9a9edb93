"""Reproduce the paper's networks, tables and figures."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Annotated, Any, get_args

import torch
import typer
from rich.console import Console

from sparsight.errors import RunError, UsageError

from .cells import PRESETS, SCOPES, Cell, Optimiser, Preset, Protocol, preset
from .choices import choices_of
from .classics import CLASSICS
from .data import data_folder
from .download import make_available
from .equation6 import equation6
from .evidence import evidence
from .execution import Execution
from .experiments import Experiment
from .figures import FIGURES, draw, save
from .formats import DATASETS
from .networks import NETWORKS, WIDTHS
from .report import protocols, report
from .results import Results, collect, read_results, store
from .rivals import collect_rivals
from .running import run_all
from .selection import Shown, default_runs, select
from .tables import Format, Table, rendered, table2, table3
from .treatments import TREATMENTS

__all__ = ["command"]

command = typer.Typer(
    help="Reproduce the paper's networks, tables and figures.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

_PresetOption = Annotated[str, typer.Option("--preset", help=", ".join(PRESETS))]
_RunsOption = Annotated[
    Path | None, typer.Option("--runs", help="Folder of the runs; default: runs/paper/PROTOCOL.")
]
_DataOption = Annotated[
    Path | None, typer.Option("--data", help="Folder of the data sets; default: SPARSIGHT_DATA.")
]


def _only(option: str, *values: str) -> Any:
    """An option that chooses among a preset's cells."""
    return typer.Option(option, help=f"Only these; repeatable: {', '.join(values)}.")


_NetworkOption = Annotated[list[str] | None, _only("--network", *NETWORKS, *CLASSICS)]
_SizeOption = Annotated[list[str] | None, _only("--size", *WIDTHS, "none (LeNet and AlexNet)")]
_DataSetOption = Annotated[list[str] | None, _only("--data-set", *DATASETS)]
_OptimiserOption = Annotated[list[str] | None, _only("--optimiser", *get_args(Optimiser))]
_TreatmentOption = Annotated[
    list[str] | None,
    typer.Option(
        "--treatment",
        help="Only these, with their strengths, as weight-decay-0.003 (presets rivals...); may be "
        f"repeated: {', '.join(TREATMENTS)}.",
    ),
]
_SeedOption = Annotated[
    list[int] | None,
    typer.Option("--seed", min=0, help="Seeds instead of the preset's; repeatable."),
]
_ChooseOption = Annotated[
    list[str] | None,
    typer.Option(
        "--choose",
        help="What the paper leaves open, such as padding=valid, instead of the preset's choices: "
        f"{', '.join(SCOPES)} (see reproduction/README.md). Networks that it does not affect "
        "are left out. Repeatable.",
    ),
]
_FormatOption = Annotated[str, typer.Option("--format", help="text, markdown or latex.")]
_Number = Annotated[int | None, typer.Option(min=1, help="Instead of the preset's.")]


def _console(stderr: bool = False) -> Console:
    return Console(stderr=stderr, markup=False, highlight=False, emoji=False)


def _say(sentence: str) -> None:
    _console(stderr=True).print(sentence, soft_wrap=True)


@command.command()
def cells(
    preset_name: _PresetOption = "small",
    runs: _RunsOption = None,
    network: _NetworkOption = None,
    size: _SizeOption = None,
    data_set: _DataSetOption = None,
    optimiser: _OptimiserOption = None,
    treatment: _TreatmentOption = None,
    seed: _SeedOption = None,
    choose: _ChooseOption = None,
) -> None:
    """List cells with the index that `run --index` takes where its other options are the same."""
    chosen = preset(preset_name)
    selected = _selected(chosen, network, size, data_set, optimiser, treatment, seed, choose)
    folder = _runs_folder(runs, chosen)
    _console().print(f"{preset_name}: {chosen.summary}", soft_wrap=True)
    for index, cell in enumerate(selected):
        finished = (folder / cell.name / "result.json").exists()
        line = f"{index:3d}  {cell.name}{'  (finished)' if finished else ''}"
        _console().print(line, soft_wrap=True)


@command.command()
def run(
    preset_name: _PresetOption = "small",
    runs: _RunsOption = None,
    data: _DataOption = None,
    network: _NetworkOption = None,
    size: _SizeOption = None,
    data_set: _DataSetOption = None,
    optimiser: _OptimiserOption = None,
    treatment: _TreatmentOption = None,
    seed: _SeedOption = None,
    choose: _ChooseOption = None,
    index: Annotated[
        int | None,
        typer.Option(
            help="Run only one cell, for array jobs: its index in the list that `cells` prints "
            "with the same options."
        ),
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Cells to run at a time.")] = 1,
    device: Annotated[
        str, typer.Option(help="cpu, cuda or cuda:N; auto: cuda if PyTorch finds it, else cpu.")
    ] = "auto",
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads per cell.")] = None,
    precision: Annotated[str, typer.Option(help="float32; on CUDA also tf32 or bf16.")] = "float32",
    compile: Annotated[bool, typer.Option("--compile", help="Compile the network.")] = False,
    epochs: _Number = None,
    training_images: _Number = None,
    validation_images: _Number = None,
    probes: _Number = None,
) -> None:
    """Train the cells of a preset that are not finished; killed runs go on where they were."""
    chosen = preset(preset_name)
    selected = _selected(chosen, network, size, data_set, optimiser, treatment, seed, choose)
    if index is not None:
        if not 0 <= index < len(selected):
            raise UsageError(f"--index {index}: there are {len(selected)} cells, counted from 0")
        selected = [selected[index]]
    protocol = _changed(
        chosen.protocol,
        epochs=epochs,
        training=training_images,
        validation=validation_images,
        probes=probes,
    )
    data_sets = list(dict.fromkeys(cell.data for cell in selected))
    folder, root = _runs_folder(runs, chosen), _given_data_folder(data, data_sets)
    execution = Execution(_device(device), threads, precision, compile)  # type: ignore[arg-type]
    experiments = [Experiment(cell, protocol, folder, root, execution) for cell in selected]
    console = _console(stderr=True)
    if any(experiment.result() is None for experiment in experiments):
        _say(f"Training on {_device_title(execution.device)}")
        for name in data_sets:
            make_available(name, root, console)
    run_all(experiments, jobs, console)


def _changed(protocol: Protocol, **given: int | None) -> Protocol:
    changed: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    return dataclasses.replace(protocol, **changed)


def _given_data_folder(data: Path | None, names: Sequence[str]) -> Path:
    """A name that was mistyped must not become a folder, and a download."""
    if data is not None and not data.is_dir():
        raise UsageError(
            f"no such folder: {data}; create it with `sparsight paper download "
            f"{' '.join(names)} --data {data}`"
        )
    return data_folder(data)


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
    out: Annotated[Path, typer.Option(help="The page to write.")] = Path("reproduction/results.md"),
    collected: Annotated[
        Path, typer.Option(help="Result files, one folder per protocol; those of --runs are added.")
    ] = Path("reproduction/results"),
    preset_name: _PresetOption = "small",
    runs: Annotated[
        Path | None, typer.Option(help="Runs to collect results from; default: none.")
    ] = None,
) -> None:
    """Collect the results of runs, and generate the page that shows all that were collected."""
    protocol = preset(preset_name).protocol
    if runs is not None:
        collect(runs, collected / protocol.name, protocol)
    known = protocols()
    there = [name for name in known if (collected / name).is_dir()]
    if not there:
        raise UsageError(f"no results in {collected}; use --runs to collect some")
    parts = [
        (part, read_results(collected / name))
        for name, part in known.items()
        if name in there or part.protocol.training is None  # the paper's own: all images
    ]
    store(out, report(parts, collected.as_posix()))
    _say(f"wrote {out}")


@command.command("evidence")
def write_evidence(
    out: Annotated[Path, typer.Option(help="The page to write.")] = Path("docs/evidence.md"),
    collected: Annotated[
        Path, typer.Option(help="Result files; those of --runs are added to evidence/rivals in it.")
    ] = Path("reproduction/results"),
    runs: Annotated[
        Path | None, typer.Option(help="Runs of the rivals to collect; none if not given.")
    ] = None,
) -> None:
    """Collect the runs of the rivals, and generate the page on the evidence."""
    if runs is not None:
        collect_rivals(runs, collected / "evidence" / "rivals")
    store(out, evidence(collected))
    _say(f"{out} is written")


def _table_command(
    name: str,
    table: Callable[[Preset, Results], Table],
    networks: Collection[str],
    default: str,
    help: str,
) -> None:
    """Register a table as a command of its own: `sparsight paper table2`."""
    shown = Shown(
        name,
        lambda cell: cell.network in networks and not cell.choices.changed(),
        "finished cell",
        "result.json",
    )

    def print_table(
        preset_name: _PresetOption = default,
        runs: _RunsOption = None,
        form: _FormatOption = "text",
    ) -> None:
        chosen = preset(preset_name)
        found = read_results(_existing(runs) or default_runs(chosen))
        text = rendered(table(chosen, found), _form(form))
        missing = shown.missing(preset_name, runs)
        if missing:
            _say(missing)
        print(text, end="")

    command.command(name, help=help)(print_table)


_table_command(
    "table2",
    table2,
    NETWORKS,
    "small",
    "Print Table 2: ours, with the spread of seeds, beside the paper's.",
)
_table_command(
    "table3",
    table3,
    CLASSICS,
    "full",
    "Print Table 3: LeNet and AlexNet without and with penalties.",
)


@command.command("equation6")
def print_equation6(form: _FormatOption = "text") -> None:
    """Print what the two readings of Eq. 6 do to the filters of conv1."""
    print(rendered(equation6(), _form(form)), end="")


def _figure_command(name: str) -> None:
    """Register a figure as a command of its own: `sparsight paper figure3`."""
    spec = FIGURES[name]
    shown = Shown(name, spec.shows, "run", "events.*")

    def figure(
        preset_name: _PresetOption = spec.preset,
        runs: _RunsOption = None,
        data_set: Annotated[
            str | None,
            typer.Option(help=f"{', '.join(DATASETS)}; default: the preset's first."),
        ] = None,
        size: Annotated[
            str | None,
            typer.Option(
                help=f"{', '.join(WIDTHS)}; default: the one with the most runs, or the larger of "
                "equals."
            ),
        ] = None,
        seed: Annotated[int, typer.Option(min=0)] = 0,
        out: Annotated[
            Path | None,
            typer.Option(help="PDF, SVG or PNG file; default: a PDF named after the command."),
        ] = None,
    ) -> None:
        chosen = preset(preset_name)
        missing = shown.missing(preset_name, _existing(runs))
        if missing:
            raise RunError(missing)
        target = out or Path(f"{name}.pdf")
        save(draw(name, chosen, runs or default_runs(chosen), data_set, size, seed), target)
        _say(f"wrote {target}")

    command.command(name, help=f"Draw {spec.summary}, from event files.")(figure)


for _name in FIGURES:
    _figure_command(_name)


def _form(name: str) -> Format:
    if name not in ("text", "markdown", "latex"):
        raise UsageError(f"--format {name}: expected text, markdown or latex")
    return name  # type: ignore[return-value]


def _selected(
    chosen: Preset,
    network: list[str] | None,
    size: list[str] | None,
    data_set: list[str] | None,
    optimiser: list[str] | None,
    treatment: list[str] | None,
    seed: list[int] | None,
    choose: list[str] | None,
) -> list[Cell]:
    """What the options of `cells` and `run` choose, in the order that `run --index` counts."""
    only = {
        "network": network,
        "size": size,
        "data": data_set,
        "optimiser": optimiser,
        "treated": treatment,
    }
    return select(chosen, only, seed, choices_of(choose) if choose else None, _say)


def _runs_folder(given: Path | None, chosen: Preset) -> Path:
    """Where cells are, or will be."""
    if given is not None and given.exists() and not given.is_dir():
        raise UsageError(f"--runs {given}: expected a folder, not a file")
    return given or default_runs(chosen)


def _existing(runs: Path | None) -> Path | None:
    if runs is not None and not runs.is_dir():
        raise RunError(f"no such folder: {runs}")
    return runs


def _device(name: str) -> str:
    if name != "auto":
        return name
    return "cuda" if torch.cuda.is_available() else "cpu"


def _device_title(device: str) -> str:
    if device == "cpu":
        return "the CPU"
    return f"{device} ({torch.cuda.get_device_name(device)})"

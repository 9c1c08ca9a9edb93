"""The commands of `sparsight paper`: what they choose, list, say and refuse."""

from __future__ import annotations

import dataclasses
import inspect
import json

import pytest
import torch
from reproduction.tests.stored import result_of

from sparsight.cli import main
from sparsight.errors import UsageError
from sparsight_paper.cells import PRESETS, SCOPES, Cell, Protocol, touching
from sparsight_paper.choices import VARIED, Choices, choices_of
from sparsight_paper.commands import command
from sparsight_paper.data import ExperimentData
from sparsight_paper.execution import Execution
from sparsight_paper.networks import NETWORKS
from sparsight_paper.selection import select
from sparsight_paper.training import Training, train_epoch

SMALL, FULL = PRESETS["small"], PRESETS["full"]

OTHERS = (
    "padding=valid",
    "initialisation=torch",
    "placement=convolution",
    "entropy_at=activation",
    "reduction=mean",
    "centre=filters",
    "form=squared",
    "lambda=0.1",
    "kappa=0.1",
)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Commands look for runs below the current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def finish(runs, preset, *cells):
    for cell in cells:
        result = result_of(preset, cell, 0.5)
        path = runs / cell.name / "result.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(result))


def test_the_page_shows_the_papers_protocols_though_nothing_of_them_was_run(folder):
    finish(folder / "runs", SMALL, SMALL.cells[0])
    assert main(["paper", "results", "--runs", "runs", "--out", "page.md"]) == 0
    titles = [line for line in (folder / "page.md").read_text().splitlines() if "## Pr" in line]
    assert titles == ["## Protocol `small`", "## Protocol `full`", "## Protocol `long`"]


def weights_after_a_step(network, choices):
    images = torch.randint(256, (8, 3, 32, 32), generator=torch.Generator().manual_seed(1))
    images, labels = images.to(torch.uint8), torch.arange(8)
    data = ExperimentData(images, labels, images, labels, images, (), 10)
    size = "s" if network in NETWORKS else ""
    cell = Cell(network, size, "cifar-10", choices=choices)
    training = Training(cell, Protocol("test"), data, Execution())
    train_epoch(training)
    return torch.cat([weights.flatten() for weights in training.model.parameters()])


@pytest.mark.parametrize("network", [*NETWORKS, "LeNet", "LeNet-sr"])
def test_a_choice_touches_the_networks_that_it_changes(network):
    """One step of training says so: a cell of any other choice would be the default one again."""
    default = weights_after_a_step(network, Choices())
    for text in OTHERS:
        changed = weights_after_a_step(network, choices_of([text]))
        is_other = changed.shape != default.shape or not torch.equal(changed, default)
        assert (text.partition("=")[0] in touching(network)) == is_other, text


def test_every_choice_has_a_scope_and_is_varied_where_it_changes_something():
    names = {field.name.strip("_") for field in dataclasses.fields(Choices)}
    assert names == set(SCOPES) == {text.partition("=")[0] for text in OTHERS}
    for network, varied in VARIED.items():
        for choices in varied:
            assert set(choices.changed()) <= set(touching(network)), (network, choices.label)


def test_only_networks_that_a_choice_changes_are_chosen():
    said = []
    chosen = select(SMALL, {"size": ["m"]}, choices=Choices(centre="filters"), say=said.append)
    assert [cell.name for cell in chosen] == ["cifar-10_sr3Net-m_sgd_centre-filters_seed0"]
    (sentence,) = said
    assert "changes nothing in vanillaNet, dropNet, normNet, sr1Net, sr2Net" in sentence
    assert "centre affects networks with DecorrReg" in sentence
    with pytest.raises(UsageError, match=r"nothing in LeNet, .* no cell is left"):
        select(FULL, {"size": ["none"]}, choices=Choices(padding="valid"))


def test_of_choices_given_together_each_network_takes_its_own():
    said = []
    given = Choices(padding="valid", reduction="mean")
    chosen = select(FULL, {"data": ["cifar-10"]}, choices=given, say=said.append)
    labels = {cell.network: cell.choices.label for cell in chosen}
    assert labels["vanillaNet"] == "padding=valid"
    assert labels["sr2Net"] == "padding=valid, reduction=mean"
    assert labels["LeNet-sr"] == "reduction=mean"
    assert "LeNet" not in labels
    assert "nothing in LeNet, AlexNet (" in said[0]


def test_a_choice_of_the_default_leaves_every_cell_as_it_is():
    assert select(SMALL, {}, choices=choices_of(["padding=same"])) == list(SMALL.cells)


def test_the_networks_of_table_3_are_of_size_none():
    chosen = select(FULL, {"size": ["none"], "data": ["cifar-10"]})
    assert {cell.size for cell in chosen} == {""}
    assert len(chosen) == 4


FILTERS = ("--network", "sr2Net", "--network", "sr3Net", "--size", "s", "--seed", "4")


@pytest.fixture
def ran(monkeypatch):
    """The experiments that `run` would have run."""
    experiments = []
    commands = "sparsight_paper.commands"
    monkeypatch.setattr(f"{commands}.run_all", lambda given, *_: experiments.extend(given))
    monkeypatch.setattr(f"{commands}.make_available", lambda *_: None)
    return experiments


@pytest.mark.parametrize("options", [(), FILTERS, (*FILTERS, "--choose", "form=squared")])
def test_cells_lists_what_run_would_index(options, ran, capfd):
    assert main(["paper", "cells", *options]) == 0
    listed = [line.split() for line in capfd.readouterr().out.splitlines()[1:]]
    for index, name in listed:
        assert main(["paper", "run", *options, "--index", index]) == 0
        assert ran.pop().cell.name == name
    assert main(["paper", "run", *options, "--index", str(len(listed))]) == 2
    assert main(["paper", "run", *options]) == 0
    assert [experiment.cell.name for experiment in ran] == [name for _, name in listed]


@pytest.mark.parametrize(("found", "device"), [(True, "cuda"), (False, "cpu")])
def test_the_device_is_cuda_where_it_is_found(found, device, ran, monkeypatch, capfd):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: found)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: int(found))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "a GPU")
    assert main(["paper", "run", "--preset", "tiny"]) == 0
    assert [experiment.execution.device for experiment in ran] == [device]
    said = capfd.readouterr().err
    assert ("Training on cuda (a GPU)" if found else "Training on the CPU") in said


def test_tables_and_figures_are_of_the_preset_that_run_trains():
    special = {"table3": "full", "figure6": "long", "a1": "adam", "a2": "adam"}
    special["choices"] = "choices"
    for info in command.registered_commands:
        name = info.name or info.callback.__name__
        option = inspect.signature(info.callback).parameters.get("preset_name")
        if option is not None:
            assert option.default == special.pop(name, "small"), name
    assert not special


def test_an_empty_table_says_how_to_fill_it(folder, capfd):
    assert main(["paper", "table2"]) == 0
    said = capfd.readouterr()
    assert "vanillaNet  not run" in said.out
    assert "runs/paper/small holds no finished cell of preset small that table2 shows" in said.err
    assert "`sparsight paper run --preset small` trains them" in said.err


def test_an_empty_table_says_what_there_is_instead(folder, capfd):
    smoke = PRESETS["smoke"]
    finish(folder / "runs/paper/smoke", smoke, *smoke.cells[:2])
    assert main(["paper", "table2"]) == 0
    assert "pass --preset smoke (2 there)" in capfd.readouterr().err
    assert main(["paper", "table2", "--runs", "runs/paper"]) == 0
    assert "pass --runs runs/paper/smoke (2 there)" in capfd.readouterr().err
    assert main(["paper", "table3"]) == 0
    assert "`sparsight paper run --preset full` trains them" in capfd.readouterr().err
    assert main(["paper", "table2", "--preset", "smoke"]) == 0
    assert capfd.readouterr().err == ""


def test_a_table_of_other_seeds_is_not_empty(folder, capfd):
    finish(folder / "runs/paper/small", SMALL, dataclasses.replace(SMALL.cells[0], seed=12))
    assert main(["paper", "table2"]) == 0
    said = capfd.readouterr()
    assert "vanillaNet  .5000" in said.out
    assert said.err == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["cells", "--size", "none"], "has --size none; there are: s, m"),
        (["cells", "--data-set", "foo"], "has --data-set foo; there are: cifar-10"),
        (["cells", "--network", "sr4Net"], "has --network sr4Net; did you mean 'sr3Net'"),
        (
            ["run", "--preset", "full", "--network", "LeNet", "--size", "s"],
            "no cell of the preset with --network LeNet has --size s; there are: none",
        ),
        (["run", "--choose", "kappa=2", "--network", "sr2Net"], "so no cell is left"),
        (["run", "--index", "24"], "--index 24: there are 24 cells, counted from 0"),
        (["cells", "--runs", "file"], "--runs file: expected a folder, not a file"),
        (["run", "--runs", "file"], "--runs file: expected a folder, not a file"),
        (["figure4", "--runs", "nowhere"], "no such folder: nowhere"),
        (["figure4"], "runs/paper/small holds no run of preset small that figure4 shows"),
        (["a1", "--preset", "small"], "pass --preset adam or full"),
        (
            ["run", "--preset", "tiny", "--data", "nowhere"],
            "folder: nowhere; create it with `sparsight paper download cifar-10 --data nowhere`",
        ),
    ],
)
def test_what_does_not_fit_gets_a_sentence(arguments, message, folder, capfd):
    (folder / "file").write_text("")
    assert main(["paper", *arguments]) == 2
    assert message in capfd.readouterr().err
    assert [path.name for path in folder.iterdir()] == ["file"]


def test_no_two_commands_have_the_same_help():
    helps = [info.help or info.callback.__doc__ for info in command.registered_commands]
    assert len(set(helps)) == len(helps)

"""Tables and the page of results, from result files."""

import copy
import dataclasses
import json
import math
from pathlib import Path

import pytest
from reproduction.tests.stored import result_of

from sparsight.cli import main
from sparsight.errors import RunError, UsageError
from sparsight_paper.cells import PRESETS
from sparsight_paper.choices import Choices, choices_of
from sparsight_paper.commands import command, select
from sparsight_paper.figures import FIGURES
from sparsight_paper.layers import layers_table, meaning, onset_table
from sparsight_paper.report import (
    cells_table,
    choices_table,
    protocols,
    report,
    validation_table,
)
from sparsight_paper.results import Results, collect, read_results
from sparsight_paper.tables import PAPER_TABLE2, rendered, table2, table3

SMALL, FULL, LONG = PRESETS["small"], PRESETS["full"], PRESETS["long"]
SHORT = dataclasses.replace(SMALL, protocol=dataclasses.replace(SMALL.protocol, epochs=3))


def store(folder, *results):
    for number, result in enumerate(results):
        (folder / str(number)).mkdir(parents=True)
        (folder / str(number) / "result.json").write_text(json.dumps(result))
    return folder


def seeds_of(preset, network, size):
    return [cell for cell in preset.cells if (cell.network, cell.size) == (network, size)]


def test_ours_stands_beside_the_papers_with_its_spread(tmp_path):
    cells = seeds_of(SMALL, "sr2Net", "s")
    stored = [result_of(SMALL, cell, 0.5 + 0.01 * cell.seed) for cell in cells]
    table = table2(SMALL, read_results(store(tmp_path, *stored)))
    rows = {row[0]: row[1:] for row in table.rows}
    assert table.header == ("network", "c10 s", "c10 m")
    assert rows["sr2Net"] == (".5100 ± .0100 (3 seeds)", "not run")
    assert rows["vanillaNet"][0] == "not run"


def test_the_papers_numbers(tmp_path):
    table = table2(FULL, read_results(tmp_path))
    assert len(PAPER_TABLE2) == 36
    row = next(row for row in table.rows if row[0] == "sr3Net")
    assert row[2::2] == (".3781", ".5219", ".5423", ".4079", ".8040", ".3052")
    assert set(row[1::2]) == {"not run"}
    assert table.header[7] == "c100 xxl Adam"
    assert table3(FULL, read_results(tmp_path)).rows[1][2] == ".6987 -> .7509"


def test_both_halves_of_a_pair(tmp_path):
    cells = [c for c in FULL.cells if c.data == "cifar-10" and c.network.startswith("LeNet")]
    stored = [result_of(FULL, cell, 0.6 + 0.05 * at) for at, cell in enumerate(cells)]
    table = table3(FULL, read_results(store(tmp_path, stored[0])))
    assert table.rows[0][1] == ".6000 -> not run"
    (tmp_path / "other").mkdir()
    (tmp_path / "other/result.json").write_text(json.dumps(stored[1]))
    assert table3(FULL, read_results(tmp_path)).rows[0][1] == ".6000 -> .6500"


def test_results_of_other_choices_are_kept_apart(tmp_path):
    cell = dataclasses.replace(SMALL.cells[0], choices=Choices(padding="valid"))
    stored = [result_of(SMALL, cell, 0.9), result_of(SMALL, SMALL.cells[1], 0.4)]
    results = read_results(store(tmp_path, *stored))
    assert [row[1] for row in table2(SMALL, results).rows[:2]] == ["not run", ".4000"]
    text = report([(SMALL, results)], "reproduction/results")
    assert "--choose padding=valid --device cpu --threads 1` | .9000" in text
    assert "| cifar-10 vanillaNet-s | padding=valid | .9000 | 2.000 | 2.000 | 17 |" in text
    assert "| cifar-10 vanillaNet-s padding=valid | conv4 | 1.00 → .50 |" in text


def test_other_choices_stand_under_the_defaults_with_their_spread(tmp_path):
    seeds = seeds_of(SMALL, "sr2Net", "s")[:2]
    changes = [Choices(), Choices(reduction="mean"), Choices(lambda_=0.01)]
    stored = [
        result_of(SMALL, dataclasses.replace(cell, choices=choices), 0.5 + 0.1 * cell.seed)
        for cell in seeds
        for choices in changes
    ]
    rows = choices_table(read_results(store(tmp_path, *stored))).rows
    assert [row[1] for row in rows] == ["defaults", "lambda=0.01", "reduction=mean"]
    assert [row[0] for row in rows] == ["cifar-10 sr2Net-s (2 seeds)", "", ""]
    assert {row[2] for row in rows} == {".5500 ± .0500"}
    assert rows[0][6:9] == (".50 ± .00", ".90 ± .00", "20.00 ± .00")


def test_a_network_that_never_had_a_finite_loss_is_shown(tmp_path):
    stored = result_of(SMALL, SMALL.cells[0], 0.1)
    stored["epochs"]["loss/validation"] = [None] * SMALL.protocol.epochs
    (row,) = validation_table(read_results(store(tmp_path, stored))).rows
    assert row[3:5] == ("–", "–")


@pytest.mark.parametrize(
    ("patterns", "said"),
    [
        (
            {"vanillaNet": [-0.1, 0.03, 0.4], "sr2Net": [0.0]},
            "did not fall in 2 of 4, fell by more than .02 in 2, and by more than .05 in 1. In "
            "networks without penalties it did not fall in 1 of 3, fell by more than .02 in 2, and "
            "by more than .05 in 1. **What the paper calls "
            '"sparsity" is, in these runs, mostly scale.**',
        ),
        (
            {"sr2Net": [0.4, 0.4]},
            "In networks without penalties it was not measured. **The patterns grew sparse too",
        ),
    ],
)
def test_what_the_layers_mean_is_counted(tmp_path, patterns, said):
    """Run by run: a mean over seeds would hide one that differs."""
    stored = [
        result_of(SMALL, cell, 0.5, 0.5, pattern)
        for network, values in patterns.items()
        for cell, pattern in zip(seeds_of(SMALL, network, "s"), values, strict=False)
    ]
    assert said in meaning(read_results(store(tmp_path, *stored)))


def test_no_layer_that_fell_means_nothing(tmp_path):
    stored = result_of(SMALL, SMALL.cells[0], 0.5, fall=0.01)
    assert "In no layer of these runs" in meaning(read_results(store(tmp_path, stored)))


def test_results_of_another_arithmetic_are_no_seeds(tmp_path):
    one, two = (result_of(SMALL, cell, 0.5) for cell in SMALL.cells[:1] * 2)
    two["arithmetic"] = ["bf16", True]
    titles = [group.title for group in read_results(store(tmp_path / "runs", one, two)).groups]
    assert titles == ["cifar-10 vanillaNet-s", "cifar-10 vanillaNet-s bf16, compiled"]
    for number, result in enumerate((one, two)):
        runs = store(tmp_path / str(number), result)
        (runs / "0").rename(runs / SMALL.cells[0].name)
    collected = tmp_path / "collected"
    collect(tmp_path / "0", collected, SMALL.protocol)
    with pytest.raises(UsageError, match=r"in bf16, compiled, but .* in float32; move the old"):
        collect(tmp_path / "1", collected, SMALL.protocol)


def test_the_papers_numbers_stand_beside_runs_as_long_as_its_own():
    rows = table2(LONG, Results(())).rows
    assert [row[-1] for row in rows] == ["–"] * 5 + [".5513"]
    assert table2(SHORT, Results((), 3)).header == ("network", "c10 s", "c10 m")
    assert table2(FULL, Results(())).header.count("paper") == 6
    assert "paper" not in table2(FULL, Results((), 3)).header
    assert "paper" not in table3(FULL, Results((), 3)).header


def test_what_was_not_run_at_all_is_shown_so():
    text = report([(FULL, Results(()))], "reproduction/results")
    assert "| vanillaNet | not run | .3486 | not run | .3603 |" in text
    assert "| LeNet | not run | .6006 -> .6101 |" in text
    assert "Validation" not in text


def test_protocols_do_not_mix(tmp_path):
    other = result_of(SHORT, SMALL.cells[1], 0.5)
    store(tmp_path, result_of(SMALL, SMALL.cells[0], 0.5), other)
    with pytest.raises(RunError, match=r"several protocols \(epochs: 3, not 60\)"):
        read_results(tmp_path)


@pytest.mark.parametrize(
    ("fall", "pattern", "reading"),
    [(0.5, -0.05, "growth"), (0.5, 0.3, "pattern too"), (0.01, 0, "stays dense")],
)
def test_growth_is_told_from_sparsity(tmp_path, fall, pattern, reading):
    stored = result_of(SMALL, SMALL.cells[0], 0.5, fall, pattern)
    (row,) = layers_table(read_results(store(tmp_path, stored)).default).rows
    assert row[:2] == ("cifar-10 vanillaNet-s", "conv4")
    assert row[2] == f"1.00 → {1 - fall:.2f}".replace("0.", ".")
    assert row[4] == ".10 → 20.00"
    assert row[5] == "–"
    assert row[-1] == reading


def test_entropy_around_the_onset(tmp_path):
    """Mean over the seeds that overfitted; the first value of a curve is of before training."""
    first, second, never = (
        result_of(SMALL, cell, 0.5) for cell in seeds_of(SMALL, "vanillaNet", "s")
    )
    epochs = SMALL.protocol.epochs
    steady = [1 - number / 200 for number in range(epochs + 1)]
    first |= {"onset": 20}  # epochs 14, 20, 30, and the last ones
    second |= {"onset": 2}  # before training, 2, 12, and the last ones
    never |= {"onset": None}
    for result in (first, second):
        result["layers"]["conv4"]["relative_entropy"] = steady
    (row,) = onset_table(read_results(store(tmp_path, first, second, never)).default).rows
    # the means of .925 and 1, .895 and .985, .845 and .935; 1 - 55.5 / 200
    assert row == (
        "cifar-10 vanillaNet-s (3 seeds)",
        "20, 2, none",
        "–",
        ".96 → .94 → .89 → .72",
        "–",
    )


def test_every_cell_is_listed_with_its_command(tmp_path):
    stored = result_of(SMALL, SMALL.cells[0], 0.5)
    text = report([(SMALL, read_results(store(tmp_path, stored)))], "reproduction/results")
    commands = [line for line in text.splitlines() if line.startswith("| `sparsight paper run")]
    assert len(commands) == len(SMALL.cells)
    assert "--network vanillaNet --size s" in commands[0]
    assert ".5000 | 1.5 min | a CPU, 1 thread(s), torch 2" in commands[0]
    assert sum("not run" in line for line in commands) == len(SMALL.cells) - 1


def test_the_command_names_the_arithmetic(tmp_path):
    stored = result_of(SMALL, SMALL.cells[0], 0.5)
    stored["hardware"] |= {"gpu": "a GPU", "precision": "bf16", "compile": True}
    text = report([(SMALL, read_results(store(tmp_path, stored)))], "reproduction/results")
    assert "--seed 0 --device cuda --precision bf16 --compile` | .5000 | 1.5 min | a GPU" in text


@pytest.mark.parametrize(
    ("cell", "preset"),
    [
        (SMALL.cells[0], "small"),
        (dataclasses.replace(SMALL.cells[0], seed=9, choices=Choices(padding="valid")), "small"),
        (PRESETS["adam"].cells[0], "adam"),
    ],
)
def test_the_command_is_of_a_preset_that_has_the_cell(cell, preset, tmp_path):
    results = read_results(store(tmp_path, result_of(SMALL, cell, 0.5)))
    (row,) = (row for row in cells_table(protocols()["small"], results).rows if row[2])
    _, _, _, *arguments = row[0].strip("`").split()
    options = dict(zip(arguments[::2], arguments[1::2], strict=True))
    assert options["--preset"] == preset
    only = {"network": [options["--network"]], "optimiser": [options["--optimiser"]]}
    only |= {"size": [options["--size"]], "data": [options["--data-set"]]}
    choices = choices_of([options["--choose"]]) if "--choose" in options else None
    assert select(PRESETS[preset], only, [int(options["--seed"])], choices) == [cell]


def test_the_forms(tmp_path):
    table = table3(FULL, read_results(tmp_path))
    markdown = rendered(table, "markdown").splitlines()
    assert markdown[2].startswith("| network | c10 | paper | c100 |")
    assert markdown[3] == "|" + " --- |" * 7
    latex = rendered(table, "latex")
    assert r"LeNet & not run & .6006 $\to$ .6101 & not run &" in latex
    assert latex.count(r"\\") == 3
    title, header, lenet, alexnet = rendered(table, "text").splitlines()
    assert title.startswith("Table 3: best accuracy")
    assert header.find("paper") == lenet.find(".6006") == alexnet.find(".6987") > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["table2", "--format", "html"], "text, markdown or latex"),
        (["table2", "--runs", "/no/such"], "no such folder: /no/such"),
        (["table3", "--preset", "small"], "no cell of Table 3; full has them all"),
        (["results", "--runs", "/no/such"], "/no/such holds no finished cell"),
    ],
)
def test_bad_input_gets_a_sentence(arguments, message, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    assert main(["paper", *arguments]) == 2
    assert message in capfd.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_title_says_how_long_it_was_trained(tmp_path):
    stored = result_of(SHORT, SMALL.cells[0], 0.5)
    results = read_results(store(tmp_path, stored))
    assert table2(SMALL, results).title == "Table 2: best accuracy in 3 epochs"


def test_runs_of_other_numbers_are_not_collected(tmp_path, capfd):
    """Their commands on the page would be wrong."""
    stored = result_of(SHORT, SMALL.cells[0], 0.5)
    store(tmp_path / "runs", stored)
    page, collected = str(tmp_path / "page.md"), str(tmp_path / "collected")
    arguments = ["--out", page, "--collected", collected, "--runs", str(tmp_path / "runs")]
    assert main(["paper", "results", *arguments]) == 2
    assert (
        "belongs to another protocol than preset small (epochs: 3, not 60)"
        in capfd.readouterr().err
    )


def test_the_command_prints_and_generates(tmp_path, capfd):
    runs = store(tmp_path / "runs", result_of(SMALL, SMALL.cells[0], 0.5))
    (runs / "0").rename(runs / SMALL.cells[0].name)
    assert main(["paper", "table2", "--preset", "small", "--runs", str(runs)]) == 0
    assert "vanillaNet  .5000" in capfd.readouterr().out
    page, collected = tmp_path / "results.md", tmp_path / "collected"
    arguments = ["paper", "results", "--out", str(page), "--collected", str(collected)]
    assert main(arguments) == 2
    assert "no results in" in capfd.readouterr().err
    assert main([*arguments, "--runs", str(runs)]) == 0
    assert (collected / "small" / f"{SMALL.cells[0].name}.json").exists()
    first = page.read_text()
    assert main(arguments) == 0
    assert page.read_text() == first  # from what was collected, without the runs


def test_a_file_that_is_no_result(tmp_path):
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(RunError, match="not a result of a cell"):
        read_results(tmp_path)
    stored = result_of(SMALL, SMALL.cells[0], 0.5)
    stored["cell"]["choices"]["padding"] = "reflect"
    (tmp_path / "x.json").write_text(json.dumps(stored))
    with pytest.raises(RunError, match="not a result of a cell: padding=reflect"):
        read_results(tmp_path)
    for part in ("hardware", "onset", "versions", "arithmetic"):
        stored = result_of(SMALL, SMALL.cells[0], 0.5)
        del stored[part]
        (tmp_path / "x.json").write_text(json.dumps(stored))
        with pytest.raises(RunError, match=f"not a result of a cell: it has no {part}"):
            read_results(tmp_path)
    stored = result_of(SMALL, SMALL.cells[0], 0.5)
    del stored["layers"]["conv4"]["rms"][-1]
    (tmp_path / "x.json").write_text(json.dumps(stored))
    with pytest.raises(RunError, match=r"its curves have \[59, 60\] epochs"):
        read_results(tmp_path)


def test_values_that_are_no_numbers_do_not_spoil_a_mean(tmp_path):
    stored = copy.deepcopy(result_of(SMALL, SMALL.cells[0], 0.5))
    stored["layers"]["conv4"]["rms"][-1] = None
    text = report([(SMALL, read_results(store(tmp_path, stored)))], "reproduction/results")
    assert str(math.nan) not in text


def test_the_documentation_names_every_command_preset_and_choice():
    text = (Path(__file__).parents[1] / "README.md").read_text("utf-8")
    names = [info.name or info.callback.__name__ for info in command.registered_commands]
    choices = [field.name.strip("_") for field in dataclasses.fields(Choices)]
    for name in (*names, *PRESETS, *choices):
        assert f"`{name}`" in text, name
    assert len(names) == 8 + len(FIGURES)


def test_the_page_of_results_is_what_the_result_files_give(tmp_path):
    """So that no number on it can be typed."""
    folder = Path(__file__).parents[1]
    page = tmp_path / "results.md"
    arguments = ["--out", str(page), "--collected", str(folder / "results")]
    assert main(["paper", "results", *arguments]) == 0
    generated = page.read_text("utf-8").replace(str(folder / "results"), "reproduction/results")
    assert generated == (folder / "results.md").read_text("utf-8")

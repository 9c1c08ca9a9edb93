"""Rivals of the cure: which strength is chosen, what is said of it, what a cell leaves."""

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from reproduction.tests.layouts import write_cifar_10
from reproduction.tests.stored import result_of
from tests.waiting import started

from sparsight.cli import main
from sparsight_paper.cells import PRESETS
from sparsight_paper.held_out import outcomes
from sparsight_paper.results import read_results
from sparsight_paper.rivals import choices, differences_table, interval

RIVALS = PRESETS["rivals"]
SCORES = ("accuracy", "loss", "calibrated_loss", "calibration_error")


def finished(cell, selection, accuracy):
    """A result whose selection accuracy and report accuracy are as given."""
    result = result_of(RIVALS, cell, accuracy)
    result["cell"] = cell.settings()
    for split, value in (("selection", selection), ("validation", accuracy)):
        for name in SCORES:
            result["epochs"][f"{name}/{split}"] = [value] * 60
    result["outcomes"] = outcomes(result["epochs"])
    return result


def stored(folder, *results):
    for number, result in enumerate(results):
        (folder / f"{number}.json").write_text(json.dumps(result))
    return read_results(folder)


def cells_of(name):
    return [cell for cell in RIVALS.cells if cell.treatment.name == name]


def test_strengths_are_chosen_on_the_selection_images(tmp_path):
    selection = {0.001: 0.5, 0.003: 0.6, 0.01: 0.4}
    cells = cells_of("weight-decay")
    found = choices(
        stored(
            tmp_path, *(finished(c, (s := selection[c.treatment.strength]), 1 - s) for c in cells)
        )
    )["weight-decay"]
    assert (found.strength, found.finished) == ("0.003", True)
    assert set(found.scores("chosen", "accuracy").values()) == {0.4}


def test_of_equals_the_weaker_is_chosen_and_what_is_missing_is_said(tmp_path):
    results = [finished(cell, 0.5, 0.5) for cell in cells_of("weight-decay")[:2]]
    found = choices(stored(tmp_path, *results))["weight-decay"]
    assert found.strength == "0.001 (smallest tried, so far)"


def test_differences_are_taken_seed_by_seed(tmp_path):
    none = [finished(cell, 0.5, 0.4 + 0.1 * cell.seed) for cell in cells_of("none")]
    cells = cells_of("label-smoothing")
    treated = [finished(cell, 0.5, 0.5 + 0.1 * cell.seed) for cell in cells]
    table = differences_table(choices(stored(tmp_path, *none, *treated)), "none")
    (row,) = table.rows
    assert row[:3] == ("label smoothing", "3", "**+.100 [+.100, +.100]**")


def test_students_interval():
    mean, low, high = interval([1.0, 2.0, 3.0])
    assert (mean, high - mean, mean - low) == pytest.approx((2, 2.4843, 2.4843), abs=1e-4)
    assert interval([1.0]) is None


def test_moments_at_which_a_run_is_judged():
    epochs = {
        f"{name}/{split}": [0.0] * 20 for name in SCORES for split in ("selection", "validation")
    }
    epochs["accuracy/selection"] = [0.1, 0.3, 0.3, *[0.2] * 17]
    epochs["loss/selection"] = [3.0, 2.0, 1.0, *[2.0] * 17]
    epochs["accuracy/validation"] = [float(epoch) for epoch in range(20)]
    found = outcomes(epochs)
    assert [found[x]["accuracy"] for x in ("chosen", "stopped early", "best", "last")] == [
        1,
        2,
        19,
        14.5,
    ]


def test_a_killed_cell_ends_as_one_that_was_not(tmp_path):
    data = write_cifar_10(tmp_path / "data", batches=(600,))
    arguments = ["paper", "run", "--preset", "rivals", "--treatment", "mixup-0.5", "--seed", "0"]
    arguments += ["--data", str(data), "--device", "cpu", "--threads", "1", "--epochs", "4"]
    arguments += ["--training-images", "400", "--validation-images", "50", "--probes", "20"]
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    command = [sys.executable, "-m", "sparsight", *arguments, "--runs", str(killed)]
    with started(command, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and not list(killed.glob("*/checkpoint.pt")):
            time.sleep(0.005)
        process.kill()
    assert not list(killed.glob("*/result.json"))
    assert (
        main([*arguments, "--runs", str(killed)]) == main([*arguments, "--runs", str(whole)]) == 0
    )
    (ours,), (theirs,) = (list(folder.glob("*/result.json")) for folder in (killed, whole))
    first, second = (json.loads(path.read_text()) for path in (ours, theirs))
    for part in ("epochs", "layers", "outcomes"):
        assert first[part] == second[part]
    kept = [np.load(path.parent / "logits.npz")["logits"] for path in (ours, theirs)]
    assert kept[0].shape == (5, 50, 10)
    assert np.array_equal(*kept)


def test_the_page_of_evidence_is_what_the_result_files_give(tmp_path):
    root = Path(__file__).parents[2]
    page, folder = tmp_path / "evidence.md", root / "reproduction/results"
    assert main(["paper", "evidence", "--out", str(page), "--collected", str(folder)]) == 0
    generated = page.read_text("utf-8").replace(str(folder), "reproduction/results")
    assert generated == (root / "docs/evidence.md").read_text("utf-8")

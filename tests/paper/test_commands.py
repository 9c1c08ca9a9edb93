"""The commands of `sparsight paper`: what they choose, list, say and refuse."""

from __future__ import annotations

import dataclasses
import json

import pytest

from sparsight.cli import main
from sparsight_torch.paper.cells import PRESETS

SMALL = PRESETS["small"]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Commands look for runs below the current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def finish(runs, preset, *cells):
    """Results as a run leaves them, as far as tables read them."""
    for cell in cells:
        result = {
            "cell": dataclasses.asdict(cell),
            "protocol": dataclasses.asdict(preset.protocol),
            "hardware": {
                "gpu": None,
                "processor": "a CPU",
                "threads": 1,
                "precision": "float32",
                "compile": False,
            },
            "versions": {"torch": "2"},
            "best_accuracy": 0.5,
            "onset": None,
            "seconds": 90.0,
            "epochs": {"accuracy/validation": [0.5], "loss/validation": [2.0]},
            "layers": {},
        }
        path = runs / cell.name / "result.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(result))


def test_the_page_shows_the_papers_protocols_though_nothing_of_them_was_run(folder):
    finish(folder / "runs", SMALL, SMALL.cells[0])
    assert main(["paper", "results", "--runs", "runs", "--out", "page.md"]) == 0
    titles = [line for line in (folder / "page.md").read_text().splitlines() if "## Pr" in line]
    assert titles == ["## Protocol `small`", "## Protocol `full`", "## Protocol `long`"]

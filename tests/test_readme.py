"""The README's commands and code are run, as they stand there."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sparsight.runs.reader import read_run

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def run(arguments: list[str], folder: Path) -> str:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        arguments, cwd=folder, env={**os.environ, "PATH": path}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Where the README's Python code has run."""
    folder = tmp_path_factory.mktemp("readme")
    (code,) = blocks("python")
    (folder / "first.py").write_text(code)
    run([sys.executable, "-W", "error::UserWarning", "first.py"], folder)
    return folder


def test_the_python_code_records_a_run(folder):
    recorded = read_run(folder / "runs/first")
    assert recorded.steps == (-1, 0, 1, 2)
    assert [layer.name for layer in recorded.tables[2].layers] == ["0", "2"]


def test_the_commands_analyze_what_was_recorded(folder):
    np.savez(folder / "probes.npz", np.random.default_rng(0).random((4, 1, 12, 12), np.float32))
    commands = [
        c for block in blocks("sh") for c in block.splitlines() if c.startswith("sparsight")
    ]
    assert len(commands) == 2
    for command in commands:
        run(["bash", "-c", command], folder)
    assert read_run(folder / "runs/analyzed").steps == (-1, 0, 1, 2)


def test_the_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = {c.split()[1] for block in blocks("sh") for c in block.splitlines() if "make " in c}
    assert targets == {"demo"}
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in (*targets, "test"))


def test_every_extra_is_explained():
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert all(f"`{extra}`" in README for extra in project["optional-dependencies"])


def test_every_linked_page_exists():
    pages = re.findall(r"\]\(((?!https?:)[^)#]+)\)", README)
    assert [page for page in pages if not (ROOT / page).is_file()] == []

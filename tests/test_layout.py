"""Where tests stand: beside no other test, and under the name of the source that they test."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

MIRRORED = {
    "tests/core": "core/sparsight",
    "tests/adapters": "adapters/sparsight_torch",
    "tests/tb_plugin": "tb_plugin/sparsight_tensorboard",
    "reproduction/tests": "reproduction/sparsight_paper",
}
"""Folders of tests, and the sources that they mirror. The other folders test whole programs."""

BEHAVIOURS = {
    "tests/adapters/penalties/test_lost_penalties.py",
    "tests/adapters/test_front_door.py",
    "tests/adapters/test_pytorch_page.py",
    "tests/core/analysis/test_hostile.py",
    "tests/core/analysis/test_real_models.py",
    "tests/core/cli/test_options.py",
    "tests/core/graph/test_many_models.py",
    "tests/core/graph/test_optimised.py",
    "tests/core/inference/test_accelerators.py",
    "tests/core/runs/test_writer_reader.py",
    "tests/core/test_imports.py",
    "tests/tb_plugin/test_board.py",
    "tests/tb_plugin/test_faults.py",
    "tests/tb_plugin/test_hostile.py",
}
"""Tests of what several modules do together; the docstring of each says what that is."""

SHARED = r"(?:from|import)\s+(?:\w+\.)*test_\w+|from\s+(?:\w+\.)+\w+\s+import\s+.*\btest_\w+"
"""An import of a test file, also in code that a test hands to another process."""


def python_files(*folders: str) -> list[str]:
    found = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    return sorted(path.relative_to(ROOT).as_posix() for path in found)


def source_of(test: str) -> Path:
    """Without its suffix: a module, or a package."""
    folder = max((folder for folder in MIRRORED if test.startswith(f"{folder}/")), key=len)
    inner = Path(test).relative_to(folder)
    return ROOT / MIRRORED[folder] / inner.with_name(inner.stem.removeprefix("test_"))


def is_mirrored(test: str) -> bool:
    source = source_of(test)
    is_package = source.is_dir() or source.name == source.parent.name
    return is_package or source.with_suffix(".py").is_file()


def only_tests(paths: list[str]) -> list[str]:
    return [path for path in paths if Path(path).name.startswith("test_")]


@pytest.mark.parametrize("path", python_files("tests", "reproduction/tests"))
def test_nothing_is_imported_from_a_test_file(path: str) -> None:
    assert re.findall(rf"^\s*(?:{SHARED})", (ROOT / path).read_text("utf-8"), re.MULTILINE) == []


@pytest.mark.parametrize(
    "line",
    [
        "from tests.core.test_one import two",
        "from tests.core import test_one",
        "    import test_one as one",
    ],
)
def test_an_import_of_a_test_file_is_found(line: str) -> None:
    assert re.match(rf"^\s*(?:{SHARED})", line)


def test_each_test_file_is_called_as_a_source_or_is_a_known_behaviour() -> None:
    strangers = {path for path in only_tests(python_files(*MIRRORED)) if not is_mirrored(path)}
    assert strangers == BEHAVIOURS


def test_each_behaviour_says_what_it_is() -> None:
    silent = [p for p in BEHAVIOURS if not (ROOT / p).read_text("utf-8").startswith('"""')]
    assert silent == []

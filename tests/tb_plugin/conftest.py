"""A log directory that many tests read, and TensorBoards that serve it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.tb_plugin.boards import Board, serving, write_run
from tests.tensorboards import LOADERS
from torch.utils.tensorboard import SummaryWriter


@pytest.fixture(scope="session")
def logdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs that many tests read and none changes."""
    root = tmp_path_factory.mktemp("runs")
    write_run(root / "plain", range(-1, 299), losses=True)
    write_run(root / "resumed", range(-1, 20))
    write_run(root / "resumed", range(12, 30), start=1.7e9 + 1000)
    write_run(root / "twice", [*range(-1, 20), *range(12, 30)])
    with SummaryWriter(str(root / "attached")) as shared:
        write_run(root / "attached", range(-1, 20), sink=shared._get_file_writer())
    write_run(root / "attached", range(12, 30), start=time.time() + 1000)
    write_run(root / "changed", range(-1, 10), {"conv1": 8, "gone": 4, "fc1": 16})
    write_run(root / "changed", range(5, 12), {"conv1": 8, "fc1": 16, "new": 4}, start=1.7e9 + 1000)
    return root


@pytest.fixture(scope="session", params=list(LOADERS))
def board(request: pytest.FixtureRequest, logdir: Path) -> Iterator[Board]:
    """A TensorBoard started without any flag of the user's, with each of its two loaders."""
    with serving(logdir, request.param) as started:
        started.wait_for(plain=300, attached=31, resumed=31, twice=31, changed=13)
        yield started

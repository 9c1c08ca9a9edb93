"""What TensorBoard shows of runs whose disk was full, whose clock went back, that were deleted."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest
from tests.core.disks import limited_disk
from tests.tb_plugin.boards import PROBES, Board, network, serving
from tests.tensorboards import LOADERS

from sparsight.errors import RunError
from sparsight.runs.writer import RunWriter

LAYERS = {"conv1": 8, "fc1": 16}
ROOMS = [0, 1, 7, 8, 11, 12, 13, 20, 21, 100, 1000, 2000, 3000]


def write(run: RunWriter, step: int) -> None:
    run.write(step, network(step, LAYERS), probes=PROBES)


def steps_of(board: Board, run: str) -> list[int]:
    return board.get("layers", run=run).frame()[1]["steps"].tolist()


@pytest.mark.parametrize("loader", LOADERS)
def test_a_disk_that_was_full_while_a_board_watches(tmp_path: Path, loader: str) -> None:
    """The board has read a part of a record, and reads on where it ended; nothing is missing."""
    with limited_disk() as disk:
        runs = {f"room{room}": RunWriter(tmp_path / f"room{room}") for room in ROOMS}
        for room, run in zip(ROOMS, runs.values(), strict=True):
            disk.room = None
            write(run, -1)
            write(run, 0)
            disk.room = room
            for step in (1, 2):
                with pytest.raises(RunError):
                    write(run, step)
        with serving(tmp_path, loader, "--reload_interval=1") as board:
            board.wait_for(**dict.fromkeys(runs, 2))
            disk.room = None
            for run in runs.values():
                write(run, 3)
            board.wait_for(**dict.fromkeys(runs, 5))
            assert all(steps_of(board, name) == [-1, 0, 1, 2, 3] for name in runs)
        for run in runs.values():
            run.close()


@pytest.mark.filterwarnings("ignore:the clock is")
@pytest.mark.filterwarnings("ignore:.*was deleted while a run was being recorded")
@pytest.mark.parametrize("loader", LOADERS)
def test_clocks_and_deletions(tmp_path: Path, loader: str, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    with monkeypatch.context() as patch:
        for seconds, steps in ((now, range(6)), (now - 1e6, range(3, 9)), (now - 2e6, range(7, 9))):
            patch.setattr(time, "time", lambda seconds=seconds: seconds)
            with RunWriter(tmp_path / "clock") as run:
                for step in steps:
                    write(run, step)
    with RunWriter(tmp_path / "deleted") as deleted:
        for step in range(3):
            write(deleted, step)
        with serving(tmp_path, loader, "--reload_interval=1") as board:
            board.wait_for(clock=9, deleted=3)
            assert steps_of(board, "clock") == list(range(9))
            shutil.rmtree(tmp_path / "deleted")
            for step in range(3, 9):
                write(deleted, step)
            board.wait_until(lambda: steps_of(board, "deleted")[-6:] == list(range(3, 9)))

"""Event files of our own: what a full disk, a wrong clock or a deletion leaves of a run."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from tests.core.disks import limited_disk
from tests.core.records import PROBES, measured
from torch.utils.tensorboard import SummaryWriter

from sparsight.analysis.checkpoint_recorder import CheckpointRecorder
from sparsight.errors import RunError
from sparsight.runs import events, writer
from sparsight.runs.reader import read_run
from sparsight.runs.writer import RunWriter


def write(run: RunWriter, step: int) -> None:
    run.write(step, measured(step).measurements, probes=PROBES, scalars={"loss": step / 4})


def event_paths(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if events.is_event_file(path))


def loaded(loader: EventFileLoader) -> list[int]:
    return [event.step for event in loader.Load() if event.summary.value]


def size_of_a_record() -> int:
    with tempfile.TemporaryDirectory() as name, RunWriter(name) as run:
        write(run, 0)
        before = event_paths(Path(name))[0].stat().st_size
        run.write(1, measured(1).measurements, scalars={"loss": 1 / 4})
        return event_paths(Path(name))[0].stat().st_size - before


SIZE = size_of_a_record()

# -- a full disk


@settings(deadline=None)
@given(st.integers(0, SIZE), st.integers(0, 3))
def test_a_disk_that_was_full_loses_nothing(room: int, more: int) -> None:
    """Wherever in a record it filled up; also for a reader that has seen the torn record."""
    with tempfile.TemporaryDirectory() as name, limited_disk() as disk:
        with RunWriter(name) as run:
            write(run, 0)
            (path,) = event_paths(Path(name))
            live = EventFileLoader(str(path))
            assert loaded(live) == [0]
            disk.room = room
            steps = list(range(1, 3 + more))
            for step in steps:
                if step == 1 and room >= SIZE:
                    write(run, step)
                    continue
                with pytest.raises(RunError, match=f"cannot write to {name}: No space left"):
                    write(run, step)
            seen = loaded(live)
            disk.room = None
            last = steps[-1] + 1
            write(run, last)
            assert run.waiting == run.lost == ()
            assert seen + loaded(live) == [*steps, last]
        assert event_paths(Path(name)) == [path]
        assert loaded(EventFileLoader(str(path))) == [0, *steps, last]
        assert read_run(name).steps == (0, *steps, last)


@settings(deadline=None)
@given(st.integers(0, SIZE - 1))
def test_a_disk_that_stays_full_leaves_whole_records(room: int) -> None:
    with tempfile.TemporaryDirectory() as name, limited_disk() as disk:
        run = RunWriter(name)
        write(run, 0)
        (path,) = event_paths(Path(name))
        whole = path.stat().st_size
        disk.room = room
        for step in (1, 2):
            with pytest.raises(RunError):
                write(run, step)
        with pytest.raises(RunError, match="No space left"):
            run.close()
        assert run.lost == (1, 2)
        assert path.stat().st_size == whole
        assert os.listdir(name) == [path.name]
        disk.room = None
        with RunWriter(name) as resumed:
            write(resumed, 1)
        assert read_run(name).steps == (0, 1)


@settings(deadline=None)
@given(st.integers(0, 300))
def test_a_disk_that_was_full_from_the_start(room: int) -> None:
    with tempfile.TemporaryDirectory() as name, limited_disk() as disk:
        with RunWriter(name) as run:
            disk.room = room
            for step in range(2):
                with pytest.raises(RunError, match="No space left"):
                    write(run, step)
                assert event_paths(Path(name)) == []
            disk.room = None
            write(run, 2)
        assert read_run(name).steps == (0, 1, 2)
        assert read_run(name).probes == PROBES
        assert len(os.listdir(name)) == 1


def test_what_waits_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "_MOST_WAITING", 3 * SIZE)
    with limited_disk() as disk, RunWriter(tmp_path) as run:
        write(run, 0)
        disk.room = SIZE // 2
        for step in range(1, 9):
            with pytest.raises(RunError):
                write(run, step)
        assert len(run.waiting) <= 3
        assert run.waiting[0] == 1  # a part of it is in the file
        assert sorted((*run.waiting, *run.lost)) == list(range(1, 9))
        waiting = run.waiting
        disk.room = None
        write(run, 9)
        assert read_run(tmp_path).steps == (0, *waiting, 9)


REAL = """
import json, resource, sys
from sparsight.errors import RunError
from sparsight.runs.writer import RunWriter
from tests.core.records import PROBES, measured
folder, room = sys.argv[1], int(sys.argv[2])
most = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
failures = []
with RunWriter(folder) as run:
    for step in range(12):
        resource.setrlimit(resource.RLIMIT_FSIZE, (room if 4 <= step < 8 else most, most))
        try:
            run.write(step, measured(step).measurements, probes=PROBES)
        except RunError as error:
            failures.append(str(error))
print(json.dumps(failures))
"""


@pytest.mark.parametrize("part", [0.0, 0.01, 0.5, 0.999])
def test_a_limit_that_the_kernel_sets(tmp_path: Path, part: float) -> None:
    """No file may grow beyond it: real writes that end within a record, and then fail."""
    with RunWriter(tmp_path / "sizes") as run:
        run.write(0, measured(0).measurements, probes=PROBES)
        first = event_paths(tmp_path / "sizes")[0].stat().st_size
        for step in range(1, 5):
            run.write(step, measured(step).measurements, probes=PROBES)
        five = event_paths(tmp_path / "sizes")[0].stat().st_size
    room = int(five + part * (five - first) / 4)
    done = subprocess.run(
        [sys.executable, "-c", REAL, str(tmp_path / "run"), str(room)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == []  # a further file has room
    assert read_run(tmp_path / "run").steps == tuple(range(12))
    found = [loaded(EventFileLoader(str(path))) for path in event_paths(tmp_path / "run")]
    assert len(found) > 1
    assert [step for steps in found for step in steps] == list(range(12))


def test_filling_a_gap_on_a_full_disk_leaves_the_run_as_it_was(tmp_path: Path) -> None:
    """A part of what is written again would hide all later steps."""
    with CheckpointRecorder(tmp_path, PROBES) as recorder:
        for step in (0, 10, 20):
            recorder.add(measured(step))
    for room in range(0, 3 * SIZE, SIZE // 19):
        with limited_disk() as disk:
            recorder = CheckpointRecorder(tmp_path, PROBES)
            disk.room = room
            recorder.add(measured(5))
            with pytest.raises(RunError, match="No space left"):
                recorder.close()
        assert read_run(tmp_path).steps == (0, 10, 20)
    with CheckpointRecorder(tmp_path, PROBES) as recorder:
        recorder.add(measured(5))
    assert read_run(tmp_path).steps == (0, 5, 10, 20)


# -- another writer's file


class Broken:
    """A writer whose thread has died of a full disk."""

    def __init__(self, good: int) -> None:
        self.good = good

    def add_event(self, event: Any) -> None:
        self.good -= 1
        if self.good < 0:
            raise OSError(28, "No space left on device")

    def flush(self) -> None:
        pass


def test_a_shared_file_that_fails_for_good(tmp_path: Path) -> None:
    run = RunWriter(tmp_path, Broken(1))
    write(run, 0)
    with pytest.warns(
        UserWarning, match="No space left on device.; recording continues in a separate file"
    ):
        write(run, 1)
    write(run, 2)
    run.close()
    assert read_run(tmp_path).steps == (1, 2)
    assert read_run(tmp_path).probes == PROBES


def test_a_shared_file_somewhere_in_a_cloud(tmp_path: Path) -> None:
    run = RunWriter(tmp_path / "s3:", Broken(0))
    with pytest.raises(RunError, match="No space left"):
        write(run, 0)
    assert not (tmp_path / "s3:").exists()


# -- clocks that go back


def clock(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    monkeypatch.setattr(time, "time", lambda: seconds)


@pytest.mark.filterwarnings("ignore:the clock is")
@pytest.mark.parametrize("back", [0.0, 0.5, 30.0, 3600.0, 1e9])
@pytest.mark.parametrize("within", [False, True])
def test_a_clock_that_was_set_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, back: float, within: bool
) -> None:
    clock(monkeypatch, 1.7e9)
    run = RunWriter(tmp_path)
    for step in range(6):
        write(run, step)
    if not within:
        run.close()
        run = RunWriter(tmp_path)
    clock(monkeypatch, 1.7e9 - back)
    for step in range(3, 8):
        write(run, step)
    run.close()
    found = read_run(tmp_path)
    assert found.steps == tuple(range(8))
    assert sorted(found.wall_times.values()) == list(found.wall_times.values())
    assert len(set(found.wall_times.values())) == 8
    steps = [step for path in event_paths(tmp_path) for step in loaded(EventFileLoader(str(path)))]
    assert steps == [0, 1, 2, 3, 4, 5, 3, 4, 5, 6, 7]


def test_a_clock_far_behind_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock(monkeypatch, 1.7e9)
    with RunWriter(tmp_path) as run:
        write(run, 0)
    clock(monkeypatch, 1.7e9 - 3600)
    told = pytest.warns(UserWarning, match="the clock is 3600 seconds behind")
    with RunWriter(tmp_path) as run, told as caught:
        write(run, 1)
    assert caught[0].filename == __file__


@pytest.mark.filterwarnings("ignore:the clock is")
def test_a_clock_set_back_after_sharing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with SummaryWriter(str(tmp_path)) as shared:
        run = RunWriter(tmp_path, shared._get_file_writer())
        for step in range(4):
            write(run, step)
        run.close()
    clock(monkeypatch, 1e9)
    with RunWriter(tmp_path) as run:
        write(run, 2)
    assert [path.suffix for path in event_paths(tmp_path)][-1] == ".sparsight"
    assert read_run(tmp_path).steps == (0, 1, 2)


@pytest.mark.filterwarnings("ignore:the clock is")
def test_sharing_a_file_that_is_named_by_a_clock_set_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be read first, and what it holds would not count."""
    for seconds, steps in ((1.7e9, range(4)), (1.6e9, range(2, 6))):
        clock(monkeypatch, seconds)
        with SummaryWriter(str(tmp_path)) as shared:
            run = RunWriter(tmp_path, shared._get_file_writer())
            for step in steps:
                if (seconds, step) == (1.6e9, 2):
                    with pytest.warns(
                        UserWarning, match="would be read before older ones that hold"
                    ):
                        write(run, step)
                else:
                    write(run, step)
            run.close()
    steps = [step for path in event_paths(tmp_path) for step in loaded(EventFileLoader(str(path)))]
    assert steps == [0, 1, 2, 3, 2, 3, 4, 5]
    assert read_run(tmp_path).steps == (0, 1, 2, 3, 4, 5)


def test_shared_events_have_our_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock(monkeypatch, 1.8e9 - 1)
    with SummaryWriter(str(tmp_path)) as shared:
        run = RunWriter(tmp_path, shared._get_file_writer())
        run.write(0, measured(0).measurements, wall_time=1.8e9)
        write(run, 1)
        run.close()
    times = read_run(tmp_path).wall_times
    assert times[1] > times[0] == 1.8e9


@pytest.mark.parametrize("times", [[], [1.5], [3.0, 1.0], [1.0, float("nan"), float("inf")]])
def test_the_latest_wall_time(tmp_path: Path, times: list[float]) -> None:
    path = tmp_path / "f"
    with path.open("wb") as file:
        for step, seconds in enumerate(times):
            events.write_event(file, events.event(step, seconds, [events.scalar_value("x", 1)]))
    assert events.latest_wall_time(path) == max([t for t in times if t < 1e300], default=0)
    path.write_bytes(path.read_bytes() + b"damage" * 10)
    assert events.latest_wall_time(path) == max([t for t in times if t < 1e300], default=0)
    assert events.latest_wall_time(tmp_path / "nothing") == 0


# -- a deleted directory


@pytest.mark.parametrize("what", ["directory", "files", "renamed"])
def test_a_directory_deleted_while_it_is_recorded_into(tmp_path: Path, what: str) -> None:
    folder = tmp_path / "run"
    with RunWriter(folder) as run:
        for step in range(3):
            write(run, step)
        if what == "directory":
            shutil.rmtree(folder)
        elif what == "files":
            for path in list(folder.iterdir()):
                path.unlink()
        else:
            folder.rename(tmp_path / "away")
        with pytest.warns(UserWarning, match="run was deleted while a run was being recorded"):
            write(run, 3)
        write(run, 4)
        found = read_run(folder)
        assert found.steps == (3, 4)
        assert found.probes == PROBES
        with pytest.raises(RunError, match="is already recording into"):
            subprocess_claim(folder)
    if what == "renamed":
        assert read_run(tmp_path / "away").steps == (0, 1, 2)


def test_a_shared_directory_deleted(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with SummaryWriter(str(folder)) as shared:
        run = RunWriter(folder, shared._get_file_writer())
        write(run, 0)
        shutil.rmtree(folder)
        with pytest.warns(UserWarning, match="run was deleted while a run was being recorded"):
            write(run, 1)
        write(run, 2)
        run.close()
        assert read_run(folder).steps == (1, 2)


# -- two writers

CLAIM = """
import sys
from sparsight.runs.writer import RunWriter
from sparsight.errors import RunError
try:
    RunWriter(sys.argv[1]).claim()
except RunError as error:
    sys.exit(str(error))
"""


def subprocess_claim(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CLAIM, str(folder)], capture_output=True, text=True
    )
    if done.returncode:
        raise RunError(done.stderr)


def test_another_process_is_refused_as_long_as_one_writes(tmp_path: Path) -> None:
    with RunWriter(tmp_path) as run:
        write(run, 0)
        with pytest.raises(RunError, match=rf"process {os.getpid()} on .*choose another"):
            subprocess_claim(tmp_path)
    subprocess_claim(tmp_path)
    with RunWriter(tmp_path) as run:
        write(run, 1)
    assert read_run(tmp_path).steps == (0, 1)


HOLD = """
import sys
from sparsight.runs.writer import RunWriter
run = RunWriter(sys.argv[1])
run.claim()
print("claimed", flush=True)
sys.stdin.read()
"""


def test_a_killed_process_leaves_the_run_to_others(tmp_path: Path) -> None:
    arguments = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"claimed\n"
            run = RunWriter(tmp_path)
            with pytest.raises(RunError, match=f"process {holder.pid} on .* is already recording"):
                run.claim()
            with pytest.raises(RunError, match="is already recording into"):
                write(run, 0)
        finally:
            holder.kill()
    assert (tmp_path / "sparsight.lock").exists()
    write(run, 0)
    run.close()
    assert read_run(tmp_path).steps == (0,)
    assert not (tmp_path / "sparsight.lock").exists()


def test_in_one_process_the_last_writer_has_the_run(tmp_path: Path) -> None:
    first = RunWriter(tmp_path)
    for step in range(4):
        write(first, step)
    second = RunWriter(tmp_path)
    write(second, 0)
    with pytest.raises(RunError, match="another recorder in this process has taken"):
        write(first, 4)
    write(second, 1)
    second.close()
    first.close()
    with pytest.raises(RunError, match="has taken"):
        first.claim()
    assert read_run(tmp_path).steps == (0, 1)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system knows no fork")
def test_a_forked_process_does_not_keep_the_lock(tmp_path: Path) -> None:
    """A data loader's worker may outlive its parent, and does not write in its place."""
    run = RunWriter(tmp_path)
    write(run, 0)
    ready, said = os.pipe()
    hold, end = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(end)
        try:
            write(run, 1)
        except RunError as error:
            os.write(said, str(error).encode())
        os.read(hold, 1)  # until the parent closes its end
        os._exit(0)
    os.close(hold)
    try:
        assert f"process {os.getpid()} on" in os.read(ready, 1000).decode()
        run.close()
        subprocess_claim(tmp_path)
    finally:
        os.close(end)
        os.waitpid(child, 0)
        os.close(ready)
        os.close(said)
    assert read_run(tmp_path).steps == (0,)


def test_a_file_system_without_locks_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fcntl = pytest.importorskip("fcntl")

    def no_locks(file: int, operation: int) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with RunWriter(tmp_path) as run:
        told = r"cannot lock .*No locks available.: make sure"
        with pytest.warns(UserWarning, match=told) as caught:
            write(run, 0)
        assert caught[0].filename == __file__
        write(run, 1)
    assert read_run(tmp_path).steps == (0, 1)

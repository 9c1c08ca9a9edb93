import dataclasses
import warnings

import numpy as np
import pytest
from tests.core.records import PROBES, measured

from sparsight import schema
from sparsight.analysis.checkpoint_recorder import CheckpointRecorder
from sparsight.errors import RunError, UsageError
from sparsight.runs.reader import read_run
from sparsight.runs.writer import RunWriter


def record(folder, *steps):
    with CheckpointRecorder(folder, PROBES) as recorder:
        for step in steps:
            recorder.add(measured(step))


def assert_holds(folder, *steps):
    run = read_run(folder)
    assert run.steps == steps
    np.testing.assert_array_equal(run.statistic("conv1", "entropy"), np.array(steps, np.float32))
    assert tuple(run.maps["conv1"]) == steps
    assert tuple(run.scalars["loss/validation"]) == steps
    assert run.maps["conv1"][steps[-1]].lo == steps[-1]
    assert run.probes == PROBES


def test_in_order(tmp_path):
    record(tmp_path, -1, 0, 3, 7)
    assert_holds(tmp_path, -1, 0, 3, 7)


@pytest.mark.parametrize("order", [(3, 1, 2), (5, 1, 7, 3), (9, 8, 7, 6)])
def test_whatever_the_order(tmp_path, order):
    record(tmp_path, *order)
    assert_holds(tmp_path, *sorted(order))


def test_gaps_filled_later_lose_nothing(tmp_path):
    record(tmp_path, 0, 10, 20)
    record(tmp_path, 5, 15, 30)
    assert_holds(tmp_path, 0, 5, 10, 15, 20, 30)
    record(tmp_path, -1)
    assert_holds(tmp_path, -1, 0, 5, 10, 15, 20, 30)


@pytest.mark.parametrize("times", [(1, 2, 3), (3, 2, 1), (1, 1, 1)])
def test_wall_times_ascend_with_the_steps(tmp_path, times):
    """Whenever the checkpoint files were written: readers merge files by wall time."""
    for step, seconds in zip((1, 9, 5), times, strict=True):
        with CheckpointRecorder(tmp_path, PROBES) as recorder:
            recorder.add(dataclasses.replace(measured(step), wall_time=1e9 + seconds))
    assert_holds(tmp_path, 1, 5, 9)
    with CheckpointRecorder(tmp_path, PROBES) as recorder:
        assert sorted(recorder._times, key=recorder._times.get) == [1, 5, 9]


def test_what_is_there_is_known(tmp_path):
    record(tmp_path, 1, 2)
    with CheckpointRecorder(tmp_path, PROBES) as recorder:
        assert recorder.recorded == (1, 2)


def test_others_scalars_are_left_alone(tmp_path):
    with RunWriter(tmp_path) as writer:
        writer.write(4, measured(4).measurements, probes=PROBES)
    (ours,) = tmp_path.iterdir()
    ours.rename(tmp_path / "events.out.tfevents.1.host")  # a SummaryWriter's, that we share
    record(tmp_path, 2)
    assert read_run(tmp_path).steps == (2, 4)


def test_other_probes_are_refused(tmp_path):
    record(tmp_path, 1)
    other = schema.ShownProbes("another digest", 5, (0,), "none", ())
    with pytest.raises(UsageError, match="was measured on other probes"):
        CheckpointRecorder(tmp_path, other)


def test_a_directory_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="a file of that name exists"):
        CheckpointRecorder(tmp_path / "file", PROBES)
    with pytest.raises(RunError, match="cannot write to"):
        CheckpointRecorder(tmp_path / "file" / "run", PROBES)


def test_an_event_file_that_ends_within_a_record(tmp_path):
    """As one whose writer was killed does: what it held before is kept."""
    record(tmp_path, 1, 5)
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-10])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        record(tmp_path, 3)
        assert read_run(tmp_path).steps == (1, 3)

import sys

import numpy as np
import pytest
import torch
from tests.core.disks import limited_disk
from torch import nn
from torch.utils.tensorboard import SummaryWriter

from sparsight.errors import RunError, UsageError
from sparsight.runs.reader import read_run
from sparsight_torch import Recorder


@pytest.fixture
def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))


@pytest.fixture
def probes():
    return torch.rand(20, 1, 8, 8)


def test_what_is_recorded_can_be_read(net, probes, tmp_path):
    with Recorder(net, probes, tmp_path / "run", shown=3) as recorder:
        for epoch in range(-1, 4):
            measurements = recorder.record(
                epoch, scalars={"loss/validation": 1.5}, global_step=10 * (epoch + 1)
            )
    run = read_run(tmp_path / "run")
    assert run.steps == (-1, 0, 1, 2, 3)
    assert run.global_steps[3] == 40
    assert run.scalars["loss/validation"][3] == 1.5
    assert run.tables[3].value("0", "entropy") == pytest.approx(
        measurements[0].statistics["entropy"]
    )
    assert run.probes is not None
    assert (run.probes.indices, run.probes.kind, run.probes.count) == ((0, 10, 19), "image", 20)
    stored = run.maps["0"][3]
    np.testing.assert_allclose(
        stored.values()[:3], measurements[0].maps, atol=(stored.hi - stored.lo) / 500
    )
    assert run.correlations["0"][3].sum() == 6


def test_every_nth_epoch_and_before_training(net, probes, tmp_path):
    with Recorder(net, probes, tmp_path, every=2) as recorder:
        counts = [len(recorder.record(epoch, scalars={"x": 1.0})) for epoch in range(-1, 5)]
    assert counts == [1, 1, 0, 1, 0, 1]
    run = read_run(tmp_path)
    assert run.steps == (-1, 0, 2, 4)
    assert list(run.scalars["x"]) == [-1, 0, 1, 2, 3, 4]


def test_a_resumed_run_replaces_what_came_later(net, probes, tmp_path):
    for epochs in (range(-1, 6), range(3, 5)):
        with Recorder(net, probes, tmp_path) as recorder:
            for epoch in epochs:
                recorder.record(epoch)
    assert read_run(tmp_path).steps == (-1, 0, 1, 2, 3, 4)


def test_sharing_a_summary_writer(net, probes, tmp_path):
    with SummaryWriter(str(tmp_path)) as writer:
        writer.add_scalar("mine", 0.25, 7)
        recorder = Recorder(net, probes, writer=writer)
        recorder.record(0)
        recorder.close()
        writer.add_scalar("mine", 0.5, 8)
    assert len([path for path in tmp_path.iterdir() if "tfevents" in path.name]) == 1
    run = read_run(tmp_path)
    assert run.steps == (0,)
    assert run.scalars["mine"] == {7: 0.25, 8: 0.5}


def test_a_failed_write_does_not_end_training(net, probes, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    recorder = Recorder(net, probes, blocked / "run")
    with pytest.warns(UserWarning, match="training continues"):
        assert recorder.record(0)
    assert recorder.record(1)  # said once: a second warning would be an error here


def test_a_full_disk_does_not_end_training(net, probes):
    """/dev/full answers every write as a full disk does."""

    class Full:
        def add_event(self, event):
            with open("/dev/full", "wb", buffering=0) as file:
                file.write(event.SerializeToString())

        def flush(self):
            raise AssertionError("nothing was written")

        close = flush

    class Writer:
        log_dir = "full"

        def _get_file_writer(self):
            return Full()

    with pytest.warns(UserWarning, match="No space left on device; training continues"):
        Recorder(net, probes, writer=Writer()).record(0)


def test_a_full_disk_is_told_when_it_begins_and_when_it_ends(net, probes, tmp_path):
    with limited_disk() as disk, Recorder(net, probes, tmp_path) as recorder:
        recorder.record(0)
        for epoch in (1, 5):
            disk.room = 100
            kept = f"continues, with epoch {epoch} kept in memory"
            with pytest.warns(UserWarning, match=kept) as caught:
                assert recorder.record(epoch)
            assert caught[0].filename == __file__  # at the user's own line
            recorder.record(epoch + 1)  # said once: a second warning would be an error here
            disk.room = None
            again = f"can be written to .* again, including epochs {epoch}, {epoch + 1}"
            with pytest.warns(UserWarning, match=again):
                recorder.record(epoch + 2)
            recorder.record(epoch + 3)
    assert read_run(tmp_path).steps == tuple(range(9))


def test_a_disk_that_stays_full_is_told_at_the_end(net, probes, tmp_path):
    with limited_disk() as disk:
        recorder = Recorder(net, probes, tmp_path)
        recorder.record(0)
        disk.room = 10
        with pytest.warns(UserWarning, match="epoch 1 kept in memory"):
            recorder.record(1)
        with pytest.warns(UserWarning, match="No space left on device; epoch 1 could not be"):
            recorder.close()
        recorder.close()
    assert read_run(tmp_path).steps == (0,)


@pytest.mark.skipif(sys.platform == "win32", reason="the system sets no such limits")
def test_a_checkpoint_that_cannot_be_written_leaves_nothing(net, probes, tmp_path):
    """The kernel lets no file grow beyond 100 bytes; records are written all the same."""
    resource = pytest.importorskip("resource")
    recorder = Recorder(net, probes, tmp_path, also_export=True)
    recorder.record(0)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with limited_disk() as disk:
        disk.room = 10
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
            with pytest.warns(UserWarning, match="cannot write") as told:
                recorder.record(1)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert len(told) == 2
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["epoch_0000.onnx"]
    with pytest.warns(UserWarning, match="can be written to") as told:
        recorder.record(2)
    assert len(told) == 2
    recorder.close()
    assert read_run(tmp_path).steps == (0, 1, 2)


def test_a_cell_that_is_run_again(net, probes, tmp_path):
    """The first recorder is alive still when the second is made."""
    recorder = Recorder(net, probes, tmp_path)
    first = recorder
    for epoch in range(4):
        recorder.record(epoch)
    recorder = Recorder(net, probes, tmp_path)
    recorder.record(0)
    with pytest.warns(UserWarning, match="another recorder in this process has taken"):
        assert first.record(4)
    first.record(5)
    recorder.record(1)
    recorder.close()
    first.close()
    assert read_run(tmp_path).steps == (0, 1)


def test_a_run_that_another_process_records(net, probes, tmp_path):
    fcntl = pytest.importorskip("fcntl")
    with open(tmp_path / "sparsight.lock", "w") as lock:
        lock.write("process 5 on there")
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(RunError, match="process 5 on there is already recording into"):
            Recorder(net, probes, tmp_path)
    Recorder(net, probes, tmp_path).close()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "either a logdir or a writer"),
        ({"logdir": "a", "writer": object()}, "either a logdir or a writer"),
        ({"logdir": "a", "every": 0}, "at least 1"),
        ({"logdir": "a", "every": "2"}, "at least 1"),
        ({"logdir": "a", "shown": "2"}, "a number of probes, or a list"),
        ({"logdir": "a", "shown": -1}, "expected 0 or more"),
    ],
)
def test_wrong_options_get_a_sentence(net, probes, options, message):
    with pytest.raises(UsageError, match=message):
        Recorder(net, probes, **options)


@pytest.mark.parametrize(
    ("epoch", "options", "message"),
    [
        ("1", {}, "epoch='1': expected an integer"),
        (1.5, {}, "epoch=1.5: expected an integer"),
        (1, {"global_step": 0.5}, "global_step=0.5: expected an integer"),
        (1, {"scalars": {"loss": "low"}}, "the scalar 'loss' is 'low'"),
        (1, {"scalars": {"loss": torch.ones(3)}}, "the scalar 'loss' is tensor"),
    ],
)
def test_wrong_records_get_a_sentence(net, probes, tmp_path, epoch, options, message):
    with Recorder(net, probes, tmp_path) as recorder:
        with pytest.raises(UsageError, match=message):
            recorder.record(epoch, **options)
        recorder.record(2, scalars={"loss": torch.ones(1, requires_grad=True)})
    assert read_run(tmp_path).steps == (2,)


def test_an_evaluation_is_recorded(tmp_path):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    logits, labels = torch.randn(50, 3) * 4, torch.randint(0, 3, (50,))
    with Recorder(model, torch.randn(8, 4), tmp_path) as recorder:
        recorder.record(
            0,
            train_loss=torch.tensor(0.5),
            validation_logits=logits,
            validation_labels=labels,
            scalars={"accuracy/validation": 0.25},
        )
        with pytest.raises(UsageError, match="validation_labels is None"):
            recorder.record(1, validation_logits=logits)
    found = {tag: points[0] for tag, points in read_run(tmp_path).scalars.items()}
    loss = float(nn.functional.cross_entropy(logits, labels))
    assert found["loss/training"] == 0.5
    assert found["loss/validation"] == pytest.approx(loss, rel=1e-5)
    assert found["calibration/uncalibrated_loss"] == pytest.approx(loss, rel=1e-5)
    assert found["calibration/loss"] < loss
    assert found["accuracy/validation"] == 0.25
    assert 0 < found["calibration/error"] < 1

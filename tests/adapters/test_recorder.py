import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.tensorboard import SummaryWriter

from sparsight.errors import UsageError
from sparsight.reader import read_run
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
    with pytest.warns(UserWarning, match="training goes on"):
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

    with pytest.warns(UserWarning, match="No space left on device; training goes on"):
        Recorder(net, probes, writer=Writer()).record(0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "give one"),
        ({"logdir": "a", "writer": object()}, "give one"),
        ({"logdir": "a", "every": 0}, "at least 1"),
        ({"logdir": "a", "every": "2"}, "at least 1"),
        ({"logdir": "a", "shown": "2"}, "a number of probes, or a list"),
        ({"logdir": "a", "shown": -1}, "0 is the least"),
    ],
)
def test_wrong_options_get_a_sentence(net, probes, options, message):
    with pytest.raises(UsageError, match=message):
        Recorder(net, probes, **options)


@pytest.mark.parametrize(
    ("epoch", "options", "message"),
    [
        ("1", {}, "epoch='1': an integer"),
        (1.5, {}, "epoch=1.5: an integer"),
        (1, {"global_step": 0.5}, "global_step=0.5: an integer"),
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

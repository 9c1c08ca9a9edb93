"""What a run directory holds after writing, resuming and damage."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch.utils.tensorboard import SummaryWriter

from sparsight import schema
from sparsight.errors import RunError
from sparsight.maths.correlation import correlation_summary
from sparsight.measure.accumulator import LayerAccumulator
from sparsight.measure.batch import BatchStatistics
from sparsight.measure.measurement import LayerMeasurement
from sparsight.probes.probe_set import shown_probes
from sparsight.runs import events
from sparsight.runs.reader import Run, read_run
from sparsight.runs.writer import RunWriter

PROBES = shown_probes([np.zeros((5, 8, 8), np.float32)], [0, 2])
LAYERS = {"conv1": 8, "fc1": 16}


def measure(name: str, channels: int, step: int) -> LayerMeasurement:
    rng = np.random.default_rng([step + 1, channels])
    entropy = rng.uniform(0, math.log(channels), (5, 4, 3)).astype(np.float32)
    layer = schema.LayerInfo(name, "Conv", channels, (), 1, "linear output")
    accumulator = LayerAccumulator(layer, (0, 2))
    accumulator.update(BatchStatistics(entropy), 0)
    return accumulator.result(correlation_summary(rng.normal(size=(channels, 9))))


def network(step: int, layers: Mapping[str, int] = LAYERS) -> list[LayerMeasurement]:
    return [measure(name, channels, step) for name, channels in layers.items()]


def record(
    folder: Path, steps: Sequence[int], layers: Mapping[str, int] = LAYERS, start: float = 0
) -> None:
    with RunWriter(folder) as writer:
        for number, step in enumerate(steps):
            writer.write(
                step,
                network(step, layers),
                probes=PROBES,
                global_step=10 * (step + 1),
                scalars={"loss": step / 4},
                wall_time=1e9 + start + number,
            )


def values_of(folder: Path) -> Iterator[tuple[int, Any]]:
    for path in sorted(folder.iterdir()):
        for event in events.read_events(path):
            yield from ((event.step, value) for value in event.summary.value)


def test_everything_comes_back(tmp_path: Path) -> None:
    record(tmp_path / "run", range(-1, 4))
    run = read_run(tmp_path / "run")
    assert run.steps == (-1, 0, 1, 2, 3)
    assert run.global_steps == {step: 10 * (step + 1) for step in run.steps}
    assert run.scalars == {"loss": {step: step / 4 for step in run.steps}}
    assert run.probes == PROBES
    for measured in network(2):
        name = measured.layer.name
        assert measured.layer in run.tables[2].layers
        for column in schema.COLUMNS:
            expected = np.float32(measured.statistics[column.name])
            np.testing.assert_equal(np.float32(run.tables[2].value(name, column.name)), expected)
        maps = run.maps[name][2]
        assert (maps.probe_ids, list(run.maps[name])) == ((0, 2), [-1, 0, 1, 2, 3])
        step = (maps.hi - maps.lo) / 508 + 1e-6
        np.testing.assert_allclose(maps.values()[:-1], measured.maps, atol=step)
        np.testing.assert_allclose(maps.values()[-1], measured.mean_map, atol=step)
        assert measured.correlation is not None
        np.testing.assert_array_equal(run.correlations[name][2], measured.correlation.counts)
    entropies = run.statistic("fc1", "entropy")
    assert entropies[3] == np.float32(network(2)[1].statistics["entropy"])
    assert np.isnan(run.statistic("nothing", "entropy")).all()
    with pytest.raises(RunError, match="no 'entropy' is recorded for layer 'nothing'"):
        run.tables[2].value("nothing", "entropy")


def test_relative_entropy_follows_the_width_that_a_layer_had_at_each_step(tmp_path: Path) -> None:
    record(tmp_path, [0, 1], {"conv1": 8, "narrow": 1})
    record(tmp_path, [2], {"conv1": 64}, start=100)
    run = read_run(tmp_path)
    entropies = run.statistic("conv1", "entropy")
    np.testing.assert_allclose(
        run.relative_entropy("conv1"), entropies / np.log([8, 8, 64]), rtol=1e-6
    )
    assert np.isnan(run.relative_entropy("narrow")).all()  # ln 1 = 0; and not recorded at last
    assert np.isnan(run.relative_entropy("nothing")).all()
    with pytest.raises(RunError, match="no layer 'narrow' is recorded"):
        run.tables[2].channels("narrow")


def test_odd_names_are_harmless(tmp_path: Path) -> None:
    names = ["../../etc", "<script>", "a" * 10_000, "", "ü\n\0", "sparsity/layers/x"]
    record(tmp_path, [0], dict.fromkeys(names, 4))
    run = read_run(tmp_path)
    assert [layer.name for layer in run.tables[0].layers] == names
    assert set(run.maps) == set(run.correlations) == set(names)
    assert all(len(value.tag) < 60 for _, value in values_of(tmp_path))


def test_one_event_a_step_and_the_table_at_its_end(tmp_path: Path) -> None:
    record(tmp_path, [-1, 0])
    (path,) = tmp_path.iterdir()
    version, *steps = events.read_events(path)
    assert version.file_version == "brain.Event:2"
    assert [event.step for event in steps] == [-1, 0]
    assert [schema.kind_of(value.tag) for value in steps[0].summary.value][-1] == "layers"
    for event in steps:
        assert all(value.metadata.data_class for value in event.summary.value)


def test_probes_are_written_once_a_file(tmp_path: Path) -> None:
    record(tmp_path, range(5))
    assert [step for step, v in values_of(tmp_path) if schema.kind_of(v.tag) == "probes"] == [0]


def test_every_step_can_be_read_as_soon_as_it_is_written(tmp_path: Path) -> None:
    with RunWriter(tmp_path) as writer:
        for step in range(3):
            writer.write(step, network(step))
            assert read_run(tmp_path).steps == tuple(range(step + 1))


def test_a_resumed_run_is_one_line(tmp_path: Path) -> None:
    record(tmp_path / "two", range(-1, 20))
    record(tmp_path / "two", range(12, 25), start=100)
    assert len(list((tmp_path / "two").iterdir())) == 2
    record(tmp_path / "one", [*range(-1, 20), *range(12, 25)])
    for name in ("one", "two"):
        run = read_run(tmp_path / name)
        steps = list(range(-1, 25))
        kept = [run.tables, run.global_steps, run.maps["fc1"], run.correlations["fc1"]]
        assert [list(series) for series in kept] == [steps] * 4
        assert list(run.scalars["loss"]) == steps


def test_layers_that_were_not_measured_again_end_where_the_run_went_back(tmp_path: Path) -> None:
    record(tmp_path, range(6), {"old": 4, **LAYERS})
    record(tmp_path, range(3, 8), start=100)
    run = read_run(tmp_path)
    assert run.steps == tuple(range(8))
    assert list(run.maps["old"]) == list(run.correlations["old"]) == [0, 1, 2]
    assert np.isfinite(run.statistic("old", "entropy")).tolist() == [True] * 3 + [False] * 5


def test_our_file_sorts_before_that_of_others(tmp_path: Path) -> None:
    other = SummaryWriter(str(tmp_path))
    other.add_scalar("their/loss", 1.5, 7)
    record(tmp_path, [0, 1])
    other.close()
    ours, _ = sorted(path.name for path in tmp_path.iterdir())
    assert ours.endswith(".sparsight")
    assert re.match(r"events\.out\.tfevents\.0000000000\.", ours)
    run = read_run(tmp_path)
    assert run.steps == (0, 1)
    assert run.scalars["their/loss"] == {7: 1.5}


def test_a_shared_file(tmp_path: Path) -> None:
    shared = SummaryWriter(str(tmp_path))
    writer = RunWriter(tmp_path, sink=shared._get_file_writer())
    for step in range(3):
        shared.add_scalar("loss/train", 10 - step, step)
        writer.write(step, network(step), probes=PROBES, scalars={"loss/validation": step})
        assert read_run(tmp_path).steps == tuple(range(step + 1))
    writer.close()
    shared.add_scalar("loss/train", 7, 3)  # it is not ours to close
    shared.close()
    assert len(list(tmp_path.iterdir())) == 1
    run = read_run(tmp_path)
    assert run.scalars["loss/train"] == {0: 10, 1: 9, 2: 8, 3: 7}
    assert run.scalars["loss/validation"] == {0: 0, 1: 1, 2: 2}
    assert list(run.maps["conv1"]) == [0, 1, 2]


def test_our_file_sorts_after_one_that_was_shared(tmp_path: Path) -> None:
    """TensorBoard reads files by name: read first, the resumed steps would not count."""
    with SummaryWriter(str(tmp_path)) as shared:
        writer = RunWriter(tmp_path, sink=shared._get_file_writer())
        for step in range(4):
            writer.write(step, network(step))
    with RunWriter(tmp_path) as resumed:
        resumed.write(2, network(5))
    with RunWriter(tmp_path) as again:
        again.write(3, network(6))
    names = sorted(path.name for path in tmp_path.iterdir())
    assert [name.endswith(".sparsight") for name in names] == [False, True, True]
    steps = [[event.step for event in events.read_events(tmp_path / name)] for name in names]
    assert [recorded[-1] for recorded in steps] == [3, 2, 3]
    run = read_run(tmp_path)
    assert run.steps == (0, 1, 2, 3)
    assert run.tables[2].value("fc1", "entropy") == np.float32(network(5)[1].statistics["entropy"])


@pytest.mark.parametrize("wall_time", [math.nan, math.inf, None])
def test_wall_times_are_always_numbers(tmp_path: Path, wall_time: float | None) -> None:
    with RunWriter(tmp_path) as writer:
        writer.write(0, network(0), wall_time=wall_time)
    (path,) = tmp_path.iterdir()
    assert all(1.5e9 < event.wall_time < 1e11 for event in events.read_events(path))


def test_a_step_without_layers(tmp_path: Path) -> None:
    with RunWriter(tmp_path) as writer:
        writer.write(0, [], scalars={"loss": 1})
    run = read_run(tmp_path)
    assert (run.steps, run.scalars) == ((), {"loss": {0: 1}})


def test_nothing_is_created_before_the_first_record(tmp_path: Path) -> None:
    RunWriter(tmp_path / "run").close()
    assert not (tmp_path / "run").exists()


def test_directories_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "run", Path("/proc/nothing")):
        writer = RunWriter(folder)
        with pytest.raises(RunError, match=f"cannot write to {folder}: "):
            writer.write(0, network(0))


def test_directories_that_hold_no_run(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="is not a directory; expected a run directory"):
        read_run(tmp_path / "nothing")
    (tmp_path / "notes.txt").touch()
    with pytest.raises(RunError, match="holds no event file"):
        read_run(tmp_path)


# -- damage ---------------------------------------------------------------------------------------


def read_with_warnings(folder: Path) -> tuple[Run, list[str]]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run = read_run(folder)
    return run, [str(warning.message) for warning in caught]


def test_a_file_that_is_being_written(tmp_path: Path) -> None:
    record(tmp_path, range(3))
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-1])
    assert read_with_warnings(tmp_path)[0].steps == (0, 1)
    assert read_with_warnings(tmp_path)[1] == []


def test_a_damaged_file_leaves_the_others(tmp_path: Path) -> None:
    record(tmp_path, range(3))
    (path,) = tmp_path.iterdir()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    record(tmp_path, range(3, 5), start=100)
    run, messages = read_with_warnings(tmp_path)
    assert run.steps == (0, 3, 4)
    (message,) = messages
    assert message.startswith(f"{path} is damaged at byte")


def test_damaged_records_leave_the_others(tmp_path: Path) -> None:
    record(tmp_path, [0])
    metadata, table = schema.encode_metadata(layer="conv1"), schema.encode_layers([])
    future = b'{"version": 99}'
    tensor, ours, theirs = events.tensor_value, schema.LAYERS_PLUGIN, schema.MAPS_PLUGIN
    bad = [
        tensor("sparsity/maps/1", b"damage", theirs, metadata),
        tensor("sparsity/maps/2", np.zeros(3), theirs, metadata),
        tensor("sparsity/layers/1", np.zeros((2, 2)), ours, table),
        tensor("sparsity/layers/2", b"damage", ours, table),
        tensor("sparsity/layers/3", np.zeros((2, 2)), ours, future),
        tensor("sparsity/correlation/1", np.zeros(200), theirs, metadata),
        tensor("sparsity/correlation/2", np.zeros(201), theirs, schema.encode_metadata()),
        tensor("sparsity/probes/1", b"", ours, metadata),
        tensor(schema.GLOBAL_STEP_TAG, np.zeros(2), ours, metadata),
        tensor("loss/1", b"damage", "scalars", b""),
        tensor("loss/2", np.zeros((0, 2)), "scalars", b""),
    ]
    with RunWriter(tmp_path) as writer:
        writer.repeat(events.event(1, 2e9, bad))
    run, messages = read_with_warnings(tmp_path)
    assert run.steps == (0,)
    assert list(run.maps["conv1"]) == list(run.correlations["conv1"]) == [0]
    assert len(messages) == len(bad)
    assert all(" is left out: " in message for message in messages)
    assert sum("upgrade sparsight" in message for message in messages) == 1


def test_the_same_damage_is_told_once(tmp_path: Path) -> None:
    metadata = schema.encode_metadata(layer="conv1")
    with RunWriter(tmp_path) as writer:
        for step in range(5):
            value = events.tensor_value("sparsity/maps/1", b"damage", "sparsity_maps", metadata)
            writer.repeat(events.event(step, 2e9, [value]))
    assert len(read_with_warnings(tmp_path)[1]) == 1


def test_wall_times_that_are_no_numbers(tmp_path: Path) -> None:
    with RunWriter(tmp_path) as writer:
        values = [events.scalar_value("loss", 1)]
        for step, wall_time in enumerate([math.nan, math.inf, -math.inf]):
            writer.repeat(events.event(step, wall_time, values))
    assert read_run(tmp_path).scalars["loss"] == {0: 1, 1: 1, 2: 1}

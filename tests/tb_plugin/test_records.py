from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsight import schema
from sparsight.schema import Column, LayerInfo
from sparsight_tensorboard import layer_series, probes, tables
from sparsight_tensorboard.records import NotRecorded, Record, Tag, survivors

COLUMNS = (Column("entropy", "nats", "H"), Column("rms", "activation", "RMS"))


def info(name: str, channels: int = 8) -> LayerInfo:
    return LayerInfo(name, "Conv", channels, (2, 2), 1, "linear output")


def table(
    layers: Sequence[LayerInfo],
    values: Mapping[tuple[int, float], float],
    columns: Sequence[Column] = COLUMNS,
) -> Tag:
    """A tag whose tables hold one number everywhere, by step and wall time."""
    metadata = schema.encode_layers(layers, columns)
    shape = (len(layers), len(columns))
    records = [Record(s, w, np.full(shape, v, np.float32)) for (s, w), v in values.items()]
    return Tag(schema.tag_of("layers", metadata), metadata, records)


def test_survivors_of_a_tag_alone() -> None:
    records = [Record(s, w, None) for w, s in enumerate([-1, 0, 1, 2, 1, 2, 3])]
    alive = survivors(records)
    assert [(r.step, r.wall_time) for r in alive] == [(-1, 0), (0, 1), (1, 4), (2, 5), (3, 6)]


def test_a_run_that_went_back_drops_layers_that_were_not_measured_again() -> None:
    records = [Record(s, s, None) for s in range(5)]
    events = [(s, float(s)) for s in range(5)] + [(2, 10.0), (3, 11.0)]
    assert [r.step for r in survivors(records, events)] == [0, 1]


@given(st.lists(st.integers(-1, 8), max_size=12), st.randoms())
def test_survivors_agree_with_one_tag_for_everything(steps: list[int], random: object) -> None:
    events = [(step, float(at)) for at, step in enumerate(steps)]
    kept = {events[position] for position in schema.surviving(steps)}
    chosen = [event for event in events if event[1] % 2 or event[0] > 3]
    alive = survivors([Record(s, w, None) for s, w in chosen], events)
    assert [(r.step, r.wall_time) for r in alive] == [event for event in chosen if event in kept]


def test_clocks_that_go_back_lose_nothing() -> None:
    records = [Record(s, w, None) for s, w in [(0, 9.0), (1, 3.0), (2, 4.0)]]
    events = [(r.step, r.wall_time) for r in records]
    assert survivors(records, events) == records


def test_tables_of_several_tags_are_one() -> None:
    old = table([info("a"), info("b"), info("c")], {(0, 0): 1, (1, 1): 2})
    new = table([info("a"), info("c"), info("d")], {(2, 2): 3})
    merged = tables.merged([new, old])
    assert [layer.name for layer in merged.layers] == ["a", "b", "c", "d"]
    assert merged.steps == (0, 1, 2)
    nan = np.nan
    np.testing.assert_array_equal(
        merged.values(0, 3)[:, :, 0], [[1, 1, 1, nan], [2, 2, 2, nan], [3, nan, 3, 3]]
    )
    np.testing.assert_array_equal(merged.values(1, 2), merged.values(0, 3)[1:2])
    assert merged.warnings == ()


def test_columns_of_another_release() -> None:
    extra = Column("kurtosis", "none", "Kurtosis")
    old = table([info("a")], {(0, 0): 1}, (COLUMNS[1], extra))
    new = table([info("a")], {(1, 1): 2})
    merged = tables.merged([old, new])
    assert [column.name for column in merged.columns] == ["entropy", "rms", "kurtosis"]
    np.testing.assert_array_equal(merged.values(0, 2)[:, 0], [[np.nan, 1, 1], [2, 2, np.nan]])


def test_a_layer_that_changed_its_channels() -> None:
    merged = tables.merged(
        [table([info("a", 8)], {(0, 0): 1}), table([info("a", 16)], {(1, 1): 2})]
    )
    assert merged.layers[0].channels == 16
    np.testing.assert_array_equal(merged.values(0, 2)[:, 0, 0], [np.nan, 2])
    assert merged.warnings == (
        "layer 'a' had 8 channels and has 16 now: its earlier records are left out",
    )


def test_damaged_tables_are_counted() -> None:
    good = table([info("a")], {(0, 0): 1, (1, 1): 2})
    damaged = [np.zeros((3, 3), np.float32), None, b"bytes", np.zeros((1, 2), np.int32)]
    records = [*good.records, *(Record(9, 9, content) for content in damaged)]
    merged = tables.merged([Tag(good.name, good.metadata, records)])
    assert merged.steps == (0, 1)
    assert merged.warnings == (f"left out: 4 damaged records of {good.name}",)


def test_an_unknown_version_is_left_out_with_one_warning() -> None:
    future = Tag("sparsity/layers/x", b'{"version": 99}', [Record(0, 0, None)] * 3)
    merged = tables.merged([future, table([info("a")], {(0, 0): 1})])
    assert merged.steps == (0,)
    (warning,) = merged.warnings
    assert "version 99" in warning
    assert "upgrade" in warning


def test_two_layers_of_one_name() -> None:
    merged = tables.merged([table([info("a"), info("a")], {(0, 0): 1})])
    assert len(merged.layers) == 1
    assert merged.values(0, 1)[0, 0, 0] == 1


def test_more_layers_than_a_network_has() -> None:
    merged = tables.merged([table([info(f"l{n}") for n in range(5000)], {(0, 0): 1})])
    assert len(merged.layers) == 4096
    assert merged.warnings == ("left out: 904 of 5000 layers, which are too many to show",)
    assert merged.values(0, 1).shape == (1, 4096, 2)


def test_names_that_fill_the_answer() -> None:
    odd = "\u202e" * 100_000  # six bytes each in JSON
    columns = [Column(f"{n}{odd}", "", "") for n in range(9)]
    merged = tables.merged([table([info(f"{n}{odd}") for n in range(9)], {(0, 0): 1}, columns)])
    assert (len(merged.layers), len(merged.columns)) == (3, 3)
    assert merged.values(0, 1).tolist() == [[[1] * 3] * 3]
    assert merged.warnings == (
        "left out: 6 of 9 layers, which are too many to show",
        "left out: 6 of 9 statistics, which are too many to show",
    )


@given(st.lists(st.lists(st.sampled_from("abcdefg"), unique=True), min_size=1, max_size=5))
def test_the_newest_table_keeps_its_graph_order(recorded: list[list[str]]) -> None:
    tags = [table([info(n) for n in names], {(at, at): at}) for at, names in enumerate(recorded)]
    order = [layer.name for layer in tables.merged(tags).layers]
    assert sorted(order) == sorted({name for names in recorded for name in names})
    newest = recorded[-1]
    assert [name for name in order if name in newest] == newest


# -- maps -----------------------------------------------------------------------------------------


def maps_tag(
    steps: Sequence[int], shape: tuple[int, ...] = (2, 3), probes: Sequence[int] = (4, 7)
) -> Tag:
    metadata = schema.encode_metadata(layer="a", shape=list(shape))
    rng = np.random.default_rng(len(shape))
    maps = rng.random((len(probes), *shape)).astype(np.float32)
    record = schema.encode_maps("a", probes, maps, maps.mean(axis=0)).to_bytes()
    records = [Record(step, step, record) for step in steps]
    return Tag(schema.tag_of("maps", metadata), metadata, records)


def test_all_probes_or_one() -> None:
    series = layer_series.of_layer([maps_tag(range(4))], ())
    everything = layer_series.maps("a", series)
    assert everything.probes == (4, 7, "mean")
    assert everything.codes.shape == (4, 3, 2, 3)
    for at, probe in enumerate(everything.probes):
        one = layer_series.maps("a", series, probe=probe)
        assert one.probes == (probe,)
        np.testing.assert_array_equal(one.codes[:, 0], everything.codes[:, at])
    with pytest.raises(NotRecorded, match=r"probe 5 .* there are: 4, 7, mean"):
        layer_series.maps("a", series, probe=5)


def test_maps_that_do_not_fit_the_newest_are_left_out() -> None:
    tags = [maps_tag([0, 1]), maps_tag([2], (2, 2)), maps_tag([3], (2, 2), (4,)), maps_tag([4])]
    found = layer_series.maps("a", layer_series.of_layer(tags, ()))
    assert found.steps == (0, 1, 4)
    (warning,) = found.warnings
    assert "2 steps of the maps of 'a', because they have another shape" in warning
    series = layer_series.of_layer(tags[:3], ())
    assert (layer_series.maps("a", series).probes, series.records[-1].step) == ((4, "mean"), 3)
    assert layer_series.maps("a", series).steps == (2, 3)


def test_as_many_maps_as_fit() -> None:
    series = layer_series.of_layer([maps_tag(range(10))], ())
    size = 3 * 6 + 12
    found = layer_series.maps("a", series, first=2, limit=4 * size)
    assert (found.steps, found.truncated_at) == ((2, 3, 4, 5), 6)
    found = layer_series.maps("a", series, first=6, limit=4 * size)
    assert (found.steps, found.truncated_at) == ((6, 7, 8, 9), None)
    found = layer_series.maps("a", series, first=2, last=4, limit=4 * size)
    assert (found.steps, found.truncated_at) == ((2, 3, 4), None)


def test_damaged_maps_are_counted() -> None:
    tag = maps_tag(range(3))
    other = schema.encode_maps("b", [1], np.zeros((1, 2, 3)), np.zeros((2, 3))).to_bytes()
    damaged = [b"", b"SPRS", tag.records[0].content[:-3], None, np.zeros(3), other]
    records = [*tag.records, *(Record(3 + n, 3 + n, c) for n, c in enumerate(damaged))]
    found = layer_series.maps(
        "a", layer_series.of_layer([Tag(tag.name, tag.metadata, records)], ())
    )
    assert found.steps == (0, 1, 2)
    assert found.warnings == ("left out: 6 damaged records of the maps of 'a'",)


def test_warnings_count_over_the_whole_run_whatever_is_asked_for() -> None:
    tag = maps_tag(range(5))
    records = [*tag.records[:2], Record(2, 2, b"damage"), *tag.records[3:], Record(5, 5, b"")]
    series = layer_series.of_layer([maps_tag([-1], (2, 2)), Tag(tag.name, b"", [])], ())
    series = layer_series.LayerSeries((*series.records, *records), ())
    everything = layer_series.maps("a", series)
    assert everything.steps == (0, 1, 3, 4)
    assert len(everything.warnings) == 2
    size = 3 * 6 + 12
    ranges: list[tuple[int | None, int]] = [(3, 9), (5, 9), (None, 2)]
    for first, limit in ranges:
        part = layer_series.maps("a", series, first=first, limit=limit * size)
        assert part.warnings == everything.warnings
    assert (part.steps, part.truncated_at) == ((0, 1), 3)


def test_no_maps_at_all() -> None:
    found = layer_series.maps("a", layer_series.of_layer([], ()))
    assert found.codes.shape == (0, 0, 0, 0)
    assert found.warnings == ()


def test_correlation_histograms() -> None:
    metadata = schema.encode_metadata(layer="a")
    good = np.arange(201)
    damaged = [good[:-1], -good, good.astype(float), b"", None]
    contents = [good, *damaged, good * 10**9]
    records = [Record(step, step, content) for step, content in enumerate(contents)]
    series = layer_series.of_layer([Tag("sparsity/correlation/x", metadata, records)], ())
    found = layer_series.correlations("a", series, first=None, last=None, limit=10**6)
    assert found.steps == (0, 6)
    assert found.counts[0].tolist() == good.tolist()
    assert found.counts[1].max() == 2**31 - 1
    assert found.warnings == ("left out: 5 damaged records of the filter correlations of 'a'",)
    whole = found.warnings
    found = layer_series.correlations("a", series, first=None, last=None, limit=1000)
    assert (found.steps, found.truncated_at) == ((0,), 6)
    newer = layer_series.correlations("a", series, first=6, last=None, limit=10**6)
    assert (newer.steps, newer.warnings) == ((6,), whole)


# -- probes ---------------------------------------------------------------------------------------


def test_the_newest_probe_set() -> None:
    first, second = (schema.ShownProbes(digest, 5, (0,)).to_bytes() for digest in ("one", "two"))
    tags = [
        Tag("sparsity/probes/b", b"", [Record(5, 9.0, second), Record(6, 10.0, b"damage")]),
        Tag("sparsity/probes/a", b"", [Record(-1, 1.0, first)]),
    ]
    found = probes.newest(tags)
    assert found.shown is not None
    assert found.shown.digest == "two"
    assert len(found.warnings) == 2
    assert probes.newest([]).shown is None

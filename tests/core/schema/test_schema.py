"""What is written can be read again, and what is damaged raises SchemaError, soon and small."""

from __future__ import annotations

import dataclasses
import json
import struct
import time
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from sparsight import schema
from sparsight.errors import SchemaError
from sparsight.schema import Column, EncodedMaps, LayerInfo, ShownProbes

names = st.text(max_size=40)
layer_infos = st.builds(
    LayerInfo,
    name=names,
    operator=names,
    channels=st.integers(1, 2**20),
    map_shape=st.lists(st.integers(1, 999), max_size=3).map(tuple),
    channel_axis=st.integers(-3, 3),
    tapped_at=names,
    batch_norm_folded=st.sampled_from([None, True, False]),
)


# -- tags and metadata ----------------------------------------------------------------------------


@given(st.lists(layer_infos, max_size=5), st.lists(st.builds(Column, names, names, names)))
def test_layers_and_columns_come_back(layers: list[LayerInfo], columns: list[Column]) -> None:
    content = schema.encode_layers(layers, columns)
    assert schema.decode_layers(content) == (tuple(layers), tuple(columns))


@given(names)
def test_other_metadata_comes_back(name: str) -> None:
    content = schema.encode_metadata(layer=name, shape=[2, 3])
    assert schema.decode_metadata(content) == {"version": 1, "layer": name, "shape": [2, 3]}


def test_tags_tell_their_kind_and_differ_by_metadata() -> None:
    one, other = (schema.encode_metadata(layer=layer) for layer in ("a", "b"))
    for kind in schema.PLUGIN_OF:
        assert schema.kind_of(schema.tag_of(kind, one)) == kind
        assert schema.tag_of(kind, one) != schema.tag_of(kind, other)
        assert schema.tag_of(kind, one) == schema.tag_of(kind, bytes(one))
    for tag in (
        "sparsity",
        "sparsity/",
        "loss",
        "x/maps/1",
        "sparsity/other/1",
        "",
        "sparsity/maps",
    ):
        assert schema.kind_of(tag) is None
    assert schema.kind_of(schema.GLOBAL_STEP_TAG) is None


def test_a_tag_stays_what_it_is_in_runs_already_recorded() -> None:
    assert schema.tag_of("maps", b"{}") == "sparsity/maps/44136fa355b3678a"


def test_columns_have_names_of_their_own() -> None:
    assert len({column.name for column in schema.COLUMNS}) == len(schema.COLUMNS)


GOOD_LAYER = {
    "name": "a",
    "operator": "Conv",
    "channels": 3,
    "map_shape": [1, 1],
    "channel_axis": 1,
    "tapped_at": "linear output",
    "batch_norm_folded": None,
}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b"null",
        b"\xff\xfe",
        b'{"version": 1}',
        b'{"version": 1, "layers": 3, "columns": []}',
        b'{"version": 1, "layers": ["a"], "columns": []}',
        b'{"version": 1, "layers": [], "columns": [{"name": "a"}]}',
        b"[" * 100_000,
        b'{"version": ' + b"9" * 9999 + b"}",
        *(
            json.dumps({"version": 1, "layers": [{**GOOD_LAYER, **wrong}], "columns": []}).encode()
            for wrong in (
                *({"name": 3}, {"channels": None}, {"channels": float("inf")}, {"map_shape": 5}),
                *({"channels": float("nan")}, {"map_shape": ["x"]}, {"tapped_at": None}),
            )
        ),
    ],
)
def test_metadata_that_is_not_ours(content: bytes) -> None:
    with pytest.raises(SchemaError):
        schema.decode_layers(content)


@pytest.mark.parametrize("version", [0, 2, "1", None, [1]])
def test_unknown_versions_say_what_to_do(version: object) -> None:
    content = json.dumps({"version": version, "layers": [], "columns": []}).encode()
    with pytest.raises(SchemaError, match="this Sparsight reads version 1: upgrade sparsight"):
        schema.decode_layers(content)


# -- maps -----------------------------------------------------------------------------------------

entropies = array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=9).flatmap(
    lambda shape: arrays(
        np.float32,
        shape,
        elements=st.one_of(st.floats(0, 12, width=32), st.sampled_from([np.nan])),
    )
)


@given(entropies, names)
def test_maps_come_back_within_half_a_level(stacked: np.ndarray, layer: str) -> None:
    maps, mean_map = stacked[:-1], stacked[-1]
    ids = range(10, 10 + len(maps))
    encoded = schema.encode_maps(layer, ids, maps, mean_map)
    decoded = schema.decode_maps(encoded.to_bytes())
    assert (decoded.layer, decoded.probe_ids, decoded.left_out) == (layer, tuple(ids), 0)
    assert decoded.pooled_from is None
    values = decoded.values()
    assert values.dtype == np.float32
    np.testing.assert_array_equal(np.isnan(values), np.isnan(stacked))
    assert np.nanmax(np.abs(values - stacked), initial=0) <= (decoded.hi - decoded.lo) / 508 + 1e-5
    if np.isfinite(stacked).any():
        assert (decoded.lo, decoded.hi) == (np.nanmin(stacked), np.nanmax(stacked))


def test_infinity_counts_as_nan() -> None:
    stacked = np.array([[1, np.inf], [-np.inf, 2]], np.float32)
    values = schema.encode_maps("a", [0], stacked[:1], stacked[1]).values()
    np.testing.assert_array_equal(values, [[1, np.nan], [np.nan, 2]])


@pytest.mark.parametrize("side", [65, 100, 128, 129, 1000])
def test_large_maps_are_mean_pooled(side: int) -> None:
    maps = np.random.default_rng(0).random((1, side, 2)).astype(np.float32)
    maps[0, 3, 1] = np.nan
    encoded = schema.encode_maps("a", [0], maps, maps[0])
    assert encoded.pooled_from == (side, 2)
    width = -(-side // 64)
    assert encoded.codes.shape == (2, -(-side // width), 2)
    for row, values in enumerate(encoded.values()[0]):
        window = maps[0, row * width : (row + 1) * width]
        np.testing.assert_allclose(values, window.mean(axis=0), atol=1 / 254)
    assert np.isnan(encoded.values()).sum() == 2


def test_the_byte_budget_is_kept_by_showing_fewer_probes() -> None:
    maps = np.zeros((20, 64, 64), np.float32)
    encoded = schema.encode_maps("a", range(20), maps, maps[0])
    assert encoded.codes.nbytes <= schema.MAP_BYTES
    assert (encoded.probe_ids, encoded.left_out) == (tuple(range(15)), 5)
    assert schema.decode_maps(encoded.to_bytes()).left_out == 5
    assert schema.encode_maps("a", range(20), maps[:, :1], maps[0, :1]).left_out == 0


def test_the_budget_is_64_kib_to_the_byte() -> None:
    """Whatever the number of probes: only sides of maps are pooled."""
    encoded = schema.encode_maps("a", range(65_600), np.zeros((65_600, 1)), np.zeros(1))
    assert encoded.codes.nbytes == 64 * 1024
    assert (len(encoded.probe_ids), encoded.left_out) == (65_535, 65)
    assert encoded.pooled_from is None
    assert EncodedMaps("a", (), 0, 1, encoded.codes[:1]).left_out == 0


def test_one_probe_is_always_shown() -> None:
    maps = np.zeros((3, 64, 64, 64), np.float32)
    assert schema.encode_maps("a", range(3), maps, maps[0]).probe_ids == (0,)


def test_nothing_but_nan_and_maps_of_no_position() -> None:
    for shape in ((2, 3), (0,)):
        maps = np.full((2, *shape), np.nan, np.float32)
        encoded = schema.encode_maps("a", [5], maps[:1], maps[0])
        assert (encoded.lo, encoded.hi, encoded.probe_ids) == (0, 0, (5,))
        np.testing.assert_array_equal(schema.decode_maps(encoded.to_bytes()).values(), maps)


def test_no_probe_and_no_range() -> None:
    mean = np.full((2, 2), 1.5, np.float32)
    encoded = schema.encode_maps("a", [], np.zeros((0, 2, 2), np.float32), mean)
    assert encoded.codes.shape == (1, 2, 2)
    assert (encoded.values() == 1.5).all()


# -- probes ---------------------------------------------------------------------------------------


@given(
    st.lists(st.tuples(st.integers(0, 10**6), st.binary(max_size=30)), max_size=5),
    st.sampled_from(["image", "series", "none"]),
    names,
)
def test_probes_come_back(shown: list[tuple[int, bytes]], kind: Any, digest: str) -> None:
    probes = ShownProbes(digest, 7, tuple(i for i, _ in shown), kind, tuple(b for _, b in shown))
    assert schema.decode_probes(probes.to_bytes()) == probes


def test_digests_tell_probe_sets_apart() -> None:
    base = np.arange(12, dtype=np.float32).reshape(3, 4)
    different = [
        [base],
        [base.astype(np.float64)],
        [base.reshape(4, 3)],
        [base + 1],
        [base[::-1]],
        [base, base],
        [base.T],
    ]
    assert len({schema.probe_digest(probes) for probes in different}) == len(different)
    assert schema.probe_digest([base.T]) == schema.probe_digest([np.ascontiguousarray(base.T)])
    assert schema.probe_digest([np.array(3.0)]) != schema.probe_digest([np.array([3.0])])


def test_what_is_read_cannot_be_changed() -> None:
    layer = LayerInfo("conv1", "Conv", 8, (2, 2), 1, "linear output")
    maps = schema.encode_maps("a", [], np.zeros((0, 2)), np.zeros(2))
    for value in (layer, schema.COLUMNS[0], maps, ShownProbes("d", 0, ())):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(value, dataclasses.fields(value)[0].name, "other")


# -- damage ---------------------------------------------------------------------------------------

MAPS = schema.encode_maps("conv1", [3, 4], np.ones((2, 3, 5)), np.arange(15.0).reshape(3, 5))
RECORDS: dict[str, tuple[bytes, Callable[[bytes], object]]] = {
    "maps": (MAPS.to_bytes(), schema.decode_maps),
    "probes": (
        ShownProbes("d", 9, (1, 2), "image", (b"one", b"2")).to_bytes(),
        schema.decode_probes,
    ),
}


@contextmanager
def little(seconds: float = 2, megabytes: float = 40) -> Iterator[None]:
    """Fails where what is inside takes long or much memory."""
    tracemalloc.start()
    start = time.process_time()  # what others do on the machine does not count
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert time.process_time() - start < seconds
    assert peak < megabytes * 2**20


@pytest.mark.parametrize("kind", RECORDS)
def test_a_record_that_was_cut_short(kind: str) -> None:
    record, decode = RECORDS[kind]
    for length in range(len(record)):
        with pytest.raises(SchemaError):
            decode(record[:length])
    with pytest.raises(SchemaError):
        decode(record + b"x")


@pytest.mark.parametrize("kind", RECORDS)
def test_a_byte_that_was_changed(kind: str) -> None:
    record, decode = RECORDS[kind]
    (length,) = struct.unpack_from("<I", record, 4)
    silent = 0
    for position in range(len(record)):
        for flip in (1, 0x80, 0xFF):
            changed = bytearray(record)
            changed[position] ^= flip
            try:
                decoded: Any = decode(bytes(changed))
            except SchemaError:
                continue
            assert position >= 8
            if decoded.to_bytes() != record:  # else it was one of the compressor's spare bits
                assert position < 8 + length  # a number or a name in the header, say
                silent += 1
    assert silent < length * 3 / 2


@settings(max_examples=300)
@given(st.binary(max_size=200), st.sampled_from(sorted(RECORDS)))
def test_garbage(content: bytes, kind: str) -> None:
    record, decode = RECORDS[kind]
    for damaged in (content, record[:8] + content, record[:4] + content, content + record):
        if damaged != record:
            with pytest.raises(SchemaError):
                decode(damaged)


def packed(header: dict[str, Any] | bytes, body: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return b"SPRS" + struct.pack("<I", len(text) if length is None else length) + text + body


def header(**changes: Any) -> dict[str, Any]:
    fields = {
        "version": 1,
        "codec": "zlib-uint8",
        "layer": "a",
        "probe_ids": [],
        "lo": 0,
        "hi": 1,
        "shape": [1, 4],
        "pooled_from": None,
        "left_out": 0,
        "size": 4,
    }
    return {**fields, **changes}


BODY = zlib.compress(bytes(4))
BOMB = zlib.compress(bytes(2**28), 9)


def test_the_good_one_of_the_following() -> None:
    assert isinstance(schema.decode_maps(packed(header(), BODY)), EncodedMaps)


@pytest.mark.parametrize(
    "record",
    [
        packed(header(size=2**40), BODY),
        packed(header(size=2**40, shape=[1, 2**20, 2**20]), BODY),
        packed(header(shape=[1, 2**62, 2**62]), BODY),
        packed(header(shape=[10**30]), BODY),
        packed(header(size=-1), BODY),
        packed(header(size=-1), BOMB),
        packed(header(size=0, shape=[0]), BOMB),
        packed(header(size=4.0), BODY),
        packed(header(size=3), BODY),
        packed(header(size=5), BODY),
        packed(header(), BODY, length=2**32 - 1),
        packed(b" " * 2**21 + json.dumps(header()).encode(), BODY),
        packed(b"[" * 100_000, BODY),
        packed(header(version=2), BODY),
        packed(header(codec="lzma"), BODY),
        packed(header(codec="zstd"), BODY),
        packed(header(layer=None), BODY),
        packed(header(shape=[1, -4]), BODY),
        packed(header(shape=[2, 2]), BODY),
        packed(header(shape=[]), BODY),
        packed(header(shape="14"), BODY),
        packed(header(probe_ids=[1]), BODY),
        packed(header(probe_ids=None), BODY),
        packed(header(probe_ids=[float("inf")]), BODY),
        packed(header(lo=float("nan")), BODY),
        packed(header(hi=float("inf")), BODY),
        packed(header(hi=1e39), BODY),
        packed(header(lo=2), BODY),
        packed(header(lo="x"), BODY),
        packed(header(pooled_from=3), BODY),
        packed(header(left_out=float("inf")), BODY),
        packed(header(), b""),
        packed(header(), b"no zlib"),
        packed(header(), BODY + BODY),
        packed(header(), BOMB),
    ],
)
def test_headers_that_lie(record: bytes) -> None:
    with little(), pytest.raises(SchemaError) as caught:
        schema.decode_maps(record)
    assert len(str(caught.value)) < 300


def test_the_widest_range_is_that_of_float32() -> None:
    widest = float(np.finfo(np.float32).max)
    record = packed(header(lo=-widest, hi=widest), BODY)
    decoded = schema.decode_maps(record)
    assert (decoded.lo, decoded.hi) == (-widest, widest)


@pytest.mark.parametrize(("beyond", "sentence"), [(0, None), (1, "declares")])
def test_the_largest_records_that_are_read(beyond: int, sentence: str | None) -> None:
    """A header of 1 MiB, and a body of 16 MiB."""
    size = 16 * 2**20
    long = json.dumps(header()).encode().ljust(2**20 + beyond)
    large = header(size=size + beyond, shape=[1, size + beyond])
    for record in (packed(long, BODY), packed(large, zlib.compress(bytes(size + beyond)))):
        if sentence is None:
            assert not schema.decode_maps(record).codes.any()
        else:
            with pytest.raises(SchemaError, match=sentence):
                schema.decode_maps(record)


def test_what_other_readers_of_json_refuse_is_never_written() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        schema.encode_metadata(scale=float("nan"))


@pytest.mark.parametrize(
    "changes",
    [
        {"lengths": [5]},
        {"lengths": [3]},
        {"lengths": [-1, 5]},
        {"lengths": [float("inf")]},
        {"kind": "video"},
        {"digest": 3},
        {"count": None},
        {"count": float("inf")},
        {"indices": 3},
        {"size": 2**40},
    ],
)
def test_probe_headers_that_lie(changes: dict[str, Any]) -> None:
    fields: dict[str, Any] = {"version": 1, "digest": "d", "count": 3, "indices": [0], "size": 4}
    fields |= {"kind": "image", "lengths": [4]}
    assert schema.decode_probes(packed(fields, BODY)).items == (bytes(4),)
    with little(), pytest.raises(SchemaError):
        schema.decode_probes(packed({**fields, **changes}, BODY))


# -- steps ----------------------------------------------------------------------------------------


@given(st.lists(st.integers(-1, 20)))
def test_surviving_steps_are_what_a_replaying_reader_keeps(steps: list[int]) -> None:
    kept: dict[int, int] = {}
    for position, step in enumerate(steps):
        kept = {known: at for known, at in kept.items() if known < step}
        kept[step] = position
    assert schema.surviving(steps) == list(kept.values())


def test_an_earlier_step_replaces_what_came_after_it() -> None:
    assert schema.surviving([-1, 0, 1, 2, 3, 1, 2]) == [0, 1, 5, 6]
    assert schema.surviving([]) == []


@given(st.lists(st.tuples(st.integers(-1, 9), st.booleans()), max_size=12))
def test_records_of_one_layer_count_as_the_tables_do(arrived: list[tuple[int, bool]]) -> None:
    run = [(step, float(at)) for at, (step, _) in enumerate(arrived)]
    counting = {run[at] for at in schema.surviving([step for step, _ in run])}
    own = [event for event, (_, measured) in zip(run, arrived, strict=True) if measured]
    assert [own[at] for at in schema.counting(own, run)] == [e for e in own if e in counting]
    assert schema.counting(own) == schema.surviving([step for step, _ in own])


def test_a_clock_that_was_set_back_loses_no_record() -> None:
    """It is steps that go back where a run was resumed."""
    assert schema.counting([(5, 100.0), (6, 50.0), (7, 60.0)]) == [0, 1, 2]
    assert schema.counting([(5, 100.0), (6, 110.0), (5, 120.0)]) == [2]

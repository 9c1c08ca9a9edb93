from __future__ import annotations

import json

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from tests.tb_plugin.boards import decode_frame

from sparsight import schema
from sparsight_tensorboard import layer_series, payloads, tables
from sparsight_tensorboard.probes import Probes
from sparsight_tensorboard.records import Record, Tag
from sparsight_tensorboard.store import RunSummary

DTYPES = st.sampled_from([np.float32, np.float64, np.int32, np.uint8])


@given(
    st.dictionaries(
        st.text(max_size=9),
        DTYPES.flatmap(lambda dtype: arrays.arrays(dtype, arrays.array_shapes(min_side=0))),
        max_size=4,
    ),
    st.text(),
)
def test_frames_can_be_read_again(contents: dict[str, np.ndarray], text: str) -> None:
    header, decoded = decode_frame(payloads.frame({"run": text}, contents))
    assert header["run"] == text
    assert list(decoded) == list(contents)
    for name, array in contents.items():
        assert decoded[name].dtype == array.dtype
        np.testing.assert_array_equal(decoded[name], array)


def shown(kind: str, *items: bytes, indices: tuple[int, ...] = ()) -> Probes:
    indices = indices or tuple(range(len(items)))
    return Probes(schema.ShownProbes("d", 9, indices, kind, items), ())  # type: ignore[arg-type]


def test_pictures_must_be_pictures() -> None:
    answer = payloads.probes("r", shown("image", b"\x89PNG\r\n\x1a\nrest", b"<svg onload=x>"))
    assert (answer["kind"], answer["items"]) == ("none", [])
    assert answer["warnings"] == ["the shown probes are left out: their record is damaged"]


def test_series_hold_no_nan() -> None:
    item = np.array([1, np.nan, np.inf, -2], "<f4").tobytes()
    assert payloads.probes("r", shown("series", item))["items"] == [[1.0, None, None, -2.0]]
    assert payloads.probes("r", shown("series", b"abc"))["kind"] == "none"


def test_items_belong_to_indices() -> None:
    item = np.zeros(2, "<f4").tobytes()
    assert payloads.probes("r", shown("series", item, indices=(3, 4)))["kind"] == "none"
    assert payloads.probes("r", shown("series", item, indices=(3,)))["indices"] == [3]


def test_no_probes() -> None:
    answer = payloads.probes("r", Probes(None, ()))
    assert (answer["digest"], answer["kind"], answer["items"]) == (None, "none", [])


def test_probes_fit_into_an_answer() -> None:
    item = b"\x89PNG\r\n\x1a\n" + bytes(4_000_000)
    answer = payloads.probes("r", shown("image", item, item, item))
    assert len(json.dumps(answer)) <= payloads.MAX_ANSWER
    assert answer["indices"] == [0]
    assert answer["warnings"] == ["2 shown probes are left out: they are too large"]


def test_layers_fit_into_an_answer() -> None:
    layers = [schema.LayerInfo(f"l{n}", "Conv", 8, (2, 2), 1, "linear output") for n in range(999)]
    metadata = schema.encode_layers(layers)
    table = np.ones((len(layers), len(schema.COLUMNS)), np.float32)
    tag = Tag("sparsity/layers/x", metadata, [Record(s, s, table) for s in range(400)])
    merged = tables.merged([tag])
    seen: list[int] = []
    first: int | None = None
    for _ in range(9):
        body = payloads.layers("r", merged, first, None)
        assert len(body) <= payloads.MAX_ANSWER
        header, found = decode_frame(body)
        seen += found["steps"].tolist()
        first = header["truncated_at"]
        if first is None:
            break
    assert seen == list(range(400))


def test_an_index_of_too_many_runs() -> None:
    run = RunSummary("n" * 10_000, 1, 0, 0, 1, None, None, None, None, None, ("w" * 10_000,) * 50)
    answer = payloads.index("v", False, [run] * 1000)
    assert len(json.dumps(answer)) <= payloads.MAX_ANSWER
    assert 0 < len(answer["runs"]) < 1000
    assert answer["warnings"] == ["too many runs to list them all: point --logdir at fewer"]
    warnings = answer["runs"][0]["warnings"]
    assert len(warnings) == 41
    assert warnings[-1] == "and 10 more warnings"
    assert max(map(len, warnings)) < 500


def test_maps_and_histograms_fit_into_an_answer() -> None:
    layer = "\u202e" * 10_000
    maps = np.random.default_rng(0).random((15, 64, 64)).astype(np.float32)
    record = schema.encode_maps(layer, range(15), maps, maps[0]).to_bytes()
    metadata = schema.encode_metadata(layer=layer)
    steps = range(200)
    tag = Tag("sparsity/maps/x", metadata, [Record(s, s, record) for s in steps])
    series = layer_series.of_layer([tag], ())
    body = payloads.maps("r", layer, 8, series, None, None, None)
    assert 0.97 * payloads.MAX_ANSWER < len(body) <= payloads.MAX_ANSWER
    header, found = decode_frame(body)
    assert header["truncated_at"] == len(found["steps"])

    counts = np.arange(201)
    tag = Tag("sparsity/correlation/x", metadata, [Record(s, s, counts) for s in range(20_000)])
    series = layer_series.of_layer([tag], ())
    body = payloads.correlation("r", layer, series, None, None)
    assert len(body) <= payloads.MAX_ANSWER
    header, found = decode_frame(body)
    assert header["truncated_at"] == len(found["steps"]) > 12_000


def histograms(*events: tuple[int, float]) -> layer_series.LayerSeries:
    """The histograms of a layer that arrived at these steps and times."""
    records = [Record(step, time, np.arange(201)) for step, time in events]
    tag = Tag("sparsity/correlation/x", schema.encode_metadata(layer="fc"), records)
    return layer_series.of_layer([tag], ())


def marks(series: layer_series.LayerSeries, first: int | None) -> tuple[str, str]:
    """`since` and `until` of an answer."""
    header, _ = decode_frame(payloads.correlation("r", "fc", series, first, None))
    return header["since"], header["until"]


def test_an_answer_tells_whether_it_goes_on_from_an_earlier_one() -> None:
    past = [(step, 10.0 + step) for step in range(-1, 4)]
    _, until = marks(histograms(*past), None)
    assert marks(histograms(*past), 4) == (until, until)
    since, newer = marks(histograms(*past, (4, 20.0), (6, 21.0)), 4)
    assert since == until != newer
    whole = marks(histograms(*past, (4, 20.0), (6, 21.0)), None)
    assert whole == (marks(histograms(), None)[0], newer)
    resumed = histograms(*past, (2, 30.0), (3, 31.0), (4, 32.0))
    assert marks(resumed, 4)[0] != until
    late = histograms((-2, 5.0), *past, (4, 20.0))
    assert marks(late, 4)[0] != until


def test_an_answer_that_was_cut_ends_where_the_next_one_begins() -> None:
    def cut(*damaged: int) -> tuple[layer_series.LayerSeries, str, int]:
        contents = [np.arange(3 if step in damaged else 201) for step in range(20_000)]
        records = [Record(step, step, content) for step, content in enumerate(contents)]
        tag = Tag("sparsity/correlation/x", schema.encode_metadata(layer="fc"), records)
        series = layer_series.of_layer([tag], ())
        header, _ = decode_frame(payloads.correlation("r", "fc", series, None, None))
        return series, header["until"], header["truncated_at"]

    _, _, first = cut()
    series, until, next_one = cut(first)
    assert next_one == first + 1
    assert marks(series, next_one)[0] == until

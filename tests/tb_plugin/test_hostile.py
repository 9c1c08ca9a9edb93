"""Names and records made to do harm: the server stays up and says what is wrong."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.tb_plugin.boards import Board, network, serving, write_run
from tests.tb_plugin.damage import huge_tensor, map_header, maps_value, packed, raw
from tests.tensorboards import LOADERS

from sparsight import schema
from sparsight.measure.accumulator import LayerAccumulator
from sparsight.measure.batch import BatchStatistics
from sparsight.probes.probe_set import shown_probes
from sparsight.runs import events
from sparsight.runs.writer import RunWriter

NAMES = [
    "<img src=x onerror=alert(1)>",
    "<script>alert(1)<\\script>",
    "..%2f..%2fetc%2fpasswd",
    "a&b=c#d?e+f%20g",
    "\"quotes\" and 'others'",
    "new\nline\ttab",
    "ünïcödé 層 \u202eright to left",
    "x" * 250,
]
LAYERS = [*NAMES, "../../../etc/passwd", "</script><script>alert(1)</script>", "", "y" * 10_000]


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("hostile")
    write_run(root / "good", range(-1, 9), losses=True)
    for name in NAMES:
        write_run(root / name, range(3), losses=True)
    write_run(root / "names", range(3), dict.fromkeys(LAYERS, 4))
    write_run(root / "/".join(["deep" * 20] * 12), range(2))

    write_run(root / "plain", range(3))
    write_run(root / "cut", range(10))
    (path,) = (root / "cut").iterdir()
    path.write_bytes(path.read_bytes()[:-100])
    write_run(root / "flipped", range(10))
    (path,) = (root / "flipped").iterdir()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    (root / "garbage").mkdir()
    (root / "garbage" / "events.out.tfevents.1.x").write_bytes(np.random.default_rng(0).bytes(9999))
    (root / "empty").mkdir()
    (root / "empty" / "events.out.tfevents.1.x").touch()

    future = b'{"version": 99, "layer": "conv1"}'
    table = np.zeros((2, 2), np.float32)
    value = events.tensor_value("sparsity/layers/f", table, schema.LAYERS_PLUGIN, future)
    raw(root / "future", (0, [value]), (1, [value]))
    write_run(root / "mixed", range(3))
    raw(root / "mixed", (3, [value, maps_value("conv1", b"damage")]))

    write_run(root / "damaged maps", range(3), {"conv1": 8})
    bomb = zlib.compress(bytes(2**27), 9)
    liars = [
        packed(map_header(size=2**40, shape=[1, 2**20, 2**20]), bomb),
        packed(map_header(size=2**62), bomb),
        packed(map_header(), bomb),
        b"SPRS\xff\xff\xff\xff",
        b"",
    ]
    bad = [(3 + n, [maps_value("conv1", content)]) for n, content in enumerate(liars)]
    raw(root / "damaged maps", *bad, (9, [maps_value("conv1", np.zeros(3))]))

    metadata = schema.encode_metadata(layer="conv1", shape=[4, 6])
    write_run(root / "terabyte", range(3))
    tensor = huge_tensor(schema.tag_of("maps", metadata), schema.MAPS_PLUGIN, metadata)
    raw(root / "terabyte", (3, [tensor]))

    write_run(root / "timeless", range(3))
    with RunWriter(root / "timeless") as writer:
        (path,) = (root / "plain").iterdir()
        *_, event = events.read_events(path)
        for step in (3, 4):
            event.step, event.wall_time = step, math.nan
            writer.repeat(event)

    with RunWriter(root / "nan") as writer:
        for step in range(3):
            writer.write(step, [nothing_but_nan(name) for name in ("conv1", "fc1")])
    with RunWriter(root / "no layers") as writer:
        writer.write(0, [], global_step=3, scalars={"loss": math.nan})
    with RunWriter(root / "far") as writer:
        for step in (-(2**40), -1, 2**31, 2**62):
            writer.write(step, network(step % 1000, {"conv1": 4}))
    shown = [
        shown_probes([np.zeros((3, 5, 8, 8))], [0]),
        schema.ShownProbes("other", 10**30, (0,), "image", (b"<svg onload=alert(1)>",)),
    ]
    with RunWriter(root / "no pictures") as writer:
        for step, probes in enumerate(shown):
            writer.write(step, network(step, {"conv1": 4}), probes=probes)
    return root


def nothing_but_nan(name: str) -> Any:
    layer = schema.LayerInfo(name, "Conv", 4, (), 1, "linear output")
    accumulator = LayerAccumulator(layer, (0, 1))
    accumulator.update(BatchStatistics(np.full((3, 2, 2), np.nan, np.float32)), 0)
    return accumulator.result()


@pytest.fixture(scope="module", params=list(LOADERS))
def board(request: pytest.FixtureRequest, hostile: Path) -> Iterator[Board]:
    with serving(hostile, request.param) as started:
        started.wait_for(good=10, names=3, mixed=3, terabyte=3, nan=3, **{NAMES[-1]: 3})
        yield started


def warnings_of(board: Board, run: str) -> str:
    (found,) = (entry for entry in board.get("index").json()["runs"] if entry["run"] == run)
    return "\n".join(found["warnings"])


def test_no_question_about_any_run_is_too_much(board: Board) -> None:
    runs = [entry["run"] for entry in board.get("index").json()["runs"]]
    assert {*NAMES, "good", "names", "cut", "future", "nan", "far"} <= set(runs)
    for run in runs:
        header, _ = board.get("layers", run=run).frame()
        assert header["run"] == run
        assert board.get("probes", run=run).status == 200
        for tag in board.get("scalars", run=run).json()["tags"]:
            assert board.get("scalars", run=run, tag=tag).status == 200
        for layer in header["layers"]:
            for route in ("maps", "correlation"):
                reply = board.get(route, run=run, layer=layer["name"])
                if layer["name"]:
                    assert reply.frame()[0]["layer"] == layer["name"]
                assert reply.headers["X-Content-Type-Options"] == "nosniff"
                assert not reply.headers["Content-Type"].startswith("text/html")


@pytest.mark.parametrize("name", [*LAYERS, "z" * 20_000, "\0", "\ufffd"])
def test_hostile_questions_get_a_short_sentence(board: Board, name: str) -> None:
    for path, query in [
        ("layers", {"run": f"{name}!"}),
        ("maps", {"run": "good", "layer": f"{name}!"}),
        ("scalars", {"run": "good", "tag": f"{name}!"}),
        ("maps", {"run": "good", "layer": "conv1", "probe": f"{name}!"}),
        ("layers", {"run": "good", f"{name}!": "1"}),
        ("static/index.html!", {name: name}),
    ]:
        reply = board.get(path, **query)
        assert reply.status in (400, 404)
        assert reply.headers["Content-Type"] == "application/json"
        assert 10 < len(reply.json()["error"]) <= 1000


def test_layer_names_are_told_as_they_are(board: Board) -> None:
    header, arrays = board.get("layers", run="names").frame()
    assert [layer["name"] for layer in header["layers"]] == LAYERS
    assert np.isfinite(arrays["values"][:, :, 0]).all()


def test_what_was_written_before_the_damage_is_there(board: Board) -> None:
    steps = {run: board.get("layers", run=run).frame()[1]["steps"] for run in ("cut", "flipped")}
    assert steps["cut"].tolist() == list(range(9))
    if board.loader == "python":
        assert 0 < len(steps["flipped"]) < 10
    else:  # which does not look at the records' checksums
        assert steps["flipped"].tolist() == list(range(10))


def test_files_that_are_no_event_files_are_no_runs(board: Board) -> None:
    runs = [entry["run"] for entry in board.get("index").json()["runs"]]
    assert "garbage" not in runs
    assert "empty" not in runs


def test_unknown_versions(board: Board) -> None:
    (future,) = (r for r in board.get("index").json()["runs"] if r["run"] == "future")
    assert (future["steps"], future["layers"], future["first_step"]) == (0, 0, None)
    assert "schema version 99" in warnings_of(board, "future")
    assert "upgrade sparsight" in warnings_of(board, "mixed")
    header, arrays = board.get("layers", run="mixed").frame()
    assert arrays["steps"].tolist() == [0, 1, 2]
    assert len(header["layers"]) == 2


def test_records_that_lie_about_their_size(board: Board) -> None:
    header, arrays = board.get("maps", run="damaged maps", layer="conv1").frame()
    assert arrays["steps"].tolist() == [0, 1, 2]
    assert header["warnings"] == ["left out: 6 damaged records of the maps of 'conv1'"]


def test_a_tensor_that_says_it_is_a_terabyte(board: Board) -> None:
    header, _ = board.get("maps", run="terabyte", layer="conv1").frame()
    assert "TensorBoard cannot read it" in "".join(header["warnings"])
    _, arrays = board.get("maps", run="terabyte", layer="fc1").frame()
    assert arrays["steps"].tolist() == [0, 1, 2]


def test_nan_everywhere(board: Board) -> None:
    header, arrays = board.get("layers", run="nan").frame()
    columns = [column["name"] for column in header["columns"]]
    assert np.isnan(arrays["values"][:, :, columns.index("entropy")]).all()
    assert (arrays["values"][:, :, columns.index("nan_share")] == 1).all()
    _, arrays = board.get("maps", run="nan", layer="conv1").frame()
    assert (arrays["codes"] == 255).all()
    assert np.isfinite(arrays["lo"]).all()


def test_wall_times_that_are_no_numbers(board: Board) -> None:
    _, arrays = board.get("layers", run="timeless").frame()
    kept = 3 if board.loader == "rust" else 5  # the Rust loader drops such events
    assert arrays["steps"].tolist() == list(range(kept))
    assert np.isfinite(arrays["wall_times"]).all()
    _, arrays = board.get("maps", run="timeless", layer="conv1").frame()
    assert arrays["steps"].tolist() == list(range(kept))


def test_a_run_of_no_layers(board: Board) -> None:
    header, arrays = board.get("layers", run="no layers").frame()
    assert (header["layers"], arrays["values"].shape) == ([], (0, 0, 0))
    curve = board.get("scalars", run="no layers", tag="loss").json()
    assert (curve["values"], curve["onset"]) == ([None], None)


def test_steps_that_are_no_epochs(board: Board) -> None:
    _, arrays = board.get("layers", run="far").frame()
    assert arrays["steps"].tolist() == [-1]
    assert "that are too large to be epochs are left out" in warnings_of(board, "far")


def test_probes_that_are_no_pictures(board: Board) -> None:
    probes = board.get("probes", run="no pictures").json()
    assert (probes["kind"], probes["items"]) == ("none", [])
    assert "the probe set changed during the run" in "".join(probes["warnings"])

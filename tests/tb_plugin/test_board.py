"""The plugin in a real TensorBoard, with each of its two loaders."""

from __future__ import annotations

import contextlib
import gzip
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.tb_plugin.boards import PROVIDERS, Board, loss_at, measure, network, serving, write_run
from torch.utils.tensorboard import SummaryWriter

import sparsight_tensorboard
from sparsight import schema
from sparsight.runs.writer import RunWriter
from sparsight_tensorboard.plugin import ROUTES


def test_the_right_loader_answers(board: Board) -> None:
    debug = board.get("/data/environment").json()["debug"]
    assert debug["data_provider"].startswith(PROVIDERS[board.loader])


def test_the_tab_is_there(board: Board) -> None:
    listing = board.get("/data/plugins_listing").json()["sparsity"]
    assert listing["enabled"]
    assert listing["tab_name"] == "Sparsity"
    module = listing["loading_mechanism"]["module_path"]
    assert listing["loading_mechanism"]["type"] == "IFRAME"
    assert b"render" in board.get(module).body


def test_no_epoch_is_lost(board: Board) -> None:
    _, arrays = board.get("layers", run="plain").frame()
    assert arrays["steps"].tolist() == list(range(-1, 299))
    assert arrays["global_steps"].tolist() == [100 * (step + 1) for step in range(-1, 299)]
    assert (np.diff(arrays["wall_times"]) == 10).all()
    for layer in ("conv1", "fc1"):
        for route in ("maps", "correlation"):
            _, arrays = board.get(route, run="plain", layer=layer).frame()
            assert arrays["steps"].tolist() == list(range(-1, 299))


@pytest.mark.parametrize("run", ["resumed", "twice", "attached"])
def test_a_resumed_run_is_one_line(board: Board, run: str) -> None:
    header, arrays = board.get("layers", run=run).frame()
    assert arrays["steps"].tolist() == list(range(-1, 30))
    expected = [measure("conv1", 8, step).statistics["entropy"] for step in range(-1, 30)]
    np.testing.assert_array_equal(arrays["values"][:, 0, 0], np.float32(expected))
    _, maps = board.get("maps", run=run, layer="conv1").frame()
    assert maps["steps"].tolist() == list(range(-1, 30))
    if board.loader == "python":  # Rust has dropped them itself, and does not tell
        assert header["warnings"] == ["8 records were dropped: the run resumed at step 12"]


def test_values_are_those_that_were_written(board: Board) -> None:
    header, arrays = board.get("layers", run="plain").frame()
    assert [layer["name"] for layer in header["layers"]] == ["conv1", "fc1"]
    assert header["layers"][0] == {
        "name": "conv1",
        "operator": "Conv2d",
        "channels": 8,
        "map_shape": [4, 6],
        "channel_axis": 1,
        "tapped_at": "linear output",
        "batch_norm_folded": None,
    }
    assert [column["name"] for column in header["columns"]] == [c.name for c in schema.COLUMNS]
    measured = measure("fc1", 16, 41)
    row = [measured.statistics[column.name] for column in schema.COLUMNS]
    np.testing.assert_array_equal(arrays["values"][42, 1], np.float32(row))

    header, arrays = board.get("maps", run="plain", layer="fc1", from_=41, to=41).frame()
    assert header["probes"] == [0, 1, 2, "mean"]
    lo, hi = arrays["lo"][0], arrays["hi"][0]
    decoded = lo + (hi - lo) / 254 * arrays["codes"][0].astype(np.float32)
    assert np.abs(decoded[:3] - measured.maps).max() <= (hi - lo) / 508 + 1e-6
    assert np.abs(decoded[3] - measured.mean_map).max() <= (hi - lo) / 508 + 1e-6

    _, arrays = board.get("correlation", run="plain", layer="fc1", from_=41, to=41).frame()
    assert measured.correlation is not None
    np.testing.assert_array_equal(arrays["counts"], [measured.correlation.counts])


def test_layers_that_come_and_go(board: Board) -> None:
    header, arrays = board.get("layers", run="changed").frame()
    assert [layer["name"] for layer in header["layers"]] == ["conv1", "gone", "fc1", "new"]
    assert arrays["steps"].tolist() == list(range(-1, 12))
    there = np.isfinite(arrays["values"][:, :, 0])
    assert there[:, 0].all()
    assert there[:, 2].all()
    assert there[:, 1].tolist() == [step < 5 for step in range(-1, 12)]
    assert there[:, 3].tolist() == [step >= 5 for step in range(-1, 12)]
    # The run went back to step 5: what the vanished layer had recorded after it does not count.
    for route in ("maps", "correlation"):
        _, arrays = board.get(route, run="changed", layer="gone").frame()
        assert arrays["steps"].tolist() == list(range(-1, 5))


def test_index(board: Board) -> None:
    index = board.get("index").json()
    assert [run["run"] for run in index["runs"]] == [
        *("attached", "changed", "plain", "resumed", "twice"),
    ]
    assert index["warnings"] == []
    plain = index["runs"][2]
    assert (plain["steps"], plain["first_step"], plain["last_step"]) == (300, -1, 298)
    assert (plain["layers"], plain["loss_tag"]) == (2, "loss/validation")
    assert plain["onset"] == 10
    assert plain["probe_count"] == 5


def test_the_version_is_that_of_the_index(board: Board) -> None:
    def version(path: str) -> str:
        return str(board.get(path).json()["version"])

    # It changes once more, when nothing has arrived for a while.
    board.wait_until(lambda: version("index") == version("version") == version("index"))


def test_probes(board: Board) -> None:
    probes = board.get("probes", run="plain").json()
    assert probes["kind"] == "image"
    assert probes["indices"] == [0, 1, 2]
    assert len(probes["items"]) == 3
    assert all(item.startswith("data:image/png;base64,iVBORw0KGgo") for item in probes["items"])
    assert probes["digest"] == board.get("index").json()["runs"][2]["probe_digest"]


def test_scalars(board: Board) -> None:
    assert board.get("scalars", run="plain").json() == {
        "run": "plain",
        "tags": ["loss/validation"],
        "guess": "loss/validation",
    }
    curve = board.get("scalars", run="plain", tag="loss/validation", sigma=0).json()
    assert curve["aligned_by"] == "step"
    assert curve["epochs"] == curve["steps"] == list(range(-1, 299))
    np.testing.assert_allclose(curve["values"], [loss_at(step) for step in range(-1, 299)])
    assert curve["smoothed"] == curve["values"]
    assert curve["onset"] == {"epoch": 10, "loss": 1.0, "first": 10, "last": 10}
    curve = board.get("scalars", run="plain", tag="loss/validation").json()
    assert curve["sigma"] == 2
    assert curve["onset"]["epoch"] == 10
    assert curve["onset"]["loss"] > 1.1


def test_onsets_follow_the_smoothing(board: Board) -> None:
    for sigma in (0, 2, 5):
        found = board.get("onsets", sigma=sigma).json()
        curve = board.get("scalars", run="plain", tag="loss/validation", sigma=sigma).json()
        assert found["onsets"]["plain"] == curve["onset"]
    assert found["sigma"] == 5
    entries = {entry["run"]: entry for entry in board.get("index").json()["runs"]}
    default = board.get("onsets").json()["onsets"]
    assert {run: entry["onset"] for run, entry in entries.items() if entry["onset"]} == {
        run: turn["epoch"] for run, turn in default.items()
    }
    turn = default["plain"]
    assert entries["plain"]["onset_interval"] == [turn["first"], turn["last"]]


def test_a_run_without_losses_borrows_those_of_another(board: Board) -> None:
    index = board.get("index").json()
    assert "plain" in index["lenders"]
    (poor, *_) = [entry["run"] for entry in index["runs"] if entry["loss_tag"] is None]
    assert poor not in board.get("onsets").json()["onsets"]
    own = board.get("scalars", run="plain", tag="loss/validation").json()
    lent = board.get("scalars", run=poor, tag="loss/validation", lender="plain").json()
    assert lent == {**own, "run": poor}
    assert board.get("onsets", lender="plain").json()["onsets"][poor] == own["onset"]
    tags = board.get("scalars", run=poor, lender="plain").json()
    assert tags == {"run": poor, "tags": ["loss/validation"], "guess": "loss/validation"}


def test_one_probe(board: Board) -> None:
    everything = board.get("maps", run="plain", layer="conv1").frame()[1]["codes"]
    for at, probe in enumerate((0, 1, 2, "mean")):
        header, arrays = board.get("maps", run="plain", layer="conv1", probe=probe).frame()
        assert header["probes"] == [probe]
        np.testing.assert_array_equal(arrays["codes"][:, 0], everything[:, at])


QUERIES = {
    "index": {},
    "version": {},
    "probes": {"run": "plain"},
    "scalars": {"run": "plain", "tag": "loss/validation"},
    "onsets": {"sigma": "3"},
    "layers": {"run": "plain"},
    "maps": {"run": "plain", "layer": "conv1"},
    "correlation": {"run": "plain", "layer": "conv1"},
    "static/index.html": {},
    "static/index.js": {},
    "static/index.css": {},
}


@pytest.mark.parametrize("path", QUERIES)
def test_an_etag_saves_the_second_answer(board: Board, path: str) -> None:
    query = QUERIES[path]
    first = board.get(path, **query)
    assert first.status == 200
    again = board.get(path, headers={"If-None-Match": first.headers["ETag"]}, **query)
    assert (again.status, again.body) == (304, b"")
    other = board.get(path, headers={"If-None-Match": 'W/"another"'}, **query)
    assert (other.status, other.body) == (200, first.body)


@pytest.mark.parametrize("path", QUERIES)
def test_answers_are_compressed_for_who_takes_it(board: Board, path: str) -> None:
    plain = board.get(path, **QUERIES[path])
    packed = board.get(path, headers={"Accept-Encoding": "gzip"}, **QUERIES[path])
    assert "Content-Encoding" not in plain.headers
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.body) == plain.body
    refused = board.get(path, headers={"Accept-Encoding": "gzip;q=0, br"}, **QUERIES[path])
    assert "Content-Encoding" not in refused.headers


def test_different_questions_have_different_etags(board: Board) -> None:
    tags = {
        board.get("maps", run="plain", layer=layer, **more).headers["ETag"]
        for layer in ("conv1", "fc1")
        for more in ({}, {"probe": 1}, {"from_": 3}, {"to": 3})
    }
    assert len(tags) == 8


SLIPS = [
    ("layers", {}, 400, "missing parameter 'run'"),
    ("maps", {"run": "plain"}, 400, "missing parameter 'layer'"),
    ("layers", {"run": ""}, 400, "missing parameter 'run'"),
    ("layers", {"run": "plain", "form": 3}, 400, "unknown parameter 'form'; did you mean 'from'?"),
    ("index", {"run": "plain"}, 400, "unknown parameter 'run'"),
    (
        "maps",
        {"run": "plain", "layer": "fc1", "from": "x"},
        400,
        "from='x': expected a whole number",
    ),
    (
        "maps",
        {"run": "plain", "layer": "fc1", "to": "1.5"},
        400,
        "to='1.5': expected a whole number",
    ),
    ("maps", {"run": "plain", "layer": "fc1", "to": 10**30}, 400, "expected a whole number"),
    ("maps", {"run": "plain", "layer": "fc1", "probe": "all"}, 400, "whole number or mean"),
    (
        "scalars",
        {"run": "plain", "tag": "t", "sigma": "-1"},
        400,
        "sigma='-1': expected a number of epochs",
    ),
    ("scalars", {"run": "plain", "tag": "t", "sigma": "nan"}, 400, "sigma='nan'"),
    ("onsets", {"lender": "plane"}, 404, "no run 'plane' has scalars to lend"),
    ("scalars", {"run": "plain", "lender": "plane"}, 404, "did you mean 'plain'"),
    ("layers", {"run": "plane"}, 404, "no run 'plane'"),
    ("layers", {"run": "plane"}, 404, "did you mean 'plain'"),
    ("probes", {"run": "plane"}, 404, "did you mean 'plain'"),
    ("scalars", {"run": "plane"}, 404, "did you mean 'plain'"),
    ("maps", {"run": "plain", "layer": "conv"}, 404, "no layer 'conv'; did you mean 'conv1'?"),
    ("correlation", {"run": "plain", "layer": "x"}, 404, "there are: conv1, fc1"),
    ("maps", {"run": "plain", "layer": "fc1", "probe": 3}, 404, "no maps of probe 3 are recorded"),
    ("scalars", {"run": "plain", "tag": "loss/val"}, 404, "did you mean 'loss/validation'?"),
    ("static/other.js", {}, 404, "the page has no file 'other.js'"),
    ("static/../plugin.py", {}, 404, "the page has no file"),
]


@pytest.mark.parametrize(("path", "query", "status", "sentence"), SLIPS)
def test_slips_get_a_sentence(
    board: Board, path: str, query: dict[str, Any], status: int, sentence: str
) -> None:
    reply = board.get(path, **query)
    assert (reply.status, reply.headers["Content-Type"]) == (status, "application/json")
    assert sentence in reply.json()["error"]


@pytest.mark.parametrize("path", ["index", "layers", "static/index.js", "static/nothing.js"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_only_get_is_answered(board: Board, path: str, method: str) -> None:
    answer = board.get(path, method=method)
    assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD")
    assert answer.json() == {"error": "only GET and HEAD are allowed"}


@pytest.mark.parametrize("path", ["index", "version", "static/index.html"])
def test_a_head_is_a_get_without_its_body(board: Board, path: str) -> None:
    whole, head = board.get(path), board.get(path, method="HEAD")
    assert (head.status, head.body) == (200, b"")
    for name in ("Content-Type", "ETag"):
        assert head.headers[name] == whole.headers[name]


@pytest.mark.parametrize("path", ["index", "static/index.html", "static/index.js"])
def test_tensorboard_finds_nothing_amiss_in_a_304(board: Board, path: str) -> None:
    """It demands a Content-Type of every answer, which werkzeug takes from this one."""
    first = board.get(path)
    again = board.get(path, headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status, again.body) == (304, b"")
    assert (
        again.headers["Content-Type"].partition(";")[0]
        == first.headers["Content-Type"].partition(";")[0]
    )
    assert again.headers["ETag"] == first.headers["ETag"]
    assert "will become an error" not in board.server.log


def test_an_empty_range_has_no_steps(board: Board) -> None:
    for route in ("maps", "layers", "correlation"):
        layer = {} if route == "layers" else {"layer": "conv1"}
        header, arrays = board.get(route, run="plain", from_=50, to=40, **layer).frame()
        assert header["truncated_at"] is None
        assert arrays["steps"].size == 0
    header, arrays = board.get("layers", run="plain", from_=3, to=7).frame()
    assert arrays["steps"].tolist() == [3, 4, 5, 6, 7]


def test_a_new_epoch_changes_the_version(tmp_path: Path, board: Board) -> None:
    write_run(tmp_path / "live", range(-1, 3))
    with serving(tmp_path, board.loader, "--reload_interval=1") as live:
        live.wait_for(live=4)
        before, etag = live.get("version").json(), live.get("layers", run="live").headers["ETag"]
        write_run(tmp_path / "live", [3], start=1.7e9 + 1000)
        live.wait_for(live=5)
        assert live.get("version").json() != before
        reply = live.get("layers", run="live", headers={"If-None-Match": etag})
        assert reply.frame()[1]["steps"].tolist() == [-1, 0, 1, 2, 3]


def test_old_records_that_arrive_late_are_shown(tmp_path: Path, board: Board) -> None:
    """Checkpoints of last year, measured today, one by one, into one file."""
    run = tmp_path / "live"
    with RunWriter(run) as writer, contextlib.ExitStack() as stack:
        writer.write(0, network(0, {"conv1": 8}), wall_time=1.5e9)
        live = stack.enter_context(serving(tmp_path, board.loader, "--reload_interval=1"))
        for step in (1, 2):
            live.wait_for(live=step)
            writer.write(step, network(step, {"conv1": 8}), wall_time=1.5e9 + step)
        live.wait_for(live=3)


def test_a_run_that_goes_back_while_it_is_watched(tmp_path: Path, board: Board) -> None:
    write_run(tmp_path / "live", range(-1, 20))
    with serving(tmp_path, board.loader, "--reload_interval=1") as live:
        live.wait_for(live=21)
        write_run(tmp_path / "live", range(12, 23), start=1.7e9 + 1000)
        live.wait_for(live=24)
        for route in ("layers", "maps", "correlation"):
            layer = {} if route == "layers" else {"layer": "conv1"}
            _, arrays = live.get(route, run="live", **layer).frame()
            assert arrays["steps"].tolist() == list(range(-1, 23))


def test_the_users_own_curve_goes_on_beside_our_file(tmp_path: Path, board: Board) -> None:
    run, metrics = tmp_path / "live", SummaryWriter(str(tmp_path / "live"))
    with RunWriter(run) as writer, contextlib.closing(metrics):
        writer.write(0, network(0, {"conv1": 8}))
        metrics.add_scalar("val_loss", 1.0, 0)
        metrics.flush()
        with serving(tmp_path, board.loader, "--reload_interval=1") as live:
            for step in (1, 2):
                live.wait_for(live=step)
                writer.write(step, network(step, {"conv1": 8}))
                metrics.add_scalar("val_loss", 1.0 + step, step)
                metrics.flush()
            live.wait_until(
                lambda: (
                    live.get("scalars", run="live", tag="val_loss").json()["values"] == [1, 2, 3]
                )
            )
            assert live.get("index").json()["runs"][0]["loss_tag"] == "val_loss"


def test_nothing_recorded(tmp_path: Path, board: Board) -> None:
    with serving(tmp_path, board.loader) as empty:
        assert empty.get("index").json()["runs"] == []
        listing = empty.get("/data/plugins_listing").json()["sparsity"]
        assert not listing["enabled"]  # in TensorBoard's list of inactive tabs
        assert empty.get("static/index.html").status == 200
        assert "there are none" in empty.get("layers", run="x").json()["error"]


def test_a_path_prefix(logdir: Path) -> None:
    with serving(logdir, "python", "--path_prefix=/deep/down") as prefixed:
        assert prefixed.prefix == "/deep/down"
        prefixed.wait_for(plain=300)
        listing = prefixed.get("/data/plugins_listing").json()["sparsity"]
        path = "/deep/down/data/plugin/sparsity/static/index.js"
        assert listing["loading_mechanism"]["module_path"] == path


def test_the_contract_names_all_routes() -> None:
    text = (Path(sparsight_tensorboard.__file__).parent / "http_api.md").read_text("utf-8")
    described: dict[str, set[str]] = {}
    for heading in re.findall(r"^### `([^`]+)`", text, re.MULTILINE):
        path, _, query = heading.partition("?")
        described.setdefault(path, set()).update(re.findall(r"(\w+)=", query))
    expected = {path: set(route.parameters) for path, route in ROUTES.items()}
    assert described == {**expected, "static/*": set()}
    assert "sparsight.schema.COLUMNS" in text  # which docs/statistics.md lists

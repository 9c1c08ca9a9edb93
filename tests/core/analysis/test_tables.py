"""Measurements as arrays, data frames and files of tables."""

import csv
import resource
import sys

import numpy as np
import pytest
from tests.core.small_cnn import PROBES, network

import sparsight
from sparsight.analysis.tables import write_table
from sparsight.errors import RunError, UsageError
from sparsight.measure.accumulator import LayerAccumulator
from sparsight.measure.batch import BatchStatistics
from sparsight.runs.reader import read_run
from sparsight.schema import COLUMNS, LayerInfo


def named(layer):
    info = LayerInfo(layer, "-0.5", 4, (1, 1), 1, "linear output")
    accumulator = LayerAccumulator(info)
    accumulator.update(BatchStatistics(np.full((2, 1, 1), 0.5, np.float32)), 0)
    return accumulator.result()


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_names_that_a_spreadsheet_would_run(start, tmp_path):
    """As in the page's export: an apostrophe before them; numbers stay numbers."""
    path = tmp_path / "table.csv"
    write_table(path, {-1: [named(f"{start}1+1"), named(f"conv{start}1"), named("conv1")]})
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["layer"] for row in rows] == [f"'{start}1+1", f"conv{start}1", "conv1"]
    assert {row["operator"] for row in rows} == {"'-0.5"}
    assert {row["step"] for row in rows} == {"-1"}
    assert float(rows[0]["entropy"]) == pytest.approx(0.5)


@pytest.mark.parametrize("suffix", [".csv", ".npz", ".parquet"])
@pytest.mark.parametrize("before", [None, b"what was there"])
def test_a_table_is_complete_or_not_written(suffix, before, tmp_path):
    path = tmp_path / f"table{suffix}"
    if before is not None:
        path.write_bytes(before)
    steps = {step: [named("conv1")] for step in range(100)}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, limits[1]))  # as on a full disk
    try:
        with pytest.raises(RunError, match=f"cannot write .*table{suffix}"):
            write_table(path, steps)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [file.name for file in tmp_path.iterdir()] == ([path.name] if before else [])
    assert before is None or path.read_bytes() == before
    write_table(path, steps)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    assert path.stat().st_size > 500


def test_a_table_behind_a_link(tmp_path):
    (tmp_path / "link.csv").symlink_to(tmp_path / "real.csv")
    write_table(tmp_path / "link.csv", {0: [named("conv1")]})
    assert (tmp_path / "link.csv").is_symlink()
    assert "conv1" in (tmp_path / "real.csv").read_text("utf-8")


def test_a_data_frame():
    measured = sparsight.analyze(network(), PROBES, device="cpu")
    frame = measured.to_pandas()
    assert list(frame.index) == ["conv1", "conv2"]
    assert list(frame.columns[:2]) == ["operator", "channels"]
    np.testing.assert_array_equal(frame.iloc[:, 2:].to_numpy(np.float64), measured.to_numpy())
    assert frame.loc["conv1", "entropy"] == measured[0].statistics["entropy"]


def test_measurements_go_elsewhere(tmp_path, monkeypatch):
    measured = sparsight.analyze(network(), PROBES, device="cpu")
    table = measured.to_numpy()
    assert table.shape == (2, len(COLUMNS))
    assert table[0, 0] == measured[0].statistics["entropy"]
    measured.write(tmp_path / "by_hand", step=3)
    assert read_run(tmp_path / "by_hand").steps == (3,)
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(UsageError, match="pip install pandas"):
        measured.to_pandas()

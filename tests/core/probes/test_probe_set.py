from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from sparsight.errors import ProbeError
from sparsight.probes.probe_set import (
    InputSpec,
    load_probes,
    match_probes,
    shown_positions,
    shown_probes,
)
from sparsight.schema import ShownProbes, probe_digest


def pictures(shown: ShownProbes) -> list[np.ndarray]:
    assert shown.kind == "image"
    return [np.asarray(Image.open(io.BytesIO(item))) for item in shown.items]


def grey(shape: tuple[int, ...]) -> np.ndarray:
    """Whole numbers 0 to 255, so that a picture holds them as they are."""
    values = np.random.default_rng(0).integers(1, 255, shape)
    values.flat[0], values.flat[-1] = 0, 255
    return values


@given(st.integers(0, 40), st.integers(1, 30))
def test_shown_probes_are_spread_over_the_set(shown: int, count: int) -> None:
    positions = shown_positions(shown, count)
    assert len(positions) == min(shown, count)
    assert list(positions) == sorted(set(positions))
    if min(shown, count) > 1:
        assert (positions[0], positions[-1]) == (0, count - 1)
    gaps = np.diff(positions)
    assert not gaps.size or gaps.max() - gaps.min() <= 1


def test_shown_probes_that_are_named() -> None:
    assert shown_positions([4, 1, 4], 5) == (1, 4)
    assert shown_positions(np.int64(2), 5) == (0, 4)
    for wrong in (5, -1):
        with pytest.raises(ProbeError, match=f"probe {wrong} to show; there are 5"):
            shown_positions([0, wrong], 5)


# -- what is shown --------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64, np.int64])
def test_channels_first_and_last(dtype: Any) -> None:
    images = grey((4, 10, 12, 3))
    for arrays in (images, np.moveaxis(images, -1, 1)):
        shown = shown_probes([arrays.astype(dtype)], range(4))
        np.testing.assert_array_equal(pictures(shown), images)
        assert (shown.count, shown.indices) == (4, (0, 1, 2, 3))


def test_pictures_of_one_channel() -> None:
    images = grey((4, 10, 12))
    for arrays in (images, images[:, None], images[..., None]):
        np.testing.assert_array_equal(pictures(shown_probes([arrays], range(4))), images)


def test_chosen_probes_keep_their_numbers() -> None:
    images = grey((5, 8, 8))
    shown = shown_probes([images], [4, 0])
    assert shown.indices == (4, 0)
    np.testing.assert_array_equal(pictures(shown), images[[4, 0]])


def test_grey_levels_are_spread_over_all_shown_probes() -> None:
    images = np.zeros((2, 1, 8, 8), np.float32)
    images[0, 0, 0, 0], images[1, 0, 0, 0] = -1.5, 2.5
    dark, bright = pictures(shown_probes([images], [0, 1]))
    assert (dark[0, 0], dark[1, 1]) == (0, 96)
    assert (bright[0, 0], bright[1, 1]) == (255, 96)


@pytest.mark.parametrize("scale", [1e-45, 1e-40, 1, 1e38, 1e300])
def test_any_range_can_be_shown(scale: float) -> None:
    images = np.full((1, 8, 8), scale, np.float64)
    images[0, 0] = 0
    (picture,) = pictures(shown_probes([images], [0]))
    assert (picture[0, 0], picture[1, 0]) == (0, 255)


def test_what_is_no_number_is_shown_at_the_ends() -> None:
    images = np.ones((1, 8, 8), np.float32)
    images[0, 0, :4] = [0, np.nan, np.inf, -np.inf]
    (picture,) = pictures(shown_probes([images], [0]))
    assert picture[0, :4].tolist() == [0, 0, 255, 0]
    for value in (3, np.nan, np.inf):
        (picture,) = pictures(shown_probes([np.full((1, 8, 8), value, np.float32)], [0]))
        assert (picture == 0).all()


def test_series() -> None:
    values = np.random.default_rng(0).normal(size=(3, 20)).astype(np.float32)
    for arrays in (values, np.stack([values, values + 1], axis=1)):
        shown = shown_probes([arrays], [0, 2])
        assert shown.kind == "series"
        for item, row in zip(shown.items, values[[0, 2]], strict=True):
            np.testing.assert_array_equal(np.frombuffer(item, "<f4"), row)


def test_long_series_are_thinned() -> None:
    shown = shown_probes([np.arange(10_000.0)[None]], [0])
    values = np.frombuffer(shown.items[0], "<f4")
    assert values.size <= 512
    assert (np.diff(values) == 20).all()


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((2, 4, 8, 8)),
        np.zeros((2, 3, 4, 8, 8)),
        np.zeros(2),
        np.zeros((2, 8, 8), complex),
        np.array(["a", "b"]),
    ],
)
def test_other_shapes_are_not_shown(array: np.ndarray) -> None:
    shown = shown_probes([array], [0, 1])
    assert (shown.kind, shown.items, shown.indices) == ("none", (), (0, 1))
    assert shown.count == 2


def test_the_digest_is_of_all_inputs_and_all_samples() -> None:
    first, second = np.zeros((9, 8, 8)), np.ones((9, 2), np.int64)
    shown = shown_probes([first, second], [0])
    assert shown.digest == probe_digest([first, second])


@pytest.mark.parametrize(
    ("arrays", "indices", "sentence"),
    [
        ([], [], "the probe set is empty"),
        ([np.zeros((0, 8, 8))], [], "the probe set is empty"),
        ([np.zeros((5, 8, 8))], [0, 5], "no probe 5 to show; there are 5"),
        ([np.zeros((5, 8, 8))], [2, -1], "no probe -1 to show; there are 5"),
    ],
)
def test_slips_get_a_sentence(arrays: list[np.ndarray], indices: list[int], sentence: str) -> None:
    with pytest.raises(ProbeError) as caught:
        shown_probes(arrays, indices)
    assert sentence in str(caught.value)


# -- what a model takes ---------------------------------------------------------------------------

IMAGE = InputSpec("image", np.dtype(np.float32), ("N", 3, 8, "width"))
IDS = InputSpec("ids", np.dtype(np.int64), ("N", 7))
MASK = InputSpec("mask", np.dtype(np.int64), ("N", 7))


def test_files_of_one_and_of_several_arrays(tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", np.arange(3))
    np.savez(tmp_path / "two.npz", image=np.zeros((2, 3)), ids=np.ones(2))
    assert load_probes(tmp_path / "one.npy")[""].tolist() == [0, 1, 2]
    assert list(load_probes(tmp_path / "two.npz")) == ["image", "ids"]


def test_a_model_without_inputs_has_no_probes() -> None:
    with pytest.raises(ProbeError, match="computes the same for every probe"):
        match_probes({"x": np.zeros(3)}, [])


def test_files_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello")
    (tmp_path / "empty").touch()
    np.save(tmp_path / "objects.npy", np.array([{}]), allow_pickle=True)
    np.savez(tmp_path / "whole.npz", a=np.arange(1000))
    (tmp_path / "half.npz").write_bytes((tmp_path / "whole.npz").read_bytes()[:500])
    for name in ("text", "empty", "objects.npy", "half.npz"):
        with pytest.raises(ProbeError, match=r"as an \.npz or \.npy file of numbers"):
            load_probes(tmp_path / name)
    with pytest.raises(ProbeError, match="no such file"):
        load_probes(tmp_path / "nothing")
    with pytest.raises(ProbeError, match="cannot read"):
        load_probes(tmp_path)


def test_arrays_by_name_and_by_fit() -> None:
    image, ids = np.zeros((2, 3, 8, 5), np.float32), np.zeros((2, 7), np.int64)
    assert match_probes(image, [IMAGE]).arrays["image"] is image
    matched = match_probes({"x": image, "y": ids}, [IDS, IMAGE]).arrays
    assert list(matched) == ["ids", "image"]
    assert matched["image"] is image
    matched = match_probes({"mask": ids, "ids": ids + 1}, [IDS, MASK]).arrays
    assert matched["mask"] is ids


@pytest.mark.parametrize(
    ("arrays", "wanted", "sentence"),
    [
        (
            np.zeros((2, 3, 8, 5)),
            [IMAGE],
            "expects float32 [N, 3, 8, width], but the probes are float64",
        ),
        (np.zeros((2, 3, 8, 5)), [IMAGE], "convert them with array.astype('float32')"),
        (np.zeros((2, 3, 8), np.float32), [IMAGE], "expected 4 axes, not 3"),
        (np.zeros((2, 3, 9, 5), np.float32), [IMAGE], "expected length 8 along axis 2, not 9"),
        ({"y": np.zeros((2, 7), np.int64)}, [IDS, MASK], "numpy.savez(path, **{'ids': array})"),
        ({}, [IDS], "no array fits: there are none"),
        (np.zeros((0, 7), np.int64), [IDS], "the same number of samples, at least one"),
    ],
)
def test_probes_that_do_not_fit(arrays: Any, wanted: list[InputSpec], sentence: str) -> None:
    with pytest.raises(ProbeError) as caught:
        match_probes(arrays, wanted)
    assert sentence in str(caught.value)


@pytest.mark.parametrize(("fixed", "size"), [(None, 4), (None, 1), (None, 99), (3, 8), (16, 8)])
def test_batches_hold_every_sample_once(fixed: int | None, size: int) -> None:
    spec = InputSpec("x", np.dtype(np.float32), (fixed or "N", 2))
    values = np.arange(20, dtype=np.float32).reshape(10, 2)
    seen: list[np.ndarray] = []
    for first, count, arrays in match_probes(values, [spec]).batches(size):
        assert first == len(seen)
        assert len(arrays["x"]) == (fixed or count)
        seen += list(arrays["x"][:count])
    np.testing.assert_array_equal(seen, values)

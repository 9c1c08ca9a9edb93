"""Probes out of pictures; how many of them, and whether their values look right."""

import numpy as np
import pytest

from sparsight.errors import ProbeError
from sparsight.probes.probe_set import InputSpec
from sparsight.probes.sources import PictureOptions, choose, out_of_range, read_probes

SPEC = InputSpec("x", np.dtype(np.float32), ("n", 3, 8, 6))


def test_the_choice_keeps_rows_together():
    arrays = {"a": np.arange(9), "b": np.arange(9) * 10, "rate": np.array(16000)}
    chosen = choose(arrays, 4, 0)
    np.testing.assert_array_equal(chosen["a"] * 10, chosen["b"])
    assert chosen["rate"] == 16000
    assert (np.diff(chosen["a"]) > 0).all()
    assert choose(arrays, None, 0) is arrays
    assert choose(arrays, 9, 0) is arrays


def test_a_folder_of_pictures(pictures):
    values = read_probes(pictures, [SPEC])[""]
    assert (values.dtype, values.shape) == (np.float32, (3, 3, 8, 6))
    np.testing.assert_allclose(values[0, :, 0, 0], [1, 0, 0.2], atol=0.01)
    options = PictureOptions(mean=(0.5,), std=(0.5, 0.25, 0.1), scale=1 / 255)
    values = read_probes(pictures, [SPEC], options)[""]
    np.testing.assert_allclose(values[0, :, 3, 3], [1, -2, -3], atol=0.05)
    last = InputSpec("x", np.dtype(np.uint8), ("n", "h", "w", 3))
    values = read_probes(pictures + "/*.png", [last], PictureOptions(size=(4, 5)))[""]
    assert (values.dtype, values.shape) == (np.uint8, (1, 4, 5, 3))
    np.testing.assert_array_equal(values[0, 0, 0], [255, 0, 51])
    grey = InputSpec("x", np.dtype(np.float32), (1, 1, 8, 8))
    assert read_probes(pictures, [grey])[""].shape == (3, 1, 8, 8)


def test_pictures_that_do_not_work(pictures, tmp_path):
    wide = InputSpec("x", np.dtype(np.float32), ("n", 3, "h", "w"))
    with pytest.raises(ProbeError, match="choose one, such as --size"):
        read_probes(pictures, [wide])
    with pytest.raises(ProbeError, match="single input for images"):
        read_probes(pictures, [SPEC, SPEC])
    with pytest.raises(ProbeError, match="--mean has 2 numbers, but the input has 3 channels"):
        read_probes(pictures, [SPEC], PictureOptions(mean=(1, 2)))
    with pytest.raises(ProbeError, match="above 0"):
        read_probes(pictures, [SPEC], PictureOptions(std=(0,)))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ProbeError, match="no images in"):
        read_probes(str(tmp_path / "empty"), [SPEC])
    (tmp_path / "empty/broken.png").write_bytes(b"no picture")
    with pytest.raises(ProbeError, match=r"broken\.png as an image"):
        read_probes(str(tmp_path / "empty"), [SPEC])


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (np.linspace(0, 255, 300), "unscaled"),
        (np.linspace(0, 1 / 255, 300), "scaled twice"),
        (np.full(300, 0.5), "all values are"),
        (np.array([np.nan] + [0.0] * 298 + [1.0]), "some are NaN or infinite"),
        (np.linspace(-2, 2, 300), ""),
    ],
)
def test_values_out_of_range(values, text):
    found = out_of_range(values.reshape(3, 1, 10, 10).astype(np.float32))
    assert text in found
    assert bool(text) == bool(found)

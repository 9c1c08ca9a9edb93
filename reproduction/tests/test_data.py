"""Data sets in their publishers' layouts: what is read, what is refused, what is held out."""

import os
import pickle

import numpy as np
import pytest
import torch
from reproduction.tests.layouts import random_images, write_cifar_10, write_tiny_imagenet

from sparsight.errors import SparsightError
from sparsight_paper.data import data_folder, load_data, scaled
from sparsight_paper.formats import DATASETS, DataError, folder_of, read_split


def test_probes_are_held_out_of_training(tmp_path):
    write_cifar_10(tmp_path, batches=(80, 60))
    data = load_data("cifar-10", tmp_path, training=90, probes=20, validation=30)
    assert len(data.images) == 90
    assert len(data.probes) == len(set(data.probe_indices)) == 20
    published = read_split("cifar-10", tmp_path / "cifar-10-batches-bin", "training", 110)[0]
    assert np.array_equal(published[list(data.probe_indices)], data.probes.numpy())
    trained = {image.tobytes() for image in data.images.numpy()}
    assert not trained & {image.tobytes() for image in data.probes.numpy()}
    assert len(data.validation_images) == len(data.validation_labels) == 30
    assert data.images.dtype == torch.uint8
    again = load_data("cifar-10", tmp_path, training=90, probes=20, validation=30)
    assert again.probe_indices == data.probe_indices


def test_images_are_scaled_to_one():
    values = scaled(torch.tensor([0, 51, 255], dtype=torch.uint8))
    assert torch.equal(values, torch.tensor([0.0, 51 / 255, 1.0]))


def test_a_binary_file_of_another_size_is_refused(tmp_path):
    write_cifar_10(tmp_path)
    path = tmp_path / "cifar-10-batches-bin/data_batch_1.bin"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match="not a CIFAR file"):
        load_data("cifar-10", tmp_path, training=10, probes=5)


def test_classes_beyond_the_last_are_refused(tmp_path):
    write_cifar_10(tmp_path)
    path = tmp_path / "cifar-10-batches-bin/data_batch_1.bin"
    path.write_bytes(b"\x0b" + path.read_bytes()[1:])
    with pytest.raises(DataError, match="class 11"):
        load_data("cifar-10", tmp_path, training=10, probes=5)


def test_an_incomplete_set_is_never_taken_for_the_whole(tmp_path):
    write_cifar_10(tmp_path)
    with pytest.raises(DataError, match=r"lacks data_batch_2.bin"):
        load_data("cifar-10", tmp_path)
    write_cifar_10(tmp_path / "five", batches=(300,) * 5)
    with pytest.raises(DataError, match=r"holds 1500 training images.* expected 50000"):
        load_data("cifar-10", tmp_path / "five")


@pytest.mark.parametrize("lacking", [1, 2])
def test_a_later_file_never_takes_the_place_of_one_that_is_not_there(tmp_path, lacking):
    """The positions of the probes would be wrong."""
    write_cifar_10(tmp_path, batches=(80, 60, 70))
    (tmp_path / f"cifar-10-batches-bin/data_batch_{lacking}.bin").unlink()
    with pytest.raises(DataError, match=rf"lacks data_batch_{lacking}.bin"):
        load_data("cifar-10", tmp_path, training=90, probes=20)
    if lacking == 2:
        few = load_data("cifar-10", tmp_path, training=60, validation=30, probes=20)
        assert len(few.images) == 60


def test_a_set_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DataError, match="a folder cifar-100-binary or cifar-100-python"):
        load_data("cifar-100", tmp_path)
    with pytest.raises(SparsightError, match="did you mean 'cifar-10'"):
        folder_of("cifar-1", tmp_path)


def test_the_folder_itself_may_be_given(tmp_path):
    write_cifar_10(tmp_path)
    folder = tmp_path / "cifar-10-batches-bin"
    assert folder_of("cifar-10", folder) == folder


def test_where_data_is_looked_for(tmp_path, monkeypatch):
    monkeypatch.setenv("SPARSIGHT_DATA", str(tmp_path / "named"))
    assert data_folder() == tmp_path / "named"
    assert data_folder(tmp_path) == tmp_path
    monkeypatch.delenv("SPARSIGHT_DATA")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert data_folder() == tmp_path / "cache/sparsight/data"


def python_version(folder, content, name="data_batch_1", protocol=2):
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(pickle.dumps(content, protocol=protocol))


@pytest.mark.parametrize("protocol", [2, 4])
def test_the_python_version_is_read(tmp_path, protocol):
    images, labels = random_images(20, 10)
    rows = images.reshape(20, -1)
    content = {b"data": rows, b"labels": labels.tolist(), b"batch_label": b"one"}
    python_version(tmp_path / "cifar-10-batches-py", content, protocol=protocol)
    found = read_split("cifar-10", tmp_path / "cifar-10-batches-py", "training", 20)
    assert np.array_equal(found[0], images)
    assert np.array_equal(found[1], labels)


class Harmful:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_pickle_is_never_executed(tmp_path):
    done = tmp_path / "done"
    python_version(tmp_path / "cifar-10-batches-py", {b"data": Harmful(done)})
    with pytest.raises(DataError, match=r"asks for posix.mkdir"):
        read_split("cifar-10", tmp_path / "cifar-10-batches-py", "training", 1)
    assert not done.exists()


@pytest.mark.parametrize(
    "content",
    [[1], {b"data": 1}, {b"data": np.zeros((2, 5), np.uint8), b"labels": [1, 2]}],
    ids=["list", "no array", "short rows"],
)
def test_other_pickles_are_refused(tmp_path, content):
    python_version(tmp_path / "cifar-10-batches-py", content)
    with pytest.raises(DataError, match="not a CIFAR file"):
        read_split("cifar-10", tmp_path / "cifar-10-batches-py", "training", 1)


def test_a_damaged_pickle_is_refused(tmp_path):
    python_version(tmp_path / "cifar-10-batches-py", {b"data": b"x" * 100})
    path = tmp_path / "cifar-10-batches-py/data_batch_1"
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(DataError, match="not a CIFAR file"):
        read_split("cifar-10", tmp_path / "cifar-10-batches-py", "training", 1)


def test_tiny_imagenet_takes_classes_in_turn(tmp_path):
    write_tiny_imagenet(tmp_path)
    folder = tmp_path / "tiny-imagenet-200"
    images, labels = read_split("tiny-imagenet", folder, "training", 4)
    assert images.shape == (4, 3, 64, 64)
    assert labels.tolist() == [0, 1, 0, 1]  # of wnids.txt's order, not of the alphabet
    assert abs(int(images[1, 0, 0, 0]) - 100) <= 2  # grey ones have three equal channels
    assert np.array_equal(images[:, 0], images[:, 2])
    assert read_split("tiny-imagenet", folder, "validation", 2)[1].tolist() == [0, 1]


def test_tiny_imagenet_with_a_missing_image(tmp_path):
    write_tiny_imagenet(tmp_path)
    (tmp_path / "tiny-imagenet-200/val/images/val_1.JPEG").unlink()
    with pytest.raises(DataError, match=r"val_1.JPEG"):
        read_split("tiny-imagenet", tmp_path / "tiny-imagenet-200", "validation", 2)


@pytest.mark.parametrize("lacking", ["n1_1.JPEG", "n1_0.JPEG"])
def test_tiny_imagenet_with_a_class_that_lacks_an_image(tmp_path, lacking):
    write_tiny_imagenet(tmp_path)
    (tmp_path / "tiny-imagenet-200/train/n1/images" / lacking).unlink()
    with pytest.raises(DataError, match="class n1 has 2, others have 3"):
        read_split("tiny-imagenet", tmp_path / "tiny-imagenet-200", "training", 2)


def test_tiny_imagenet_without_classes(tmp_path):
    write_tiny_imagenet(tmp_path)
    (tmp_path / "tiny-imagenet-200/wnids.txt").write_text("")
    with pytest.raises(DataError, match=r"wnids.txt lists no class"):
        read_split("tiny-imagenet", tmp_path / "tiny-imagenet-200", "training", 2)


@pytest.mark.real_data
@pytest.mark.parametrize(("name", "limit"), [("cifar-10", 5000), ("cifar-100", None)])
def test_both_versions_of_cifar_are_one(real, name, limit):
    for split, number in (("training", limit), ("validation", 2500)):
        first, second = (
            read_split(name, real / folder, split, number) for folder in DATASETS[name].folders
        )
        assert np.array_equal(first[0], second[0])
        assert np.array_equal(first[1], second[1])
        assert set(first[1].tolist()) == set(range(DATASETS[name].classes))


@pytest.mark.real_data
def test_tiny_imagenet_of_its_publisher(real):
    images, labels = read_split("tiny-imagenet", real / "tiny-imagenet-200", "training", 1000)
    assert images.shape == (1000, 3, 64, 64)
    assert np.bincount(labels).tolist() == [100] * 10
    _, labels = read_split("tiny-imagenet", real / "tiny-imagenet-200", "validation", 500)
    assert np.bincount(labels).tolist() == [50] * 10
    with pytest.raises(DataError, match="expected 100000"):  # a part of it alone is there
        read_split("tiny-imagenet", real / "tiny-imagenet-200", "training")

"""Small data sets in their publishers' layouts, of random images; and where real ones are."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SHARED = Path(os.environ.get("SPARSIGHT_TEST_DATA", Path(__file__).parents[2].parent / "shared"))


def random_images(count, classes, side=32, seed=0):
    random = np.random.default_rng(seed)
    images = random.integers(0, 256, (count, 3, side, side), np.uint8)
    return images, random.integers(0, classes, count)


def write_cifar_10(root, batches=(300,), validation=100):
    folder = root / "cifar-10-batches-bin"
    folder.mkdir(parents=True)
    for number, count in enumerate(batches, start=1):
        _write(folder / f"data_batch_{number}.bin", *random_images(count, 10, seed=number))
    _write(folder / "test_batch.bin", *random_images(validation, 10, seed=99))
    return root


def _write(path, images, labels):
    rows = np.column_stack([labels, images.reshape(len(images), -1)])
    path.write_bytes(rows.astype(np.uint8).tobytes())


def write_tiny_imagenet(root, classes=("n3", "n1"), each=3):
    folder = root / "tiny-imagenet-200"
    (folder / "val/images").mkdir(parents=True)
    (folder / "wnids.txt").write_text("\n".join(classes))
    table = []
    for label, name in enumerate(classes):
        images = folder / "train" / name / "images"
        images.mkdir(parents=True)
        for number in range(each):
            grey = Image.new("L", (64, 64), 100 * label + number)
            grey.save(images / f"{name}_{number}.JPEG")
        Image.new("RGB", (64, 64)).save(folder / f"val/images/val_{label}.JPEG")
        table.append(f"val_{label}.JPEG\t{name}\t0\t0\t63\t63\n")
    (folder / "val/val_annotations.txt").write_text("".join(table))
    return root


def decoded(tmp_path_factory):
    """A folder with real data sets; skips where there are none."""
    script = SHARED / "data/decode.py"
    if not script.is_file():
        pytest.skip(f"no real data in {SHARED}")
    folder = tmp_path_factory.mktemp("data")
    command = [sys.executable, str(script), str(folder)]
    subprocess.run(command, check=True, capture_output=True)
    return folder

"""Files of arrays: what was written is read; what lies gets a sentence before memory is taken."""

from __future__ import annotations

import contextlib
import io
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsight.errors import ProbeError
from sparsight.probes.array_files import load_probes

VAST = (11 * 2**40,)  # bytes


def header(shape: tuple[int, ...], dtype: str = "|i1") -> bytes:
    stream = io.BytesIO()
    fields = {"descr": dtype, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, fields)
    return stream.getvalue()


def archive(path: Path, content: bytes, size: int | None = None, name: str = "x.npy") -> Path:
    """An .npz with one member, which claims to hold so many bytes."""
    with zipfile.ZipFile(path, "w") as made:
        made.writestr(name, content)
        if size is not None:
            made.filelist[0].file_size = size
    return path


def refused(path: Path) -> str:
    with pytest.raises(ProbeError) as caught:
        load_probes(path)
    sentence = str(caught.value)
    assert str(path) in sentence
    assert "pickle" not in sentence
    return sentence


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6.0).reshape(2, 3),
        np.asfortranarray(np.arange(6).reshape(2, 3)),
        np.array(3, np.float16),
        np.zeros((0, 4)),
        np.array(["a", "été"]),
        np.arange(4, dtype=">i4"),
        np.array([True]),
    ],
)
@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_what_was_written_is_read(array: np.ndarray, version: tuple, tmp_path: Path) -> None:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, version)
    (tmp_path / "one.npy").write_bytes(stream.getvalue())
    archive(tmp_path / "two.npz", stream.getvalue())
    for read in (load_probes(tmp_path / "one.npy")[""], load_probes(tmp_path / "two.npz")["x"]):
        assert read.dtype == array.dtype
        np.testing.assert_array_equal(read, array)
    np.savez_compressed(tmp_path / "three.npz", array, image=array)
    assert list(load_probes(tmp_path / "three.npz")) == ["image", "arr_0"]


@pytest.mark.parametrize("suffix", [".npz", ".npy"])
def test_text(suffix: str, tmp_path: Path) -> None:
    (tmp_path / f"text{suffix}").write_text("hello world")
    assert "(it starts with b'hello ')" in refused(tmp_path / f"text{suffix}")
    (tmp_path / f"empty{suffix}").touch()
    assert "(it is empty)" in refused(tmp_path / f"empty{suffix}")


def test_objects(tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", np.array([{}]), allow_pickle=True)
    np.savez(tmp_path / "two.npz", x=np.array([{}]))
    for name in ("one.npy", "two.npz"):
        assert "holds Python objects, which are never loaded" in refused(tmp_path / name)


def test_an_array_that_claims_more_than_is_there(tmp_path: Path) -> None:
    vast = header(VAST) + b"12"
    (tmp_path / "one.npy").write_bytes(vast)
    archive(tmp_path / "two.npz", vast)
    for name in ("one.npy", "two.npz"):
        assert f"is declared as {VAST[0]} int8, but only 2 bytes follow" in refused(tmp_path / name)
    (tmp_path / "negative.npy").write_bytes(header((-1, -4)) + b"1234")
    assert "is declared as -1x-4 int8" in refused(tmp_path / "negative.npy")
    (tmp_path / "long.npy").write_bytes(b"\x93NUMPY\x01\x00\xff\xff" + b" " * 65535)
    assert "it is damaged" in refused(tmp_path / "long.npy")


def test_a_bomb(tmp_path: Path) -> None:
    """Its directory and its array agree, and promise more than any machine has."""
    content = header(VAST)
    path = archive(tmp_path / "bomb.npz", content, len(content) + VAST[0])
    sentence = refused(path)
    assert f"the arrays in {path} need 12094.6 GB" in sentence
    assert "use fewer samples" in sentence
    # each is small enough, all of them together are not
    half = header((2**40,))
    with zipfile.ZipFile(path, "w") as made:
        for number in range(12):
            made.writestr(f"{number}.npy", half)
            made.filelist[-1].file_size = len(half) + 2**40
    assert "need 13194.1 GB" in refused(path)


def test_other_archives(tmp_path: Path) -> None:
    assert "its member 'a.txt' is not an array" in refused(
        archive(tmp_path / "a.zip", b"hello", name="a.txt")
    )
    path = archive(tmp_path / "secret.npz", header((1,)) + b"1")
    content = bytearray(path.read_bytes())
    content[6] |= 1  # encrypted
    content[content.rindex(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    assert "it is damaged" in refused(path)


@pytest.mark.parametrize("text", [b"{'descr': \0", b"{'descr': (", b"'\n", b"((((", b""])
def test_a_header_that_is_no_text_of_python(text: bytes, tmp_path: Path) -> None:
    start = np.lib.format.magic(1, 0) + len(text).to_bytes(2, "little")
    path = tmp_path / "x.npy"
    path.write_bytes(start + text + bytes(72))
    assert "it is damaged" in refused(path)


@settings(max_examples=300, deadline=None)
@given(st.data(), st.booleans(), st.booleans())
def test_any_changed_bytes(data: st.DataObject, zipped: bool, compressed: bool) -> None:
    stream = io.BytesIO()
    if zipped:
        write = np.savez_compressed if compressed else np.savez
        write(stream, x=np.arange(9), y=np.ones((2, 2), np.float32))
    else:
        np.save(stream, np.arange(9))
    content = bytearray(stream.getvalue())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(0, len(content)))]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "changed"
        path.write_bytes(content)
        with contextlib.suppress(ProbeError):
            assert all(isinstance(array, np.ndarray) for array in load_probes(path).values())

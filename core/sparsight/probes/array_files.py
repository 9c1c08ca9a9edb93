"""Reading .npy and .npz files: what they claim may be anything, so it is checked before memory is
taken for it."""

from __future__ import annotations

import lzma
import math
import struct
import tokenize
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ProbeError
from ..system.memory import amount, free_on_host

__all__ = ["load_probes"]

_NPY, _ZIP = b"\x93NUMPY", b"PK"

_DAMAGE = (
    *(ValueError, EOFError, KeyError, NotImplementedError, RuntimeError, struct.error),
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError),
    *(SyntaxError, tokenize.TokenError),  # the header is Python's text
)
"""What zipfile and numpy raise where a file is damaged, encrypted or of a later kind."""


class _NoArrays(Exception):
    """Why a file holds no arrays of numbers, to stand in brackets."""


@dataclass(frozen=True)
class _Claim:
    """What the header of an array says."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    there: int
    """Bytes that follow the header."""

    @property
    def size(self) -> int:
        """Bytes of the array."""
        return math.prod(self.shape) * self.dtype.itemsize

    def check(self) -> None:
        """Raises _NoArrays for what can be no array of numbers or text."""
        array = f"array {self.name!r}" if self.name else "its array"
        if self.dtype.hasobject:
            raise _NoArrays(f"{array} holds Python objects, which are never loaded")
        if min(self.shape, default=0) < 0 or self.size > self.there:
            claimed = f"{'x'.join(map(str, self.shape))} {self.dtype}"
            raise _NoArrays(f"{array} is declared as {claimed}, but only {self.there} bytes follow")


def load_probes(path: str | Path) -> dict[str, NDArray[Any]]:
    """The arrays of an .npz or .npy file; that of an .npy file is called "".

    Raises ProbeError for a file that is neither, or whose arrays are larger than the free memory.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            return _arrays(path, file)
    except FileNotFoundError:
        raise ProbeError(f"no such file: {path}") from None
    except _NoArrays as error:
        reason = str(error)
    except _DAMAGE:  # numpy's own texts tell to allow pickles, which run what they hold
        reason = "it is damaged"
    except OSError as error:
        raise ProbeError(f"cannot read {path}: {error.strerror or error}") from None
    except MemoryError:
        raise ProbeError(f"{path} does not fit into memory; use fewer samples") from None
    raise ProbeError(
        f"cannot read {path} as an .npz or .npy file of numbers ({reason}); write one with "
        "numpy.savez(path, input=array)"
    )


def _arrays(path: Path, file: IO[bytes]) -> dict[str, NDArray[Any]]:
    start = file.read(len(_NPY))
    size = file.seek(0, 2)
    file.seek(0)
    if start == _NPY:
        _check(path, [_claim(file, "", size)])
        file.seek(0)
        return {"": _array(file)}
    if not start.startswith(_ZIP):
        raise _NoArrays(f"it starts with {start!r}" if start else "it is empty")
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        claims = [_claim_of_member(archive, member) for member in members]
        _check(path, claims)
        found = {}
        for member, claim in zip(members, claims, strict=True):
            with archive.open(member) as part:
                found[claim.name] = _array(part)
        return found


def _claim_of_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> _Claim:
    with archive.open(member) as part:
        if part.read(len(_NPY)) != _NPY:
            raise _NoArrays(f"its member {member.filename!r} is not an array")
    with archive.open(member) as part:
        return _claim(part, member.filename.removesuffix(".npy"), member.file_size)


def _claim(stream: IO[bytes], name: str, size: int) -> _Claim:
    """What the header of an array says that begins here and ends after `size` bytes."""
    layout = np.lib.format
    version = layout.read_magic(stream)
    read = layout.read_array_header_1_0 if version == (1, 0) else layout.read_array_header_2_0
    shape, _, dtype = read(stream)
    return _Claim(name, dtype, shape, size - stream.tell())


def _check(path: Path, claims: list[_Claim]) -> None:
    """Raises _NoArrays where an array cannot be what it claims, ProbeError where all of them are
    larger than the free memory."""
    for claim in claims:
        claim.check()
    total, free = sum(claim.size for claim in claims), free_on_host()
    if free is not None and total > free:
        raise ProbeError(
            f"the arrays in {path} need {amount(total)}, but only {amount(free)} of memory "
            "are free; use fewer samples"
        )


def _array(stream: IO[bytes]) -> NDArray[Any]:
    return np.asarray(np.lib.format.read_array(stream, allow_pickle=False))

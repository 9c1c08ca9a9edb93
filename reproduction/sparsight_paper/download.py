"""Fetching the data sets from their publishers: with progress, resume and a checksum."""

from __future__ import annotations

import hashlib
import http.client
import os
import shutil
import tarfile
import urllib.error
import urllib.request
import zipfile
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from .formats import DATASETS, DataError, folder_of

__all__ = ["ARCHIVES", "Archive", "fetch", "make_available"]

_CHUNK = 2**20
_ATTEMPTS = 5  # connections, each going on where the one before broke off
_TIMEOUT = 60  # seconds without a byte


@dataclass(frozen=True)
class Archive:
    """A publisher's file."""

    url: str
    md5: str
    folder: str
    """The folder that it unpacks to."""


ARCHIVES = {
    "cifar-10": Archive(
        "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
        "c32a1d4ab5d03f1284b67883e8d87530",
        "cifar-10-batches-bin",
    ),
    "cifar-100": Archive(
        "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
        "03b5dce01913d631647c71ecec9e9cb8",
        "cifar-100-binary",
    ),
    "tiny-imagenet": Archive(
        "http://cs231n.stanford.edu/tiny-imagenet-200.zip",
        "90528d7ca1a48142e341f4ef8d21d0de",
        "tiny-imagenet-200",
    ),
}


def make_available(name: str, root: Path, console: Console, archive: Archive | None = None) -> Path:
    """The folder of a data set within `root`, downloaded and unpacked if it is not there.

    Raises DataError where it can be neither found nor fetched.
    """
    found = folder_of(name, root)
    if found is not None:
        return found
    source = archive or ARCHIVES[name]
    console.print(
        f"{root} holds no {DATASETS[name].title}: downloading {source.url}", soft_wrap=True
    )
    try:
        root.mkdir(parents=True, exist_ok=True)
        file = fetch(source, root, console)
        folder = _unpack(file, source, root)
        file.unlink()
    except OSError as error:
        raise DataError(f"cannot store {source.url} in {root}: {error}") from None
    return folder


def fetch(archive: Archive, root: Path, console: Console) -> Path:
    """Download an archive into `root`; what an earlier attempt left is gone on with.

    Raises DataError where the connection fails again and again, or the checksum is another.
    """
    target = root / archive.url.rpartition("/")[2]
    part = target.with_name(target.name + ".part")
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console) as progress:
        task = progress.add_task(target.name, total=None)
        reason = "nothing was received"
        for _ in range(_ATTEMPTS):
            try:
                if _receive(archive.url, part, progress, task):
                    break
                reason = "the connection was closed early"
            except (OSError, http.client.HTTPException) as error:
                reason = str(error)
                if isinstance(error, urllib.error.HTTPError) and error.code in (403, 404, 410):
                    raise DataError(
                        f"cannot download {archive.url} ({error}); put the publisher's folder "
                        f"{archive.folder} into {root}"
                    ) from None
        else:
            raise DataError(
                f"cannot download {archive.url}: {_ATTEMPTS} attempts failed ({reason}); run "
                f"the command again to resume, or put the publisher's folder {archive.folder} "
                f"into {root}"
            )
    found = _md5(part)
    if found != archive.md5:
        part.unlink()
        raise DataError(
            f"{archive.url} has md5 {found}, expected {archive.md5}; the file was removed, "
            "try again"
        )
    os.replace(part, target)
    return target


def _receive(url: str, part: Path, progress: Progress, task: TaskID) -> bool:
    """One connection; whether the file is complete now."""
    have = part.stat().st_size if part.exists() else 0
    headers = {"Range": f"bytes={have}-"} if have else {}
    request = urllib.request.Request(url, headers=headers)
    try:
        answer = urllib.request.urlopen(request, timeout=_TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # nothing is missing
            return True
        raise
    with answer:
        if answer.status != 206:  # a server without ranges sends all of it again
            have = 0
        length = answer.headers.get("Content-Length")
        total = have + int(length) if length else None
        progress.update(task, total=total, completed=have)
        with open(part, "ab" if have else "wb") as file:
            while chunk := answer.read(_CHUNK):
                file.write(chunk)
                progress.update(task, advance=len(chunk))
    return total is None or part.stat().st_size >= total


def _md5(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def _unpack(file: Path, archive: Archive, root: Path) -> Path:
    """Unpack beside, then move: a folder that is there is a whole one."""
    scratch = root / f"{archive.folder}.unpacking"
    shutil.rmtree(scratch, ignore_errors=True)
    try:
        if file.suffix == ".zip":
            with zipfile.ZipFile(file) as contents:
                contents.extractall(scratch)  # drops absolute paths and ".."
        else:
            with tarfile.open(file) as contents:
                contents.extractall(scratch, filter="data")
    except (tarfile.TarError, zipfile.BadZipFile, EOFError) as error:
        raise DataError(f"cannot unpack {file}: {error}") from None
    unpacked = scratch / archive.folder
    if not unpacked.is_dir():
        raise DataError(f"{file} holds no folder {archive.folder}")
    os.replace(unpacked, root / archive.folder)
    shutil.rmtree(scratch, ignore_errors=True)
    return root / archive.folder

"""Downloading from a local server that breaks off, knows ranges or not, and sends what it wants."""

import hashlib
import io
import tarfile
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from rich.console import Console

from sparsight_paper.download import Archive, make_available
from sparsight_paper.formats import DataError

QUIET = Console(quiet=True)


class Publisher(ThreadingHTTPServer):
    """Serves `content`; breaks each connection off after `most` bytes."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Answer)
        self.content, self.most, self.ranges = b"", 10**9, True
        self.asked = []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/set.tar.gz"


class Answer(BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        asked = self.headers.get("Range")
        server.asked.append(asked)
        if self.path.startswith("/none"):
            self.send_error(404)
            return
        first = int(asked[6:-1]) if asked and server.ranges else 0
        if first >= len(server.content):
            self.send_error(416)
            return
        rest = server.content[first:]
        self.send_response(206 if first else 200)
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        self.wfile.write(rest[: server.most])

    def log_message(self, *_):
        pass


@pytest.fixture
def publisher():
    with Publisher() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def tarball(folder="cifar-10-batches-bin", size=50_000):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        info = tarfile.TarInfo(f"{folder}/data_batch_1.bin")
        info.size = size
        noise = hashlib.shake_128(b"seed").digest(size)  # so that it does not compress away
        tar.addfile(info, io.BytesIO(noise))
    return file.getvalue()


def archive_of(server, content=None):
    md5 = hashlib.md5(server.content if content is None else content).hexdigest()
    return Archive(server.url, md5, "cifar-10-batches-bin")


def test_it_is_downloaded_once(publisher, tmp_path):
    publisher.content = tarball()
    root = tmp_path / "data"
    folder = make_available("cifar-10", root, QUIET, archive_of(publisher))
    assert folder == root / "cifar-10-batches-bin"
    assert (folder / "data_batch_1.bin").stat().st_size == 50_000
    assert list(root.iterdir()) == [folder]
    assert make_available("cifar-10", root, QUIET, archive_of(publisher)) == folder
    assert publisher.asked == [None]


def test_a_broken_download_goes_on_where_it_was(publisher, tmp_path):
    publisher.content, publisher.most = tarball(), 20_000
    make_available("cifar-10", tmp_path, QUIET, archive_of(publisher))
    assert publisher.asked == [None, "bytes=20000-", "bytes=40000-"]


def test_so_does_the_next_command(publisher, tmp_path):
    publisher.content, publisher.most = tarball(), 6_000
    with pytest.raises(DataError, match=r"5 attempts failed .*put the publisher's folder"):
        make_available("cifar-10", tmp_path, QUIET, archive_of(publisher))
    publisher.most = 10**9
    assert make_available("cifar-10", tmp_path, QUIET, archive_of(publisher)).is_dir()
    assert publisher.asked[-1] == "bytes=30000-"


def test_a_server_without_ranges_sends_all_again(publisher, tmp_path):
    publisher.content, publisher.ranges = tarball(), False
    (tmp_path / "set.tar.gz.part").write_bytes(b"an old beginning")
    assert make_available("cifar-10", tmp_path, QUIET, archive_of(publisher)).is_dir()


def test_a_whole_part_is_not_asked_for_again(publisher, tmp_path):
    publisher.content = tarball()
    (tmp_path / "set.tar.gz.part").write_bytes(publisher.content)
    assert make_available("cifar-10", tmp_path, QUIET, archive_of(publisher)).is_dir()


def test_another_checksum_is_refused_and_removed(publisher, tmp_path):
    publisher.content = tarball()
    with pytest.raises(DataError, match="has md5"):
        make_available("cifar-10", tmp_path, QUIET, archive_of(publisher, b"another"))
    assert list(tmp_path.iterdir()) == []


def test_an_archive_that_is_not_there(publisher, tmp_path):
    missing = Archive(publisher.url.replace("/set", "/none"), "0" * 32, "cifar-10-batches-bin")
    with pytest.raises(DataError, match=r"cannot download .*404"):
        make_available("cifar-10", tmp_path, QUIET, missing)


def test_an_archive_that_would_leave_its_folder(publisher, tmp_path):
    publisher.content = tarball(folder="../outside")
    with pytest.raises(DataError, match="cannot unpack"):
        make_available("cifar-10", tmp_path / "data", QUIET, archive_of(publisher))
    assert not (tmp_path / "outside").exists()


def test_a_zip_archive(publisher, tmp_path):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as contents:
        contents.writestr("tiny-imagenet-200/wnids.txt", "n1\n")
    publisher.content = file.getvalue()
    url = publisher.url.replace("tar.gz", "zip")
    archive = Archive(url, hashlib.md5(publisher.content).hexdigest(), "tiny-imagenet-200")
    folder = make_available("tiny-imagenet", tmp_path, QUIET, archive)
    assert (folder / "wnids.txt").read_text() == "n1\n"


def test_a_folder_that_cannot_be_written(publisher, tmp_path):
    (tmp_path / "data").write_text("a file")
    publisher.content = tarball()
    with pytest.raises(DataError, match="cannot store"):
        make_available("cifar-10", tmp_path / "data", QUIET, archive_of(publisher))

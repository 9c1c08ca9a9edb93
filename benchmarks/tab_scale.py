"""Time and size of the Sparsity tab's answers on large log directories, with both loaders.

    python benchmarks/tab_scale.py [--folder DIR] [--layers 60] [--epochs 1000] [--runs 200]

Makes (once) a log directory of one deep, long run and one of many runs, serves each with a real
TensorBoard, and prints a table: seconds for the first answer, for the second (TensorBoard and our
store warm) and for one that the browser has already (304); bytes before and after compression.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import http.client
import json
import re
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
from numpy.typing import NDArray

from sparsight.maths.correlation import CorrelationSummary, correlation_summary
from sparsight.measure.measurement import LayerMeasurement
from sparsight.probes.probe_set import shown_probes
from sparsight.runs.writer import RunWriter
from sparsight.schema import COLUMNS, LayerInfo

PROBES = 16
LOADERS = {"rust": "true", "python": "false"}


# -- log directories ------------------------------------------------------------------------------


def fields(rng: np.random.Generator, count: int, side: int) -> NDArray[np.float32]:
    """Smooth maps between 0 and 1, with a little noise, as entropy maps of images are."""
    coarse = rng.random((count, 5, 5))
    at = np.linspace(0, 4, side)
    low = np.minimum(at.astype(int), 3)
    part = at - low
    rows = coarse[:, low] * (1 - part)[:, None] + coarse[:, low + 1] * part[:, None]
    maps = rows[:, :, low] * (1 - part) + rows[:, :, low + 1] * part
    return np.asarray(0.9 * maps + 0.1 * rng.random(maps.shape), np.float32)


def measured(
    layer: LayerInfo, maps: NDArray[np.float32], correlation: CorrelationSummary, decay: float
) -> LayerMeasurement:
    maps = maps * np.float32(np.log(layer.channels) * decay)
    values = {column.name: float(maps.mean()) for column in COLUMNS}
    return LayerMeasurement(
        layer, values, maps, tuple(range(PROBES)), maps.mean(axis=0), correlation
    )


def write_run(folder: Path, layers: int, epochs: int, side: int, seed: int) -> None:
    """A run whose entropies fall, deeper layers faster, and whose validation loss turns."""
    rng = np.random.default_rng(seed)
    infos = [
        LayerInfo(f"blocks.{n}.conv", "Conv2d", 64, (side, side), 1, "linear output")
        for n in range(layers)
    ]
    maps = [fields(rng, PROBES, side) for _ in range(8)]
    correlation = correlation_summary(rng.normal(size=(64, 27)))
    probes = shown_probes([rng.random((PROBES, 3, side, side)).astype(np.float32)], range(PROBES))
    with RunWriter(folder) as writer:
        for epoch in range(-1, epochs - 1):
            state = [
                measured(
                    info,
                    maps[(epoch + n) % len(maps)],
                    correlation,
                    1 - 0.8 * (n / layers) * (epoch + 1) / epochs,
                )
                for n, info in enumerate(infos)
            ]
            loss = abs(epoch - epochs / 3) / epochs + 1
            writer.write(
                epoch,
                state,
                probes=probes,
                global_step=100 * (epoch + 1),
                scalars={"loss/validation": loss, "loss/training": 1 / (epoch + 2)},
            )
            show(f"{folder.name}: epoch {epoch + 2} of {epochs}")


def make(folder: Path, arguments: argparse.Namespace) -> dict[str, Path]:
    """Both log directories; a finished one is used again."""
    deep = folder / f"deep-{arguments.layers}x{arguments.epochs}"
    many = folder / f"many-{arguments.runs}"
    for root in (deep, many):
        if (root / "finished").exists():
            continue
        if root is deep:
            write_run(root / "deep", arguments.layers, arguments.epochs, 32, 0)
        else:
            for run in range(arguments.runs):
                write_run(root / f"group{run % 10}" / f"run{run}", 12, 60, 8, run)
        (root / "finished").touch()
    return {"deep": deep, "many": many}


def show(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r{text:60}", end="", file=sys.stderr)


# -- TensorBoard ----------------------------------------------------------------------------------


class Board:
    """A TensorBoard, and requests to its Sparsity tab."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self.process, self._port = process, port

    def ask(self, path: str, etag: str = "", **query: Any) -> tuple[float, bytes, int, str]:
        """Seconds, body, bytes on the wire, ETag."""
        headers = {"Accept-Encoding": "gzip", "If-None-Match": etag}
        text = urlencode({name.rstrip("_"): value for name, value in query.items()})
        connection = http.client.HTTPConnection("localhost", self._port, timeout=600)
        with contextlib.closing(connection):
            start = time.perf_counter()
            connection.request("GET", f"/data/plugin/sparsity/{path}?{text}", headers=headers)
            reply = connection.getresponse()
            wire = reply.read()
            seconds = time.perf_counter() - start
        if reply.status not in (200, 304):
            raise SystemExit(f"{path} {query}: {reply.status} {gzip.decompress(wire).decode()}")
        body = gzip.decompress(wire) if wire else b""
        return seconds, body, len(wire), reply.headers["ETag"]

    def memory(self) -> float:
        """Resident megabytes of TensorBoard's own process, without the Rust data server."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.findall(r"VmRSS:\s+(\d+)", status)[0]) / 1024


@contextlib.contextmanager
def serving(logdir: Path, loader: str) -> Iterator[Board]:
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(logdir), "--port=0"]
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            [*command, f"--load_fast={LOADERS[loader]}"], stdout=log, stderr=log, text=True
        )
        try:
            while not (found := re.search(r"http://\S+?:(\d+)/", read(log))):
                if process.poll() is not None:
                    raise SystemExit(f"TensorBoard did not start: {read(log)}")
                time.sleep(0.1)
            yield Board(process, int(found[1]))
        finally:
            process.terminate()
            process.wait()


def read(log: Any) -> str:
    log.seek(0)
    return str(log.read())


def wait_until_loaded(board: Board, runs: int, steps: int) -> float:
    """Seconds until every step is there."""
    start = time.perf_counter()
    while True:
        index = json.loads(board.ask("index")[1])["runs"]
        if len(index) == runs and all(run["steps"] >= steps for run in index):
            return time.perf_counter() - start
        show(f"loading: {sum(run['steps'] for run in index)} steps of {runs * steps}")
        time.sleep(1)


# -- the table ------------------------------------------------------------------------------------


def measure(board: Board, what: str, path: str, **query: Any) -> None:
    seconds, body, wire, etag = board.ask(path, **query)
    again = statistics.median(board.ask(path, **query)[0] for _ in range(5))
    known = statistics.median(board.ask(path, etag, **query)[0] for _ in range(5))
    row = f"{what:34}{seconds:9.3f}{again:9.3f}{known:9.3f}{len(body):14,}{wire:12,}"
    print(row + f"{board.memory():9.0f}  {truncated(body)}")


def truncated(body: bytes) -> str:
    """Where an answer had to end before the last step."""
    if body.startswith(b"{"):
        return ""
    (length,) = struct.unpack_from("<I", body)
    step = json.loads(body[4 : 4 + length])["truncated_at"]
    return "" if step is None else f"ends before step {step}"


def report(loader: str, folders: dict[str, Path], arguments: argparse.Namespace) -> None:
    print(f"\n{loader:34}    first    again      304         bytes        gzip       MB")
    with serving(folders["deep"], loader) as board:
        loaded = wait_until_loaded(board, 1, arguments.epochs)
        print(f"{arguments.layers} layers x {arguments.epochs} epochs, loaded in {loaded:.0f} s")
        layer = "blocks.7.conv"
        for path in ("index", "version"):
            measure(board, path, path)
        measure(board, "layers", "layers", run="deep")
        measure(board, "maps, one layer, one probe", "maps", run="deep", layer=layer, probe=3)
        measure(board, "maps, one layer, all probes", "maps", run="deep", layer=layer)
        measure(board, "correlation, one layer", "correlation", run="deep", layer=layer)
        measure(board, "probes", "probes", run="deep")
        measure(board, "scalars", "scalars", run="deep", tag="loss/validation")
        start = time.perf_counter()
        for number in range(arguments.layers):
            board.ask("maps", run="deep", layer=f"blocks.{number}.conv", probe=5)
        print(f"maps of every layer, one probe: {time.perf_counter() - start:.1f} s")
    with serving(folders["many"], loader) as board:
        loaded = wait_until_loaded(board, arguments.runs, 60)
        print(f"{arguments.runs} runs, 12 layers x 60 epochs, loaded in {loaded:.0f} s")
        for path in ("index", "version"):
            measure(board, path, path)
        measure(board, "layers of one run", "layers", run="group3/run3")
        measure(board, "scalar names of one run", "scalars", run="group3/run3")
    with serving(folders["many"], loader) as board:
        time.sleep(loaded + 10)
        measure(board, "index, nothing asked before", "index")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "tab_scale")
    parser.add_argument("--layers", type=int, default=60)
    parser.add_argument("--epochs", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--loader", choices=[*LOADERS, "both"], default="both")
    arguments = parser.parse_args()
    folders = make(arguments.folder, arguments)
    for loader in LOADERS if arguments.loader == "both" else [arguments.loader]:
        report(loader, folders, arguments)


if __name__ == "__main__":
    main()

"""Log directories with known content, and real TensorBoard processes that serve them."""

from __future__ import annotations

import contextlib
import http.client
import json
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import numpy as np
from tests.tensorboards import TensorBoard, tensorboard

from sparsight import schema
from sparsight.maths.correlation import correlation_summary
from sparsight.measure.accumulator import LayerAccumulator
from sparsight.measure.batch import BatchStatistics
from sparsight.measure.measurement import LayerMeasurement
from sparsight.probes.probe_set import shown_probes
from sparsight.runs.writer import EventSink, RunWriter

PROVIDERS = {"rust": "GrpcDataProvider", "python": "MultiplexerDataProvider"}


def measure(
    name: str, channels: int, step: int, shape: tuple[int, ...] = (4, 6), probes: int = 5
) -> LayerMeasurement:
    """A layer whose entropy tells layer, step and position: checked by tests to the last bit."""
    rng = np.random.default_rng([step + 1, channels])
    entropy = rng.uniform(0, np.log(channels), (probes, *shape)).astype(np.float32)
    layer = schema.LayerInfo(name, "Conv2d", channels, shape, 1, "linear output")
    accumulator = LayerAccumulator(layer, (0, 1, 2))
    accumulator.update(BatchStatistics(entropy, {"rms": entropy + 1}), first=0)
    return accumulator.result(correlation_summary(rng.normal(size=(channels, 9))))


def network(step: int, layers: Mapping[str, int]) -> list[LayerMeasurement]:
    """All layers at one step."""
    return [measure(name, channels, step) for name, channels in layers.items()]


PROBES = shown_probes([np.arange(5 * 64, dtype=np.float32).reshape(5, 1, 8, 8)], [0, 1, 2])


def write_run(
    folder: Path,
    steps: Sequence[int],
    layers: Mapping[str, int] | None = None,
    *,
    start: float = 1.7e9,
    losses: bool = False,
    sink: EventSink | None = None,
) -> None:
    """One process that records these steps, ten seconds each."""
    with RunWriter(folder, sink) as writer:
        for number, step in enumerate(steps):
            writer.write(
                step,
                network(step, layers or {"conv1": 8, "fc1": 16}),
                probes=PROBES,
                global_step=100 * (step + 1),
                wall_time=start + 10 * number,
                scalars={"loss/validation": float(loss_at(step))} if losses else None,
            )


def loss_at(step: int) -> float:
    """A validation loss that turns at epoch 10."""
    return 1 + abs(step - 10) / 10


@dataclass(frozen=True)
class Reply:
    """What a server answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    def frame(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Header and arrays of a binary answer, decoded as http_api.md says."""
        assert self.status == 200, self.body
        return decode_frame(self.body)


def decode_frame(body: bytes) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    (length,) = struct.unpack_from("<I", body)
    header = json.loads(body[4 : 4 + length])
    arrays, at = {}, 4 + length
    for entry in header["arrays"]:
        assert at % 8 == 0
        dtype = np.dtype(entry["dtype"]).newbyteorder("<")
        count = int(np.prod(entry["shape"], dtype=np.int64))
        array = np.frombuffer(body, dtype, count, at).reshape(entry["shape"])
        arrays[entry["name"]] = array
        at += -(-array.nbytes // 8) * 8
    assert at == len(body)
    return header, arrays


class Board:
    """A TensorBoard, and requests to it."""

    def __init__(self, server: TensorBoard, loader: str) -> None:
        self.loader = loader
        self.server = server
        self.wait_until = server.wait_until
        address = urlsplit(server.address)
        self.port, self.prefix = address.port, address.path

    def get(
        self, path: str, headers: Mapping[str, str] | None = None, method: str = "GET", **query: Any
    ) -> Reply:
        """Answer of one of the plugin's routes (or of TensorBoard's, for a path from the root)."""
        where = path if path.startswith("/") else f"/data/plugin/sparsity/{path}"
        text = urlencode({name.rstrip("_"): value for name, value in query.items()})
        connection = http.client.HTTPConnection("localhost", self.port)
        with contextlib.closing(connection):
            connection.request(
                method,
                f"{self.prefix}{where}" + (f"?{text}" if text else ""),
                headers=headers or {},
            )
            reply = connection.getresponse()
            return Reply(reply.status, dict(reply.getheaders()), reply.read())

    def wait_for(self, **steps: int) -> None:
        """Wait until these runs have so many steps."""

        def loaded() -> bool:
            found = {run["run"]: run["steps"] for run in self.get("index").json()["runs"]}
            return all(found.get(run, 0) >= count for run, count in steps.items())

        self.wait_until(loaded)


@contextlib.contextmanager
def serving(logdir: Path, loader: str, *flags: str) -> Iterator[Board]:
    """A TensorBoard that is ended."""
    with tensorboard(logdir, loader, *flags) as server:
        yield Board(server, loader)
        server.close()
        log = server.log
    assert "Traceback" not in log, log

"""What the store does about data providers that fail, and what it keeps."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import grpc
import numpy as np
import pytest
from tensorboard import errors as tensorboard_errors
from tensorboard.data import provider as data_provider

from sparsight import schema
from sparsight.errors import RunError
from sparsight_tensorboard.arrivals import Arrivals
from sparsight_tensorboard.cache import Cache
from sparsight_tensorboard.provider import Provider, Scope
from sparsight_tensorboard.store import MeasurementStore

SCOPE = Scope(None, "")
LAYERS = [schema.LayerInfo("a", "Conv", 8, (2, 2), 1, "linear output")]
METADATA = schema.encode_layers(LAYERS)
TAG = schema.tag_of("layers", METADATA)


class Refused(grpc.RpcError):
    """As gRPC raises it."""

    def __init__(self, code: grpc.StatusCode) -> None:
        self._code = code

    def code(self) -> grpc.StatusCode:
        return self._code


class Loaded:
    """A data provider of one run; what it holds, and how it fails, is up to the test."""

    def __init__(self, read: Callable[[int], list[Any]], metadata: bytes = METADATA) -> None:
        self.read, self.metadata = read, metadata
        self.lists = self.reads = 0

    def list_tensors(self, *_: Any, plugin_name: str, **__: Any) -> Any:
        self.lists += 1
        entry = data_provider.TensorTimeSeries(
            max_step=9,
            max_wall_time=9.0,
            plugin_content=self.metadata,
            description="",
            display_name="",
        )
        return {"run": {TAG: entry}} if plugin_name == schema.LAYERS_PLUGIN else {}

    def list_scalars(self, *_: Any, **__: Any) -> Any:
        return {}

    def read_tensors(self, *_: Any, downsample: int, **__: Any) -> Any:
        self.reads += 1
        return {"run": {TAG: self.read(downsample)}}


def data(steps: int) -> list[Any]:
    table = np.zeros((1, len(schema.COLUMNS)), np.float32)
    return [SimpleNamespace(step=s, wall_time=float(s), numpy=table) for s in range(steps)]


def warnings_of(provider: Loaded) -> tuple[int, str]:
    store = MeasurementStore(Provider(provider))
    tables = store.tables(SCOPE, "run", store.tags(SCOPE, "run"))
    return len(tables.steps), "\n".join(tables.warnings)


def test_a_tag_that_does_not_fit_into_a_message_is_thinned() -> None:
    def read(downsample: int) -> list[Any]:
        if downsample > 1000:
            raise Refused(grpc.StatusCode.RESOURCE_EXHAUSTED)
        return data(downsample)

    steps, warnings = warnings_of(Loaded(read))
    assert steps == 1000
    assert warnings == f"{TAG} is too large to read at once: only 1000 of its steps are shown"


def test_a_tag_that_never_fits_is_left_out() -> None:
    def read(_: int) -> list[Any]:
        raise Refused(grpc.StatusCode.RESOURCE_EXHAUSTED)

    assert warnings_of(Loaded(read)) == (
        0,
        f"{TAG} is left out: its records are too large to read",
    )


@pytest.mark.parametrize("error", [ValueError("x\ny" * 999), MemoryError(), KeyError("gone")])
def test_a_tag_that_cannot_be_read_is_left_out(error: Exception) -> None:
    def read(_: int) -> list[Any]:
        raise error

    provider = Loaded(read)
    steps, warnings = warnings_of(provider)
    assert (steps, provider.reads) == (0, 1)
    assert warnings.startswith(f"{TAG} is left out: TensorBoard cannot read it (")
    assert "\n" not in warnings
    assert len(warnings) < 400


def test_a_data_server_that_is_gone() -> None:
    provider = Loaded(lambda _: [])
    provider.list_tensors = lambda *_, **__: raise_(Refused(grpc.StatusCode.UNAVAILABLE))
    with pytest.raises(RunError, match="cannot read TensorBoard's data"):
        MeasurementStore(Provider(provider)).runs(SCOPE)


def test_tensorboards_own_refusals_are_its_to_answer() -> None:
    provider = Loaded(lambda _: [])
    denied = tensorboard_errors.PermissionDeniedError("not yours")
    provider.list_tensors = lambda *_, **__: raise_(denied)
    with pytest.raises(tensorboard_errors.PermissionDeniedError):
        MeasurementStore(Provider(provider)).runs(SCOPE)


def raise_(error: Exception) -> Any:
    raise error


def test_nothing_is_read_twice() -> None:
    provider = Loaded(lambda _: data(3))
    store = MeasurementStore(Provider(provider))
    for _ in range(5):
        tags = store.tags(SCOPE, "run")
        store.tables(SCOPE, "run", tags)
        store.layer_tags(SCOPE, "run", tags, "maps", "a")
        store.summaries(SCOPE, store.runs(SCOPE), store.scalars(SCOPE))
    assert (provider.reads, provider.lists) == (1, 2)
    store.runs(SCOPE, fresh=True)
    assert provider.lists == 3


@pytest.mark.parametrize(
    "metadata", [b"", b"[]", b"{", b'{"layer": NaN}', b"[" * 100_000, b"\xff", b'{"version": 1}']
)
def test_metadata_of_any_kind_can_be_summarised(metadata: bytes) -> None:
    store = MeasurementStore(Provider(Loaded(lambda _: data(3), metadata)))
    (summary,) = store.summaries(SCOPE, store.runs(SCOPE), {})
    assert (summary.steps, summary.probe_digest, summary.probe_count) == (0, None, None)
    assert len(summary.warnings) == 1


# -- what is kept ---------------------------------------------------------------------------------


def test_a_cache_forgets_what_was_not_used_lately() -> None:
    cache: Cache[str] = Cache(100)
    made: list[str] = []

    def get(key: str, size: int = 40) -> str:
        def make() -> tuple[str, int]:
            made.append(key)
            return key, size

        return cache.get(key, make)

    for key in ("a", "b", "a", "c", "a", "b"):
        assert get(key) == key
    assert made == ["a", "b", "c", "b"]
    get("large", 1000)  # answered, but not kept
    get("large", 1000)
    assert made[4:] == ["large", "large"]
    assert get("b") == "b"
    assert len(made) == 6


def test_a_cache_that_many_threads_use() -> None:
    cache: Cache[int] = Cache(50)
    wrong: list[int] = []

    def use() -> None:
        for number in range(2000):
            key = number % 9
            if cache.get(key, lambda key=key: (key, 10)) != key:
                wrong.append(key)

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert cache._room >= 0


def test_old_records_that_arrive_are_a_sign_of_loading() -> None:
    now = 1000.0
    arrivals = Arrivals(lambda: now)
    assert arrivals.late({"old": 10.0, "live": 999.0})
    now = 1003.0
    assert arrivals.late({"old": 20.0, "live": 1002.0})
    now = 1008.9
    assert arrivals.late({"old": 20.0, "live": 1007.0})
    now = 1009.1
    assert not arrivals.late({"old": 20.0, "live": 1008.0})
    now = 1100.0  # a run that is seen for the first time, long after the start, is complete
    assert not arrivals.late({"old": 20.0, "live": 1099.0, "other": 5.0})
    assert not arrivals.late({})

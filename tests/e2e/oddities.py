"""A log directory of runs that are odd, broken, or made to do harm."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
from tests.e2e.synthetic import SMALL, Plan, layer, write_run
from tests.tb_plugin import boards
from tests.tb_plugin.damage import huge_tensor, map_header, maps_value, packed, raw

from sparsight import schema
from sparsight.measure.accumulator import LayerAccumulator
from sparsight.measure.batch import BatchStatistics
from sparsight.runs import events
from sparsight.runs.writer import RunWriter
from sparsight.schema import LayerInfo

MARK = "window.top.stolen = true"
NAMES = (
    f"<img src=x onerror='{MARK}'>",
    f"<script>{MARK}</script>",
    "../../../etc/passwd",
    "conv" + "x" * 10_000,
    'a"b&c=d#e?f%g',
    "\u202egnirts desrever",
    "__proto__",
)
HOSTILE = f"<b onmouseover='{MARK}'>run"

SIGNAL = (layer("conv1", 16, 48), layer("conv2", 32, 24), layer("fc", 64, 1, 1))
SOLID = (layer("conv1", 16, 6, 12, 16), layer("conv2", 32, 3, 6, 8))

STEPS = {
    HOSTILE: 5,
    "nan": 4,
    "changing": 8,
    "whole": 7,
    "resumed": 26,
    "other probes": 5,
    "signals": 8,
    "solids": 8,
    "reshaped": 6,
    "terabyte": 3,
    "damaged maps": 3,
    "mixed": 3,
}
"""How many steps of each run can be read."""


def write_oddities(root: Path) -> None:
    """Write them all."""
    hostile = tuple(layer(name, 16, 8, 8) for name in NAMES)
    write_run(root / HOSTILE, Plan(layers=hostile, epochs=3, probes=3, shown=2))
    _nothing_but_nan(root / "nan")
    _layers_that_come_and_go(root / "changing")
    _broken_files(root)
    last = SMALL[-2:]
    write_run(root / "resumed", Plan(layers=last, epochs=20, shown=1))
    write_run(root / "resumed", Plan(layers=last, epochs=24, shown=1, seed=5), first=12)
    write_run(root / "other probes", Plan(layers=SMALL[-1:], epochs=3, shown=1, probes=9))
    write_run(root / "signals", Plan(layers=SIGNAL, epochs=6, kind="series", shown=3))
    write_run(root / "solids", Plan(layers=SOLID, epochs=6, kind="solid", shown=3))
    write_run(root / "reshaped", Plan(layers=(layer("conv1", 16, 8, 8),), epochs=1, shown=1))
    newer = Plan(layers=(layer("conv1", 16, 4, 4),), epochs=4, shown=1)
    write_run(root / "reshaped", newer, first=2)
    _lies(root)


def _nothing_but_nan(folder: Path) -> None:
    info = LayerInfo("conv", "Conv2d", 8, (4, 4), 1, "linear output", None)
    with RunWriter(folder) as writer:
        for epoch in range(-1, 3):
            accumulator = LayerAccumulator(info, (0, 1))
            accumulator.update(BatchStatistics(np.full((2, 4, 4), np.nan, np.float32)), first=0)
            with np.errstate(all="ignore"):
                writer.write(epoch, [accumulator.result()])


def _layers_that_come_and_go(folder: Path) -> None:
    with RunWriter(folder) as writer:
        write_run(folder, Plan(layers=SMALL[:2], epochs=3, shown=2), writer)
    with RunWriter(folder) as writer:
        plan = Plan(layers=(SMALL[0], SMALL[4]), epochs=6, shown=2)
        write_run(folder, plan, writer, first=4)


def _broken_files(root: Path) -> None:
    write_run(root / "cut", Plan(layers=SMALL[-1:], epochs=5, shown=1))
    write_run(root / "whole", Plan(layers=SMALL[-1:], epochs=5, shown=1))
    (file,) = (root / "cut").iterdir()
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * 0.7)])
    (root / "noise").mkdir()
    (root / "noise" / "events.out.tfevents.1.x").write_bytes(bytes(range(256)) * 40)


def _lies(root: Path) -> None:
    """Records of an unknown version, and such as say that they are a terabyte."""
    future = b'{"version": 99, "layer": "conv1"}'
    table = np.zeros((2, 2), np.float32)
    value = events.tensor_value("sparsity/layers/f", table, schema.LAYERS_PLUGIN, future)
    raw(root / "future", (0, [value]), (1, [value]))
    boards.write_run(root / "mixed", range(3))
    raw(root / "mixed", (3, [value]))

    boards.write_run(root / "damaged maps", range(3), {"conv1": 8})
    bomb = zlib.compress(bytes(2**27), 9)
    terabyte = packed(map_header(size=2**40, shape=[1, 2**20, 2**20]), bomb)
    raw(root / "damaged maps", (3, [maps_value("conv1", terabyte)]))

    boards.write_run(root / "terabyte", range(3))
    metadata = schema.encode_metadata(layer="conv1", shape=[4, 6])
    tensor = huge_tensor(schema.tag_of("maps", metadata), schema.MAPS_PLUGIN, metadata)
    raw(root / "terabyte", (3, [tensor]))

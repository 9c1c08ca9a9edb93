"""Whether an instrumented model agrees with the loop, layer by layer."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from tests.core import reference
from tests.core.graphs import whole

from sparsight.graph.instrument import instrument
from sparsight.graph.model import Model
from sparsight.graph.taps import Tap, filters, find_taps
from sparsight.inference.session import TapSession


def assert_agreement(model: Model, feeds: dict[str, NDArray], samples: int = 100) -> int:
    """All layers, at some positions: the loop is slow. The number of layers."""
    taps = find_taps(model).taps
    count = len(next(iter(feeds.values())))
    measured = TapSession(instrument(model, taps), taps, "cpu").run(feeds, count).layers
    tensors = tapped_tensors(model, taps, feeds)
    for tap in taps:
        batch, tensor = measured[tap.name], tensors[tap.tensor]
        axis = tap.channel_axis
        check(batch.entropy, reference.entropy, tensor, axis, tap, samples)
        assert batch.companions.keys() == reference.OF_EACH_RFAV.keys()
        for name, function in reference.OF_EACH_RFAV.items():
            check(batch.companions[name], function, tensor, axis, tap, samples)
        others = tuple(other for other in range(tensor.ndim) if other != axis % tensor.ndim)
        sums, sizes = (
            tensor.sum(others, dtype=np.float64),
            np.abs(tensor).sum(others, dtype=np.float64),
        )
        # the graph adds in float32, over 12,000 positions in the largest maps
        np.testing.assert_allclose(batch.channel_sums, sums, atol=5e-5 * sizes.max())
        if tap.relu == tap.tensor:
            assert batch.relu_zeros == (tensor <= 0).sum()
        rows = filters(model, tap)
        assert len(rows) == tap.channels == tensor.shape[axis]
    return len(taps)


def tapped_tensors(model: Model, taps: tuple[Tap, ...], feeds: dict) -> dict[str, NDArray]:
    """As the instrumented model computes them: beside taps, layers are fused in other ways."""
    proto = whole(instrument(model, taps).content, model.weights)
    names = list(dict.fromkeys(tap.tensor for tap in taps))
    known = {value.name for value in proto.graph.output}
    proto.graph.output.extend(onnx.ValueInfoProto(name=n) for n in names if n not in known)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return dict(zip(names, session.run(names, feeds), strict=True))


def check(measured, function, tensor, axis, tap, samples):
    rows = np.moveaxis(tensor, axis, -1).reshape(-1, tap.channels)
    assert measured.size == len(rows), tap
    chosen = np.random.default_rng(0).permutation(len(rows))[:samples]
    wanted = np.array([function(row) for row in rows[chosen]])
    tolerance = 1e-4 * max(1.0, float(np.abs(wanted[np.isfinite(wanted)]).max(initial=0)))
    found = measured.reshape(-1)[chosen]
    np.testing.assert_allclose(found, wanted, atol=tolerance, err_msg=tap.name)

"""A recurrent network exported with its states as inputs, against PyTorch."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import sparsight
from sparsight.maths.entropy import rfav_entropy


class Listener(nn.Module):
    """An LSTM of two layers between two dense ones; its states are [2, N, 6]."""

    def __init__(self) -> None:
        super().__init__()
        self.into = nn.Linear(5, 8)
        self.lstm = nn.LSTM(8, 6, num_layers=2, batch_first=True)
        self.hidden = nn.Linear(6, 7)
        self.out = nn.Linear(7, 3)

    def forward(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        values, (h, c) = self.lstm(torch.relu(self.into(x)), (h, c))
        return self.out(torch.relu(self.hidden(values))), h, c


@pytest.fixture(scope="module")
def net() -> Listener:
    torch.manual_seed(0)
    net = Listener()
    for parameter in net.parameters():
        nn.init.normal_(parameter)
    return net.eval()


INPUTS = (torch.randn(9, 4, 5), torch.randn(2, 9, 6), torch.randn(2, 9, 6))


@pytest.mark.parametrize("named", [True, False])
def test_an_lstm_with_its_states(net, named, tmp_path):
    """Each probe has states of its own; a name of the batch dimension tells where, or the user."""
    axes = (0, 1, 1)
    batch = torch.export.Dim("batch") if named else torch.export.Dim.DYNAMIC
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's remarks on its own insides
        program = torch.onnx.export(
            net,
            tuple(value.narrow(axis, 0, 3) for value, axis in zip(INPUTS, axes, strict=True)),
            dynamo=True,
            verbose=False,
            input_names=["x", "h", "c"],
            dynamic_shapes=tuple({axis: batch} for axis in axes),
        )
    proto = program.model_proto
    if not named:
        for value in proto.graph.input:
            for dim in value.type.tensor_type.shape.dim:
                if dim.dim_param:
                    dim.ClearField("dim_param")
    path = tmp_path / "listener.onnx"
    path.write_bytes(proto.SerializeToString())
    probes = dict(zip("xhc", (value.numpy() for value in INPUTS), strict=True))
    found = {
        m.layer.channels: m
        for m in sparsight.analyze(
            path,
            probes,
            layers=["*"],
            device="cpu",
            batch_size=4,
            shown=9,
            input_axes=None if named else {"h": 1, "c": 1},
        )
    }
    linear: dict[int, np.ndarray] = {}
    hooks = [
        layer.register_forward_hook(
            lambda _, __, output: linear.update({output.shape[-1]: output.detach().numpy()})
        )
        for layer in (net.into, net.hidden, net.out)
    ]
    net(*INPUTS)
    for hook in hooks:
        hook.remove()
    assert set(linear) == {8, 7, 3}
    for channels, output in linear.items():
        expected = rfav_entropy(output, axis=-1)
        np.testing.assert_allclose(found[channels].maps, expected, atol=1e-4)
    if not named:
        with pytest.raises(sparsight.SparsightError, match="--input-axis"):
            sparsight.analyze(path, probes, layers=["*"], device="cpu")

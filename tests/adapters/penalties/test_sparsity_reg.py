"""SparsityReg's own: the tests of all penalties on activations are those of their base."""

import pytest
import torch
from torch import Tensor, nn

from sparsight.errors import TargetError, UsageError
from sparsight_torch import SparsityReg


@pytest.fixture
def images() -> Tensor:
    return torch.randn(5, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def test_a_layer_of_one_channel_has_no_entropy(images):
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 1, 3), nn.ReLU())
    with pytest.raises(TargetError, match="'1' has one channel, whose entropy is always 0"):
        SparsityReg(model, {nn.Conv2d: 1e-3})
    with pytest.raises(TargetError, match="nothing at any of the targets"):
        SparsityReg(model, {"1": 0.0})
    chosen = SparsityReg(model, {nn.Conv2d: 1e-3, "1": 0})
    assert [target.name for target in chosen.targets] == ["0"]
    late = SparsityReg(model, {"2": 1e-3}, at="activation")
    with pytest.raises(UsageError, match="'2' has one channel"):
        model(images)
    late.detach()

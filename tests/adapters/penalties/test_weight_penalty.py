"""Penalties on weights that are no DecorrReg."""

import pytest
import torch
from torch import Tensor, nn

from sparsight.errors import TargetError
from sparsight_torch import WeightPenalty


class Group(WeightPenalty):
    """Group lasso: the sum of the filters' lengths."""

    kind = "group"

    def term(self, filters: Tensor) -> Tensor:
        return filters.norm(dim=1).sum()

    def without_effect(self, name: str, filters: int, weights: int) -> str | None:
        return f"{name!r} has one filter" if filters == 1 else None


def test_a_penalty_of_ones_own():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 1, 3))
    penalty = Group(model, {"0": lambda step: 0.5 / (1 + step)})
    exact = sum(row.norm() for row in model[0].weight.flatten(1))
    for step in range(3):
        torch.testing.assert_close(penalty(), 0.5 / (1 + step) * exact)
    assert penalty.state_dict() == {"step": 3}
    with pytest.raises(TargetError, match="do nothing: '2' has one filter"):
        Group(model, {nn.Conv2d: 1.0})
    with pytest.warns(UserWarning, match="older Group on '0' is detached"):
        Group(model, {"0": 1.0})


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_its_term_gets_float32_also_under_autocast(dtype):
    class Gram(WeightPenalty):
        def term(self, filters: Tensor) -> Tensor:
            return (filters @ filters.T).sum()

    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 32)).to(dtype)
    with torch.autocast("cpu", torch.bfloat16):
        value = Gram(model, {"0": 1.0})()
    weights = model[0].weight.double()
    torch.testing.assert_close(value.double(), (weights @ weights.T).sum(), rtol=1e-5, atol=1e-5)

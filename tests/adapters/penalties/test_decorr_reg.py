"""DecorrReg, and what all penalties on weights refuse."""

import pytest
import torch
from torch import Tensor, nn

from sparsight.errors import TargetError, UsageError
from sparsight_torch import DecorrReg
from sparsight_torch.functional import decorrelation_penalty


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 4))


@pytest.fixture
def images() -> Tensor:
    return torch.randn(5, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def test_decorrelation_after_detaching_is_an_error():
    decorrelation = DecorrReg(network(), {"0": 1e-3})
    decorrelation.detach()
    with pytest.raises(UsageError, match="DecorrReg is detached"):
        decorrelation()


@pytest.mark.parametrize("centre", ["own", "filters"])
@pytest.mark.parametrize("number", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_filters_are_refused_where_their_correlations_have_no_gradient(centre, number, size):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(size, number).double())
    weights = model[0].weight
    total = decorrelation_penalty(weights, 1.0, "squared", centre)
    total = total + decorrelation_penalty(weights, 1.0, "signed", centre)
    (gradient,) = torch.autograd.grad(total, weights)
    if gradient.abs().max() > 1e-10:
        DecorrReg(model, {"0": 1.0}, centre=centre)()
    else:
        with pytest.raises(TargetError, match=f"'0' has {number} filters of {size} weights"):
            DecorrReg(model, {"0": 1.0}, centre=centre)


def test_a_depthwise_layer_of_single_weights_is_refused():
    with pytest.raises(TargetError, match="8 filters of 1 weights"):
        DecorrReg(nn.Sequential(nn.Conv2d(8, 8, 1, groups=8)), {"0": 1.0})


def test_lazy_layers_are_checked_when_they_have_weights(images):
    model = nn.Sequential(nn.LazyConv2d(4, 1))
    decorrelation = DecorrReg(model, {"0": 1.0})
    model(images[:, :1])
    with pytest.raises(UsageError, match="4 filters of 1 weights"):
        decorrelation()


def test_frozen_weights_with_a_trainable_bias_are_frozen():
    model = network()
    model[0].weight.requires_grad_(False)
    with pytest.raises(TargetError, match="weights of '0' are frozen"):
        DecorrReg(model, {"0": 1.0})
    normed = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(4, 4)))
    DecorrReg(normed, {"0": 1.0})()
    for parameter in normed[0].parametrizations.parameters():
        parameter.requires_grad_(False)
    with pytest.raises(TargetError, match="weights of '0' are frozen"):
        DecorrReg(normed, {"0": 1.0})


def test_a_check_does_not_move_spectral_norm():
    """Asking for its weight is a step of the power iteration."""
    model = nn.Sequential(nn.utils.parametrizations.spectral_norm(nn.Linear(4, 4)))
    before = model.state_dict()["0.parametrizations.weight.0._u"].clone()
    DecorrReg(model, {"0": 1.0})
    assert torch.equal(before, model.state_dict()["0.parametrizations.weight.0._u"])


def test_a_target_that_was_wrapped_is_not_replaced():
    model = network()
    decorrelation = DecorrReg(model, {"0": 1.0})
    model[0] = torch.compile(model[0], backend="eager")
    assert decorrelation().requires_grad


def test_decorrelation_trains_filters_apart():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 6, 3))
    with torch.no_grad():
        model[0].weight[1] = model[0].weight[0] + 0.01 * torch.randn(3, 3, 3)
    decorrelation = DecorrReg(model, {"0": 1.0})
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    before = decorrelation().item()
    for _ in range(50):
        optimizer.zero_grad()
        decorrelation().backward()
        optimizer.step()
    assert decorrelation().item() < before - 1
    assert decorrelation.step == 52

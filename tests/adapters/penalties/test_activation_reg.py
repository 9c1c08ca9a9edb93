"""ActivationReg's own: the tests of all penalties on activations are those of their base."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.adapters.reference import entropy, mean_square
from torch import Tensor, nn

from sparsight_torch import ActivationReg, SparsityReg

SHAPES = st.lists(st.integers(1, 5), min_size=1, max_size=3)


def penalised(activations: Tensor, axis: int, strength: float = 1.0, **options) -> Tensor:
    """The penalty of activations, as those of a network that does nothing else."""
    model = nn.Sequential(nn.Identity())
    penalty = ActivationReg(model, {"0": strength}, at="activation", axis=axis, **options)
    model(activations)
    value = penalty()
    penalty.detach()
    return value


def drawn(shape: list[int], seed: int) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=random, dtype=torch.float64).requires_grad_()


@st.composite
def activations(draw) -> tuple[Tensor, int]:
    shape = [draw(st.integers(1, 4)), *draw(SHAPES)]
    return drawn(shape, draw(st.integers(0, 99))), draw(st.integers(1, len(shape) - 1))


@given(activations(), st.sampled_from(["sum", "mean"]), st.floats(-3, 3))
@settings(max_examples=80, deadline=None)
def test_value_and_gradients_are_those_of_the_obvious_version(given_, reduction, strength):
    values, axis = given_
    squares = mean_square(values, axis) / 2
    exact = squares.mean() if reduction == "mean" else squares.sum() / len(values)
    (wanted,) = torch.autograd.grad(strength * exact, values, create_graph=True)
    found = penalised(values, axis, strength, reduction=reduction)
    torch.testing.assert_close(found, strength * exact)
    (gradient,) = torch.autograd.grad(found, values, create_graph=True)
    torch.testing.assert_close(gradient, wanted)
    if strength:  # the gradient can be differentiated again
        (second,) = torch.autograd.grad(gradient.square().sum(), values)
        (twice,) = torch.autograd.grad(wanted.square().sum(), values)
        torch.testing.assert_close(second, twice)


@given(activations(), st.floats(-4, 4), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_laws(given_, factor, seed):
    """At least 0, of degree 2, blind to signs and the order of channels, a mean over the batch."""
    values, axis = given_
    value = penalised(values, axis)
    assert value >= 0
    torch.testing.assert_close(penalised(factor * values, axis), factor**2 * value)
    torch.testing.assert_close(penalised(-values, axis), value)
    order = torch.randperm(values.shape[axis], generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(penalised(values.index_select(axis, order), axis), value)
    halves = [penalised(values[i : i + 1], axis) for i in range(len(values))]
    torch.testing.assert_close(torch.stack(halves).mean(), value)
    torch.testing.assert_close(penalised(torch.cat([values, values]), axis), value)


def test_near_zero_it_is_the_entropy_of_centred_activations():
    """H = ln D - Var / 2 + O(a^3): why the two are compared."""
    for scale in (0.1, 0.01):
        values = scale * drawn([50, 16], 0).detach()
        values = values - values.mean(1, keepdim=True)
        lost = math.log(16) - entropy(values)
        torch.testing.assert_close(lost, mean_square(values) / 2, rtol=3 * scale, atol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_squared_in_float32(dtype):
    """300^2 is beyond float16, and half-precision sums would be off by percents."""
    values = (300 * torch.randn(4, 64, 6, 6)).to(dtype).requires_grad_()
    value = penalised(values, 1)
    exact = mean_square(values).sum() / 8
    torch.testing.assert_close(value.double(), exact, rtol=1e-6, atol=0)
    value.backward()
    assert values.grad.dtype == dtype
    torch.testing.assert_close(values.grad.double(), values.double() / 64 / 4, rtol=1e-2, atol=0)


def kept(model: nn.Module, images: Tensor, penalty) -> int:
    """Bytes of distinct storages that a forward saves for backward."""
    sizes = {}

    def pack(tensor: Tensor) -> Tensor:
        sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        total = model(images).square().mean() + penalty()
    del total
    return sum(sizes.values())


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("kind", [ActivationReg, SparsityReg])
def test_it_keeps_the_activation_and_little_more(kind, half):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 64, 3, padding=1), nn.ReLU(), nn.Conv2d(64, 4, 3))
    images = torch.randn(4, 3, 16, 16)
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        plain = kept(model, images, lambda: 0.0)
        penalty = kind(model, {"0": 1e-3})
        penalised = kept(model, images, penalty)
    activation = 4 * 64 * 16 * 16 * (2 if half else 4)
    assert penalised - plain <= activation + 3 * 4 * 4 * 16 * 16  # three numbers a position


def test_one_channel_is_a_target():
    """Its square is not always 0, as its entropy is."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 1, 3))
    penalty = ActivationReg(model, {"0": 1.0})
    model(torch.randn(2, 3, 6, 6))
    penalty().backward()
    assert model[0].weight.grad.abs().sum() > 0

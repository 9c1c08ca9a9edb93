import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.adapters.reference import entropy as reference_entropy
from torch import Tensor

from sparsight.errors import UsageError
from sparsight.maths import correlation as core_correlation
from sparsight.maths.entropy import rfav_entropy, rfav_rms, scale_free_entropy
from sparsight.maths.hoyer import hoyer_sparsity
from sparsight_torch import functional
from sparsight_torch.kernels import backends

SHAPES = [((4, 5), 1), ((3, 7, 2), 1), ((2, 6, 3), -1), ((2, 8, 3, 4), 1), ((2, 4, 2, 3, 2), 1)]


def logits(shape: tuple[int, ...], scale: float = 1.0, seed: int = 0) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=random, dtype=torch.float64) * scale


@pytest.mark.parametrize(("shape", "axis"), SHAPES)
@pytest.mark.parametrize("scale", [0, 1e-3, 1, 30, 1e4])
def test_entropy_equals_the_obvious_float64(shape, axis, scale):
    values = logits(shape, scale)
    expected = reference_entropy(values, axis)
    torch.testing.assert_close(functional.rfav_entropy(values, axis), expected)
    single = functional.rfav_entropy(values.float(), axis)
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), expected, atol=1e-4 * max(1, scale), rtol=1e-5)


@pytest.mark.parametrize(("shape", "axis"), SHAPES)
@pytest.mark.parametrize("scale", [0.1, 1, 30])
def test_gradient_equals_autograds_own(shape, axis, scale):
    ours, theirs = (logits(shape, scale).requires_grad_() for _ in range(2))
    weights = logits(functional.rfav_entropy(ours, axis).shape, seed=1)
    (functional.rfav_entropy(ours, axis) * weights).sum().backward()
    (reference_entropy(theirs, axis) * weights).sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad)


def test_gradcheck():
    values = logits((2, 5, 3)).requires_grad_()
    assert torch.autograd.gradcheck(lambda a: functional.rfav_entropy(a, 1), values)
    weights = logits((6, 4)).requires_grad_()
    for form in ("signed", "squared", "positive"):
        for centre in ("own", "filters"):
            assert torch.autograd.gradcheck(
                lambda w, f=form, c=centre: functional.decorrelation_penalty(w, 0.7, f, c), weights
            )


def test_second_derivatives():
    """An analytic gradient of saved numbers instead of operations would silently be wrong here."""
    values = logits((2, 5, 3)).requires_grad_()
    assert torch.autograd.gradgradcheck(lambda a: functional.rfav_entropy(a, 1), values)


@pytest.mark.parametrize("offset", [1e4, 1e6])
def test_gradient_survives_a_large_offset(offset):
    """ln S + max, kept as one number, would err by several percent here."""
    base = logits((3, 16)).float()
    shifted = (base + offset).detach()
    exact = (shifted.double() - offset).requires_grad_()
    reference_entropy(exact).sum().backward()
    shifted.requires_grad_()
    functional.rfav_entropy(shifted).sum().backward()
    torch.testing.assert_close(shifted.grad.double(), exact.grad, atol=1e-5, rtol=1e-4)


SINGLY = {
    "entropy": functional.rfav_entropy,
    "rms": functional.rfav_rms,
    "scale_free_entropy": functional.scale_free_entropy,
    "hoyer_sparsity": functional.hoyer_sparsity,
}


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_not_finite_means_nan_there_and_only_there(bad):
    values = logits((2, 5, 3)).float()
    values[1, 2, 0] = bad
    for function in (
        functional.rfav_entropy,
        functional.scale_free_entropy,
        functional.hoyer_sparsity,
        functional.rfav_rms,
        lambda a, axis=1: backends.plain_entropy(a, axis),
        *(lambda a, name=name: functional.rfav_statistics(a)[0][name] for name in SINGLY),
    ):
        result = function(values)
        assert result.isnan().nonzero().tolist() == [[1, 0]]


def test_one_channel():
    values = logits((3, 1, 2))
    assert functional.rfav_entropy(values).eq(0).all()
    assert functional.scale_free_entropy(values).isnan().all()
    assert functional.hoyer_sparsity(values).isnan().all()
    together = functional.rfav_statistics(values)[0]
    assert together["scale_free_entropy"].isnan().all()
    assert together["hoyer_sparsity"].isnan().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype):
    values = logits((4, 64, 3), 3).to(dtype).requires_grad_()
    result = functional.rfav_entropy(values)
    assert result.dtype == torch.float32
    torch.testing.assert_close(
        result.double(), reference_entropy(values.detach()), atol=1e-5, rtol=1e-5
    )
    result.sum().backward()
    assert values.grad.dtype == dtype


def test_autocast_changes_nothing():
    values, weights = logits((4, 64, 3)).float(), logits((32, 40)).float()
    with torch.autocast("cpu", torch.bfloat16):
        inside = functional.rfav_entropy(values)
        squared = functional.decorrelation_penalty(weights, 1.0, "squared")
    torch.testing.assert_close(inside, functional.rfav_entropy(values), rtol=0, atol=0)
    expected = functional.decorrelation_penalty(weights, 1.0, "squared")
    torch.testing.assert_close(squared, expected, rtol=1e-6, atol=1e-6)


@settings(max_examples=50)
@given(
    shape=st.lists(st.integers(1, 5), min_size=2, max_size=4),
    scale=st.sampled_from([1e-3, 1.0, 20.0, 1e4]),
    seed=st.integers(0, 10**6),
)
def test_numpy_and_torch_agree(shape, scale, seed):
    values = logits(tuple(shape), scale, seed).float()
    definitions = (rfav_entropy, scale_free_entropy, rfav_rms, hoyer_sparsity)
    for definition in definitions:
        ours = getattr(functional, definition.__name__)(values).numpy()
        theirs = definition(values.numpy())
        np.testing.assert_allclose(ours, theirs, atol=2e-5, rtol=2e-5, equal_nan=True)


@pytest.mark.parametrize(("shape", "axis"), SHAPES)
@pytest.mark.parametrize("scale", [0, 1e-30, 1, 1e4, 1e30])
def test_statistics_in_one_go_are_the_single_ones(shape, axis, scale):
    values = logits(shape, scale).float()
    together, sums = functional.rfav_statistics(values, axis)
    assert together.keys() == SINGLY.keys()
    for name, function in SINGLY.items():
        alone = function(values, axis)
        torch.testing.assert_close(together[name], alone, rtol=2e-6, atol=2e-6, equal_nan=True)
    others = [other for other in range(values.ndim) if other != axis % values.ndim]
    exact, sizes = values.double().sum(others), values.double().abs().sum(others)
    everywhere = torch.ones(together["entropy"].shape, dtype=torch.bool)
    for found in (sums, functional.channel_sums(values, axis, everywhere)):
        assert ((found - exact).abs() <= 1e-6 * sizes).all()


def test_under_compile_and_func():
    values = logits((3, 6, 4))
    expected = reference_entropy(values)
    compiled = torch.compile(functional.rfav_entropy, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(values), expected)
    per_sample = torch.func.vmap(lambda a: functional.rfav_entropy(a, 0))(values)
    torch.testing.assert_close(per_sample, expected)
    gradient = torch.func.grad(lambda a: functional.rfav_entropy(a).sum())(values)
    leaf = values.clone().requires_grad_()
    reference_entropy(leaf).sum().backward()
    torch.testing.assert_close(gradient, leaf.grad)


def test_sparsity_penalty_is_equation_5():
    values = logits((4, 6, 3, 2))
    entropies = reference_entropy(values)
    penalty = functional.sparsity_penalty(values, 0.01)
    torch.testing.assert_close(penalty, -0.01 * entropies.sum((1, 2)).mean())
    mean = functional.sparsity_penalty(values, 0.01, reduction="mean")
    torch.testing.assert_close(mean, -0.01 * entropies.mean())


@pytest.mark.parametrize("centre", ["own", "filters"])
def test_correlations_are_numpys(centre):
    weights = logits((7, 3, 2, 2))
    ours = functional.filter_correlations(weights, centre).numpy()
    theirs = core_correlation.filter_correlations(weights.numpy(), centre)
    np.testing.assert_allclose(ours, theirs, atol=1e-12)


def test_decorrelation_penalty_is_equation_7():
    weights = logits((7, 3, 2, 2))
    pairs = np.corrcoef(weights.flatten(1).numpy())[np.tril_indices(7, -1)]
    sums = {"signed": pairs.sum(), "squared": (pairs**2).sum(), "positive": pairs[pairs > 0].sum()}
    for form, expected in sums.items():
        value = functional.decorrelation_penalty(weights, 2.0, form)
        assert float(value) == pytest.approx(2 * expected)


def test_literal_centring_makes_the_signed_sum_constant():
    """Why the textbook reading is the default: with unit-length deviations it is about -D/2."""
    sums = [
        float(functional.decorrelation_penalty(logits((64, 90), seed=s), 1.0, centre="filters"))
        for s in range(5)
    ]
    assert max(abs(value + 32) for value in sums) < 0.5


def test_filters_without_variance_are_left_out():
    weights = logits((4, 5))
    weights[1] = 0.3
    leaf = weights.clone().requires_grad_()
    value = functional.decorrelation_penalty(leaf, 1.0)
    rest = weights[[0, 2, 3]]
    torch.testing.assert_close(value.detach(), functional.decorrelation_penalty(rest, 1.0))
    value.backward()
    assert leaf.grad.isfinite().all()
    assert leaf.grad[1].eq(0).all()


@pytest.mark.parametrize("form", ["signed", "squared", "positive"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_form_leaves_out_filters_without_variance(form, dtype):
    weights = logits((6, 5)).to(dtype)
    weights[[0, 4]] = torch.tensor([0.0, 0.3], dtype=dtype)[:, None]
    rest = functional.decorrelation_penalty(weights[[1, 2, 3, 5]], 0.5, form)
    torch.testing.assert_close(functional.decorrelation_penalty(weights, 0.5, form), rest)


@pytest.mark.parametrize("unit", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("number", [1, 3, 30])
@pytest.mark.parametrize("half_length", [1, 9])
def test_variance_is_judged_by_the_filters_own_weights(unit, number, half_length):
    """It varies by more than a millionth: whatever the unit, the number and the length."""
    weights = torch.ones(number, 2 * half_length, dtype=torch.float64)
    for wave, coefficient in ((2.2e-6, 1), (1.8e-6, 0)):  # deviations are half of it
        weights[:, ::2] = 1 + wave
        found = functional.filter_correlations(weights * unit)
        expected = torch.full_like(found, coefficient)
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("form", ["signed", "squared", "positive"])
def test_under_autocast_filters_are_multiplied_in_full_precision(form):
    weights = logits((32, 40))
    expected = functional.decorrelation_penalty(weights, 1.0, form)
    with torch.autocast("cpu", torch.bfloat16):
        found = functional.decorrelation_penalty(weights.float(), 1.0, form)
        coefficients = functional.filter_correlations(weights.float())
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)
    exact = functional.filter_correlations(weights)
    torch.testing.assert_close(coefficients.double(), exact, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("shape", "axis"), [((5, 4), 1), ((5, 3, 4), -1), ((5, 4, 3, 2), 1)])
def test_sparsity_penalty_is_a_mean_over_the_batch(shape, axis):
    """Twice the batch, the same penalty; twice the strength, twice the penalty."""
    values = logits(shape)
    once = functional.sparsity_penalty(values, 0.5, axis)
    entropy = reference_entropy(values, axis)
    torch.testing.assert_close(once, -0.5 * entropy.sum() / 5)
    assert once.ndim == 0
    twice = functional.sparsity_penalty(torch.cat([values, values]), 1.0, axis)
    torch.testing.assert_close(twice, 2 * once)


def test_all_axes_of_a_tensor_may_hold_the_channels():
    values = logits((3, 4, 2))
    for axis in range(-3, 3):
        torch.testing.assert_close(
            functional.rfav_entropy(values, axis), reference_entropy(values, axis)
        )
    for axis in (-4, 3):
        with pytest.raises(UsageError, match=f"channel axis {axis} does not exist"):
            functional.rfav_entropy(values, axis)


def test_an_rfav_of_zeros():
    """Dense, at rest, and with a gradient of 0."""
    values = logits((2, 5, 3))
    values[1, :, 2] = 0
    leaf = values.requires_grad_()
    expected = {"entropy": math.log(5), "rms": 0, "scale_free_entropy": 1, "hoyer_sparsity": 0}
    together, _ = functional.rfav_statistics(leaf)
    for name, wanted in expected.items():
        assert together[name][1, 2].item() == pytest.approx(wanted)
        assert SINGLY[name](leaf)[1, 2].item() == pytest.approx(wanted)
        assert not together[name].requires_grad
        leaf.grad = None
        SINGLY[name](leaf).sum().backward()
        assert leaf.grad[1, :, 2].eq(0).all()
        assert leaf.grad[0].ne(0).any()


def test_wrong_arguments_get_a_sentence():
    values = logits((2, 3))
    with pytest.raises(UsageError, match="channel axis 2 does not exist"):
        functional.rfav_entropy(values, 2)
    with pytest.raises(UsageError, match="'sum' or 'mean'"):
        functional.sparsity_penalty(values, 1.0, reduction="median")
    with pytest.raises(UsageError, match="at least two axes"):
        functional.sparsity_penalty(values[0], 1.0, axis=0)
    for form in ("absolute", "total"):
        with pytest.raises(UsageError, match="'signed', 'squared' or 'positive'"):
            functional.decorrelation_penalty(values, 1.0, form)
    with pytest.raises(UsageError, match="'own' or 'filters'"):
        functional.filter_correlations(values, "mean")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: functional.scale_free_entropy(torch.ones(2, 3), 2), "axis 2 does not exist"),
        (lambda: functional.rfav_rms(torch.ones(2, 3), -3), "axis -3 does not exist"),
        (lambda: functional.rfav_entropy(torch.ones(2, 0, 3)), "has no channels along axis 1"),
        (lambda: functional.sparsity_penalty(torch.ones(0, 3), 1.0), "an empty batch"),
        (lambda: functional.sparsity_penalty(torch.ones(2, 3, 0), 1.0), "an empty batch"),
        (lambda: functional.sparsity_penalty(torch.ones(2, 3), 1.0, 0), "which is the batch"),
        (lambda: functional.sparsity_penalty(torch.ones(2, 3, 4), 1.0, -3), "which is the batch"),
        (lambda: functional.decorrelation_penalty(torch.ones(3), 1.0), "one filter per row"),
        (lambda: functional.rfav_entropy(np.ones((2, 3))), "real numbers, not a ndarray"),
        (lambda: functional.sparsity_penalty([1.0, 2.0], 1.0), "real numbers, not a list"),
        (lambda: functional.filter_correlations(np.ones((2, 3))), "real numbers, not a ndarray"),
        (
            lambda: functional.rfav_rms(torch.ones(2, 3) * 1j),
            r"real numbers, not a torch\.complex64",
        ),
        (lambda: functional.filter_correlations(torch.ones(0, 3)), "one filter per row"),
    ],
)
def test_tensors_that_cannot_be_meant_get_a_sentence(call, message):
    with pytest.raises(UsageError, match=message):
        call()

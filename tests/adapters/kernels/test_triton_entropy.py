"""The CUDA kernels, run on a CPU by Triton's interpreter."""

import math
import os

import pytest
import torch
from tests.adapters.reference import entropy

from sparsight_torch.kernels import backends

pytest.importorskip("triton")
pytestmark = [
    pytest.mark.filterwarnings("ignore::RuntimeWarning:triton"),  # numpy's, on NaN
    pytest.mark.skipif(
        os.environ.get("TRITON_INTERPRET") != "1" and not torch.cuda.is_available(),
        reason="neither CUDA nor Triton's interpreter",
    ),
]
DEVICE = "cpu" if os.environ.get("TRITON_INTERPRET") == "1" else "cuda"

LAYOUTS = [
    ((3, 7, 4, 5), 1, torch.contiguous_format),
    ((3, 70, 4, 5), 1, torch.channels_last),
    ((2, 5, 3, 2, 3), 1, torch.channels_last_3d),
    ((6, 9), 1, None),
    ((6, 9), 0, None),
    ((2, 6, 33), -1, None),
    ((2, 33, 6), 1, None),
    ((4, 1, 3), 1, None),
    ((2, 2500, 70), 1, None),  # several tiles each way
    ((70, 2500), -1, None),
]


def values(shape, layout, dtype=torch.float32, scale=3.0, seed=0):
    random = torch.Generator().manual_seed(seed)
    tensor = (torch.randn(shape, generator=random, dtype=torch.float64) * scale).to(dtype)
    tensor = tensor.to(DEVICE)
    return tensor if layout is None else tensor.contiguous(memory_format=layout)


@pytest.mark.parametrize(("shape", "axis", "layout"), LAYOUTS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_forward_and_backward_equal_the_obvious(shape, axis, layout, dtype):
    ours = values(shape, layout, dtype).requires_grad_()
    theirs = ours.detach().double().requires_grad_()
    result, exact = backends.TritonEntropy.apply(ours, axis), entropy(theirs, axis)
    assert result.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    tolerance = 1e-12 if dtype == torch.float64 else 1e-5
    torch.testing.assert_close(result.double(), exact, atol=tolerance, rtol=tolerance)
    incoming = values(exact.shape, None, torch.float64, seed=1)
    result.backward(incoming.to(result.dtype))
    exact.backward(incoming)
    assert ours.grad.dtype == dtype
    assert ours.grad.stride() == ours.stride()
    # one unit of the last place: the interpreter cuts off where the hardware rounds
    half = {torch.bfloat16: 2**-7, torch.float16: 2**-10}.get(dtype, tolerance)
    torch.testing.assert_close(ours.grad.double(), theirs.grad, atol=half, rtol=half)


def test_what_does_not_lie_densely():
    whole = values((4, 12, 10), None)
    part = whole[::2, 1:9, ::3].requires_grad_()
    exact = part.detach().double().requires_grad_()
    backends.TritonEntropy.apply(part, 1).sum().backward()
    entropy(exact).sum().backward()
    torch.testing.assert_close(part.grad.double(), exact.grad, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("channel", [0, 1, 2400])
@pytest.mark.parametrize("axis", [1, -1])
def test_not_finite_means_nan_there_and_only_there(bad, channel, axis):
    tensor = values((2, 2500, 3), None)
    tensor[1, channel, 2] = bad
    tensor = tensor.movedim(1, axis).contiguous()
    result = backends.TritonEntropy.apply(tensor, axis)
    assert result.isnan().nonzero().tolist() == [[1, 2]]


@pytest.mark.parametrize("scale", [0, 1e-3, 1e4])
@pytest.mark.parametrize("offset", [0, 1e4, 1e6])
def test_extremes(scale, offset):
    tensor = values((3, 40, 5), None, scale=scale) + offset
    result = backends.TritonEntropy.apply(tensor, 1)
    torch.testing.assert_close(result.double(), entropy(tensor), atol=1e-4, rtol=1e-5)


def test_gradcheck_and_second_derivatives():
    tensor = values((2, 5, 3), None, torch.float64, 1.0).requires_grad_()
    assert torch.autograd.gradcheck(lambda a: backends.TritonEntropy.apply(a, 1), tensor)
    assert torch.autograd.gradgradcheck(lambda a: backends.TritonEntropy.apply(a, 1), tensor)


def test_which_backend_runs(monkeypatch):
    tensor = torch.zeros(2, 3)
    assert backends.entropy_backend(tensor) == "torch"
    seen = []

    def inside(a):
        seen.append(backends.entropy_backend(a))
        return a.sum()

    torch.func.grad(inside)(tensor)
    assert seen == ["plain"]

    class OnCuda:
        is_cuda = True

    assert backends.entropy_backend(OnCuda()) == "triton"
    monkeypatch.setattr(backends, "_has_triton", lambda: False)
    assert backends.entropy_backend(OnCuda()) == "torch"

"""What targets and terms may return."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sparsight.errors import UsageError
from sparsight_torch.penalties.output_checks import check_output, check_term

SHAPES = st.lists(st.integers(1, 4), min_size=2, max_size=5)


@given(SHAPES, st.data())
def test_every_axis_but_that_of_the_batch_may_hold_the_channels(shape, data):
    output = torch.zeros(shape)
    axis = data.draw(st.integers(-8, 8))
    if axis in range(-len(shape) + 1, 0) or axis in range(1, len(shape)):
        check_output("conv1", output, axis)
    else:
        with pytest.raises(UsageError, match=f"axis={axis} cannot be the channel axis .*'conv1'"):
            check_output("conv1", output, axis)


@given(SHAPES, st.data())
def test_a_term_has_the_shape_without_the_channels(shape, data):
    axis = data.draw(st.integers(1, len(shape) - 1))
    output = torch.zeros(shape, requires_grad=True)
    for same in (axis, axis - len(shape)):
        check_term("Own", "conv1", output.sum(same), output.shape, same)
        with pytest.raises(UsageError, match=r"Own\.term returned .* 'conv1'"):
            check_term("Own", "conv1", output.sum(same)[None], output.shape, same)
        with pytest.raises(UsageError, match=r"Own\.term returned a tensor without gradient"):
            check_term("Own", "conv1", output.detach().sum(same), output.shape, same)


def test_a_term_that_is_no_tensor_is_named():
    with pytest.raises(UsageError, match=r"Own\.term returned float"):
        check_term("Own", "conv1", 0.5, torch.Size([2, 3]), 1)


@pytest.mark.parametrize(
    ("shape", "message"),
    [((0, 3), r"\(0, 3\), an empty batch"), ((3,), "expected a batch with at least two axes")],
)
def test_what_is_no_batch_is_refused(shape, message):
    with pytest.raises(UsageError, match=message):
        check_output("conv1", torch.zeros(shape), -1)

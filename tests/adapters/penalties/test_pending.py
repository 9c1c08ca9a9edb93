"""Terms of several forwards are summed by target, each with its own mask."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sparsight.errors import UsageError
from sparsight_torch.penalties.pending import PendingTerm, summed


def pending(name: str, value: torch.Tensor, mask: torch.Tensor | None = None) -> PendingTerm:
    return PendingTerm(name, value, mask, None, 0)


FORWARDS = st.lists(
    st.tuples(
        st.sampled_from(["conv1", "fc1"]),
        st.integers(1, 4),
        st.integers(1, 5),
        st.booleans(),
        st.integers(0, 1000),
    ),
    min_size=1,
    max_size=6,
)


@given(FORWARDS, st.sampled_from(["sum", "mean"]))
def test_sums_are_those_of_a_loop_over_positions(forwards, reduction):
    terms, expected = [], {}
    for name, samples, positions, masked, seed in forwards:
        random = torch.Generator().manual_seed(seed)
        value = torch.randn(samples, positions, generator=random, dtype=torch.float64)
        mask = torch.rand(samples, positions, generator=random) < 0.5 if masked else None
        terms.append(pending(name, value, mask))
        kept = [
            float(value[n, p])
            for n in range(samples)
            for p in range(positions)
            if mask is None or mask[n, p]
        ]
        divisor = samples if reduction == "sum" else max(1, len(kept))
        expected[name] = expected.get(name, 0.0) + sum(kept) / divisor
    found = {name: float(total) for name, total in summed(terms, reduction, "Own").items()}
    assert found == pytest.approx(expected)


def test_a_mask_counts_where_it_fits():
    value, mask = torch.ones(2, 3), torch.tensor([[1, 0, 0], [1, 1, 0]])
    found = summed([pending("a", value, mask), pending("b", torch.ones(2), mask)], "sum", "Own")
    assert {name: total.item() for name, total in found.items()} == {"a": 1.5, "b": 1.0}


def test_a_mask_that_fits_nothing_is_an_error():
    with pytest.raises(UsageError, match=r"shape \(2, 4\) matches no layer.*a \(2, 3\)"):
        summed([pending("a", torch.ones(2, 3), torch.ones(2, 4))], "sum", "Own")


def test_an_output_that_was_overwritten_is_an_error():
    output = torch.ones(2, 3)
    term = PendingTerm("a", output.sum(1), None, output, output._version)
    assert summed([term], "sum", "Own")["a"] == 3
    output.mul_(2)
    with pytest.raises(UsageError, match=r"output of 'a' was overwritten .* copy=True to Own"):
        summed([term], "sum", "Own")

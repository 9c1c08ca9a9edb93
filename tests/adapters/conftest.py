"""Every penalty on activations goes through the tests of their base."""

from collections.abc import Callable

import pytest
from tests.adapters.reference import entropy, mean_square
from torch import Tensor

from sparsight_torch import ActivationPenalty, ActivationReg, SparsityReg

TERMS: dict[type[ActivationPenalty], Callable[..., Tensor]] = {
    SparsityReg: lambda activations, axis=1: -entropy(activations, axis),
    ActivationReg: lambda activations, axis=1: mean_square(activations, axis) / 2,
}


@pytest.fixture(params=TERMS, ids=lambda kind: kind.__name__)
def kind(request) -> type[ActivationPenalty]:
    return request.param


@pytest.fixture
def term(kind) -> Callable[..., Tensor]:
    """What a position adds at strength 1, the slow and obvious way, in float64."""
    return TERMS[kind]

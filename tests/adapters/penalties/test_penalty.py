"""What all penalties share, on the smallest one there is."""

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor, nn

from sparsight.errors import TargetError, UsageError
from sparsight_torch.layers.targets import Selection, Target
from sparsight_torch.penalties.penalty import Penalty


class Biases(Penalty):
    """The sum of the squares of the biases."""

    kind = "biases"

    def __init__(self, model: nn.Module, targets: Selection) -> None:
        super().__init__(model, targets)
        self._attach()

    def terms(self) -> Mapping[str, Tensor]:
        return {target.name: target.module.bias.square().sum() for target in self.targets}

    def _without_effect(self, target: Target) -> str | None:
        return f"{target.name!r} has no bias" if target.module.bias is None else None


@pytest.fixture
def model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2), nn.Linear(2, 2, bias=False))


def test_it_is_the_sum_of_strength_times_term(model):
    with Biases(model, {"0": 0.5, "1": 2.0}) as penalty:
        assert penalty.value != penalty.value
        total = penalty()
        squares = [model[i].bias.square().sum().item() for i in (0, 1)]
        assert penalty.parts == pytest.approx({"0": 0.5 * squares[0], "1": 2 * squares[1]})
        expected = pytest.approx(0.5 * squares[0] + 2 * squares[1])
        assert total.item() == expected
        assert penalty.value == expected
        total.backward()
        torch.testing.assert_close(model[1].bias.grad, 4 * model[1].bias.detach())


def test_schedules_go_on_from_a_state(model):
    called: list[int] = []

    def schedule(step: int) -> float:
        called.append(step)
        return 1.0

    with Biases(model, {"0": schedule}) as first:
        for _ in range(3):
            first()
        state = first.state_dict()
    with Biases(model, {"0": schedule}) as second:
        second.load_state_dict(state)
        second()
    assert called == [0, 1, 2, 3]


@pytest.mark.parametrize("state", [{}, {"step": -1}, {"step": True}, {"step": 1.0}, None])
def test_what_is_no_state_is_refused(model, state):
    with Biases(model, {"0": 1.0}) as penalty:
        with pytest.raises(UsageError, match="cannot load the state of a penalty"):
            penalty.load_state_dict(state)
        assert penalty.step == 0


def test_layers_without_effect_need_the_strength_0(model):
    for strength in (1.0, lambda step: 0.0):
        with pytest.raises(TargetError, match=r"would do nothing: '2' has no bias.*strength 0"):
            Biases(model, {"*": 1.0, "2": strength})
    with Biases(model, {"*": 1.0, "2": 0}) as penalty:
        assert [target.name for target in penalty.targets] == ["0", "1"]
    with pytest.raises(TargetError, match="would do nothing at any"):
        Biases(model, {"2": 0})


def test_detached_it_is_an_error_to_call(model):
    penalty = Biases(model, {"0": 1.0})
    penalty()
    penalty.detach()
    penalty.detach()
    assert penalty.value != penalty.value
    with pytest.raises(UsageError, match="Biases is detached"):
        penalty()


def test_a_second_one_detaches_the_first_where_targets_are_common(model):
    first = Biases(model, {"0": 1.0, "1": 1.0})
    with pytest.warns(UserWarning, match="an older Biases on '0', '1' is detached"):
        second = Biases(model, {"1": 1.0})
    third = Biases(model, {"0": 1.0})
    with pytest.raises(UsageError, match="detached"):
        first()
    for penalty in (second, third):
        penalty()
        penalty.detach()


def test_a_target_that_was_replaced_is_an_error(model):
    with Biases(model, {"0": 1.0}) as penalty:
        model[0] = nn.Linear(3, 4)
        with pytest.raises(
            UsageError, match="target '0' of this Biases is no longer in the network"
        ):
            penalty()

"""Penalties as trainers take them."""

import warnings

import pytest
import torch
from torch import nn

from sparsight.errors import UsageError
from sparsight_torch import DecorrReg, SparsityReg
from sparsight_torch.penalties.penalty_set import PenaltySet


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 6), nn.ReLU(), nn.Linear(6, 4))


def halving(step: int) -> float:
    return 0.5**step


def test_names_are_the_users_or_the_kinds():
    model = network()
    made = [
        SparsityReg(model, {"0": 1.0}),
        DecorrReg(model, {"0": 1.0}),
        DecorrReg(model, {"2": 1}),
    ]
    several = PenaltySet(made)
    assert list(several.values) == ["sparsity", "decorrelation", "decorrelation_2"]
    assert list(PenaltySet(made[0]).values) == ["sparsity"]
    assert list(PenaltySet({"wide": made[0], "apart": made[1]}).values) == ["wide", "apart"]
    alone = PenaltySet(lambda model: DecorrReg(model, {"0": 1.0}))
    assert not alone.values
    alone.attach(network())
    assert list(alone.values) == ["decorrelation"]


def test_values_are_those_of_each_penalty():
    model = network()
    penalties = PenaltySet([SparsityReg(model, {"0": 1.0}), DecorrReg(model, {"2": 2.0})])
    penalties.attach(model)
    with penalties.accumulate():
        model[2](model[0](torch.randn(5, 3)).relu())
    values = penalties()
    assert penalties.values == pytest.approx({n: v.item() for n, v in values.items()})
    assert values["sparsity"] < 0
    torch.testing.assert_close(values["decorrelation"], DecorrReg(network(), {"2": 2.0})())


def test_what_is_made_is_detached_and_goes_on():
    model = network()
    penalties = PenaltySet(lambda model: [SparsityReg(model, {"0": halving})])
    for start in (0, 2):
        penalties.attach(model)
        penalties.attach(model)  # as after an end that nobody announced
        assert len(model[0]._forward_hooks) == 1
        for step in range(start, start + 2):
            assert penalties.state_dict() == {"sparsity": {"step": step}}
            model(torch.randn(5, 3))
            penalties()
        penalties.detach()
        penalties.detach()
        assert not model[0]._forward_hooks
        assert not model._forward_pre_hooks
        assert penalties.state_dict() == {"sparsity": {"step": start + 2}}


def test_a_state_is_loaded_before_and_while_attached():
    model = network()
    before = PenaltySet(lambda model: [DecorrReg(model, {"0": halving})])
    before.load_state_dict({"decorrelation": {"step": 3}})
    before.attach(model)
    assert before()["decorrelation"] * 8 == DecorrReg(network(), {"0": 1.0})()
    before.load_state_dict({"decorrelation": {"step": 1}})
    assert before()["decorrelation"] * 2 == DecorrReg(network(), {"0": 1.0})()


def test_states_that_fit_nothing_are_said():
    model = network()
    penalties = PenaltySet([SparsityReg(model, {"0": halving}), DecorrReg(model, {"0": 1.0})])
    with pytest.warns(UserWarning, match="no state of penalty 'sparsity' was saved"):
        penalties.load_state_dict({})
    with warnings.catch_warnings():  # a strength that never changes needs no state
        warnings.simplefilter("error")
        penalties.load_state_dict({"sparsity": {"step": 2}})
    with pytest.warns(
        UserWarning, match="state of penalty 'wide' is not used; the penalties are: sp"
    ):
        penalties.load_state_dict({"sparsity": {"step": 2}, "wide": {"step": 2}})


def test_penalties_of_another_model_are_refused_and_detached():
    model, other = network(), network()
    penalties = PenaltySet(lambda _: [SparsityReg(other, {"0": 1.0})])
    with pytest.raises(UsageError, match="'0' of penalty 'sparsity' is not a layer of the model"):
        penalties.attach(model)
    assert not other[0]._forward_hooks

"""An Einsum with constant weights is a layer, wherever its channels are."""

import numpy as np
import pytest
from tests.core import graphs
from tests.core.agreement import assert_agreement

from sparsight.graph.model import open_model
from sparsight.graph.taps import filters, find_taps

SIDES = {"b": 3, "i": 4, "t": 4, "k": 5, "d": 5, "h": 2, "j": 6, "e": 6, "g": 2, "s": 7}


def model_of(equation: str, weights: str, position: int, inputs: str, opset: int = 18):
    names = ["x w", "w x"][position == 0]
    nodes = [graphs.node("Einsum", names, "a", equation=equation)]
    nodes += [graphs.node("Relu", "a", "y")]
    stored = {"w": graphs.random([SIDES[letter] for letter in weights])}
    shape = ["n", *(SIDES[letter] for letter in inputs[1:])]
    return open_model(graphs.model(nodes, {"x": shape}, ["y"], stored, opset)), stored["w"]


@pytest.mark.parametrize(
    ("equation", "inputs", "weights", "axis", "rows"),
    [
        ("bik,kj->bij", "bik", "kj", -1, "jk"),
        ("btd,de->bte", "btd", "de", -1, "ed"),
        ("btd,ed->bte", "btd", "ed", -1, "ed"),
        ("btd, de -> bet", "btd", "de", 1, "ed"),
        ("bsdt,ed->bset", "bsdt", "ed", 2, "ed"),
        ("...d,de->...e", "btd", "de", -1, "ed"),
        ("bthd,hde->bte", "bthd", "hde", -1, "ehd"),
        ("bgtd,gde->bgte", "bgtd", "gde", -1, "egd"),
        ("btd,de->be", "btd", "de", -1, "ed"),
        ("btd,de", "btd", "de", 1, "ed"),  # the output is what stands once, by the alphabet: bet
        ("de,btd->bte", "btd", "de", -1, "ed"),
        ("bd,de->be", "bd", "de", -1, "ed"),
    ],
)
@pytest.mark.parametrize("opset", [12, 18])
def test_channels_and_filters(equation, inputs, weights, axis, rows, opset):
    position = int(not equation.startswith(weights))
    model, values = model_of(equation, weights, position, inputs, opset)
    (tap,) = find_taps(model).taps
    assert (tap.operator, tap.tensor, tap.relu) == ("Einsum", "a", "a")
    assert tap.channel_axis == axis
    assert tap.channels == SIDES[rows[0]]
    order = [weights.index(letter) for letter in rows]
    np.testing.assert_array_equal(filters(model, tap), values.transpose(order))
    probes = graphs.random([SIDES[letter] for letter in inputs], seed=1)
    assert assert_agreement(model, {"x": probes}) == 1


def test_an_axis_that_only_the_weights_have_is_summed_first():
    model, values = model_of("btd,dej->bte", "dej", 1, "btd")
    (tap,) = find_taps(model).taps
    rows = filters(model, tap)
    np.testing.assert_allclose(rows.reshape(len(rows), -1), values.sum(2).T, rtol=1e-6)
    probes = graphs.random((3, SIDES["t"], SIDES["d"]), seed=1)
    assert assert_agreement(model, {"x": probes}) == 1


@pytest.mark.parametrize(
    ("equation", "inputs", "weights", "reason"),
    [
        ("bti,ti->bti", "bti", "ti", "bring 0 axes into the output"),
        ("btd,d->bt", "btd", "d", "bring 0 axes into the output"),
        ("btd,dhe->bthe", "btd", "dhe", "bring 2 axes into the output"),
        ("bt,e->bte", "bt", "e", "sums over nothing"),
        ("bd,de->eb", "bd", "de", "before the probes"),
        ("bd...,de->be...", "bdt", "de", "does not tell at which axis"),
        ("bd,dd->b", "bd", "dd", "tell the axes of its weights apart"),
        ("b?,?e->be", "bd", "de", "cannot be read"),
    ],
)
def test_what_is_no_layer_says_why(equation, inputs, weights, reason):
    model, _ = model_of(equation, weights, 1, inputs)
    found = find_taps(model)
    assert not found.taps
    assert reason in found.left_out[0].reason


def test_products_of_activations_are_none():
    nodes = [graphs.node("Einsum", "x x", "y", equation="btd,bsd->bts")]
    assert not find_taps(open_model(graphs.model(nodes, {"x": ["n", 4, 4]}, ["y"]))).taps

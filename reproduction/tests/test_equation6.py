"""The literal reading of Eq. 6 starts where the textbook one ends, and neither lowers |c|."""

import pytest

from sparsight.cli import main
from sparsight_paper.equation6 import conv1, descended


@pytest.mark.parametrize("size", ["s", "m"])
def test_the_literal_reading_is_almost_constant(size):
    weights = conv1(size, seed=0)
    lowest = -len(weights) / 2
    textbook, textbook_after = descended(weights, "own")
    literal, literal_after = descended(weights, "filters")
    assert literal.value == pytest.approx(lowest, rel=0.02)
    assert abs(textbook.value) < 0.4 * abs(lowest)
    assert literal.pull < 0.05 * textbook.pull
    for after in (textbook_after, literal_after):
        assert after.value == pytest.approx(lowest, rel=0.002)
        assert after.pull < 0.01 * textbook.pull
        assert after.correlation > 0.95 * textbook.correlation
    assert literal.correlation == textbook.correlation


def test_the_weights_are_left_as_they_are():
    weights = conv1("s", seed=0)
    before = weights.clone()
    descended(weights, "own")
    assert (weights == before).all()


def test_it_is_printed(capfd):
    assert main(["paper", "equation6", "--format", "markdown"]) == 0
    lines = capfd.readouterr().out.splitlines()
    assert lines[2] == "| layer | centre | lowest sum | sum | gradient | mean of abs c |"
    assert [line.split(" | ")[:3] for line in lines[4:6]] == [
        ["| conv1, s", "own", "-8"],
        ["| conv1, s", "filters", "-8"],
    ]

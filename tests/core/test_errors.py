from __future__ import annotations

import inspect

import pytest

from sparsight import errors
from sparsight.errors import MissingExtraError, SparsightError, nearest

RAISED = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, SparsightError) and kind is not SparsightError
]


def test_the_tree_at_the_top_of_the_file_is_the_tree() -> None:
    assert errors.__doc__ is not None
    _, _, drawing = errors.__doc__.partition("SparsightError ")
    indents = {}
    for line in drawing.splitlines()[1:]:
        if "── " in line:
            name = line.split("── ")[1].split()[0]
            indents[name] = line.index("── ")
    assert set(indents) == {kind.__name__ for kind in RAISED}
    for kind in RAISED:
        above = kind.__mro__[1]
        assert (above is SparsightError) is (indents[kind.__name__] == 1)


def test_missing_extras_say_what_to_install() -> None:
    sentence = str(MissingExtraError("onnxruntime", "cpu", "analysing ONNX models"))
    assert sentence == "analysing ONNX models needs onnxruntime: pip install 'sparsight[cpu]'"


@pytest.mark.parametrize(
    ("name", "known", "sentence"),
    [
        ("conv", ["conv1", "fc1"], "did you mean 'conv1'?"),
        ("conv", ["conv1", "conv2"], "did you mean 'conv2' or 'conv1'?"),
        ("x", ["conv1", "fc1"], "there are: conv1, fc1"),
        ("x", [], "there are none"),
        ("x", ["long" * n for n in range(1, 20)], " and 7 more"),
        ("x", ["fc1", "fc1"], "there are: fc1"),
    ],
)
def test_nearest(name: str, known: list[str], sentence: str) -> None:
    assert nearest(name, known).endswith(sentence)

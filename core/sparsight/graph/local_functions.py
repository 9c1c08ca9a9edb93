"""A model's own functions: how large the graph is once they are written out.

Functions that call each other twice double it at each level: 25 levels make 2^25 operators of a
file of a few kilobytes. So they are counted before they are written out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import onnx

from ..errors import ModelError
from .nodes import domain_of, kind, nodes_within

__all__ = ["check_expansion"]

_MOST_OPERATORS = 2**18
"""Once written out; to find their layers takes a quarter of a minute and 800 MB."""
_MOST_BYTES = 2**31  # more than a protobuf message can hold
_MOST_LEVELS = 100  # newer versions of onnx write out no more, older ones recurse without a limit

_Key = tuple[str, str, str]


class _Size(NamedTuple):
    operators: int
    bytes: int
    levels: int


def check_expansion(proto: onnx.ModelProto, source: str) -> None:
    """Raises ModelError where a model's own functions are too large when expanded, or call
    themselves."""
    functions = {(domain_of(f.domain), f.name, f.overload): f for f in proto.functions}
    sizes: dict[_Key, _Size] = {}
    for key in _callees_first(functions, source):
        sizes[key] = _size(functions[key].node, sizes)
    whole = _size(proto.graph.node, sizes)
    if whole.levels > _MOST_LEVELS + 1:
        raise ModelError(
            f"{source}: its functions call each other over {whole.levels - 1} levels; expected at "
            f"most {_MOST_LEVELS}"
        )
    if whole.operators > _MOST_OPERATORS or whole.bytes > _MOST_BYTES:
        raise ModelError(
            f"{source}: its functions expand to {whole.operators:,} operators and {whole.bytes:,} "
            f"bytes; expected at most {_MOST_OPERATORS:,} and {_MOST_BYTES:,}"
        )


def _size(nodes: Sequence[onnx.NodeProto], sizes: dict[_Key, _Size]) -> _Size:
    """Of operators, once the functions that they call are written out."""
    operators = total = levels = 0
    for node in nodes_within(nodes):
        called = sizes.get(_key(node), _Size(1, 0, 0))
        operators += called.operators
        total += called.bytes
        levels = max(levels, called.levels)
    return _Size(operators, total + sum(node.ByteSize() for node in nodes), levels + 1)


def _callees_first(functions: dict[_Key, onnx.FunctionProto], source: str) -> Iterator[_Key]:
    """The functions, each after those that it calls. Raises ModelError where one calls itself."""
    calls = {
        key: [k for k in dict.fromkeys(map(_key, nodes_within(f.node))) if k in functions]
        for key, f in functions.items()
    }
    done: set[_Key] = set()
    begun: set[_Key] = set()
    waiting = list(functions)  # no recursion: there may be thousands of levels
    while waiting:
        key = waiting[-1]
        inner = [k for k in calls[key] if k not in done] if key not in done else []
        if inner and key in begun:
            raise ModelError(f"{source} is damaged: its function {inner[0][1]!r} calls itself")
        begun.add(key)
        waiting += inner
        if not inner:
            waiting.pop()
            if key not in done:
                done.add(key)
                yield key


def _key(node: onnx.NodeProto) -> _Key:
    return *kind(node), node.overload

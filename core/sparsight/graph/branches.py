"""If nodes whose condition no probe changes: the branch that runs becomes a part of the graph."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from .constant_folding import RANDOM, attribute, evaluated
from .shape_inference import elements

__all__ = ["inline_branches"]

_LARGEST = 2**20  # numbers that a step to a condition may make
_DEEP = 64  # steps to a condition
_UNBOUNDED = {"ConstantOfShape", "EyeLike", "Expand", "OneHot", "Pad", "Range", "Resize", "Tile"}
"""Operators that may make more numbers than the product of those that they read."""


def inline_branches(proto: onnx.ModelProto, known: Mapping[str, NDArray[Any]]) -> bool:
    """Put the branch that runs in the place of each If whose condition can be computed from
    constants and the `known` inputs; whether there was one. Works in place."""
    graph = proto.graph
    if not any(node.op_type == "If" for node in graph.node):
        return False
    values = _Values(proto, known)
    taken = {v.name for v in (*graph.input, *graph.initializer)}
    taken |= {name for node in graph.node for name in node.output}
    done: list[onnx.NodeProto] = []
    queue, found = deque(graph.node), False
    while queue:
        node = queue.popleft()
        branch = _branch(node, values)
        if branch is None:
            values.add(node)
            done.append(node)
            continue
        found = True
        queue.extendleft(reversed(_spliced(graph, node, branch, taken)))
    if found:
        del graph.node[:]
        graph.node.extend(done)
    return found


def _branch(node: onnx.NodeProto, values: _Values) -> onnx.GraphProto | None:
    """A copy of the branch of an If that runs, or None where that is open."""
    if node.op_type != "If" or node.domain not in ("", "ai.onnx") or not node.input:
        return None
    condition = values.value(node.input[0])
    if condition is None or condition.size != 1:
        return None
    chosen = "then_branch" if condition.reshape(-1)[0] else "else_branch"
    found = attribute(node, chosen, None)
    if not isinstance(found, onnx.GraphProto) or len(found.output) != len(node.output):
        return None
    body = onnx.GraphProto()
    body.CopyFrom(found)
    return body


def _spliced(
    graph: onnx.GraphProto, node: onnx.NodeProto, body: onnx.GraphProto, taken: set[str]
) -> list[onnx.NodeProto]:
    """The nodes of a body for the graph around it; what else it holds goes into that graph."""
    fresh: dict[str, str] = {}
    for name in dict.fromkeys(_made(body)):
        number, chosen = 1, name
        while chosen in taken:
            number += 1
            chosen = f"{name}#{number}"
        taken.add(chosen)
        fresh[name] = chosen
    _rename(body, fresh)
    graph.initializer.extend(body.initializer)
    graph.sparse_initializer.extend(body.sparse_initializer)
    graph.value_info.extend(body.value_info)
    handed_on = (
        onnx.helper.make_node("Identity", [inner.name], [outer])
        for inner, outer in zip(body.output, node.output, strict=True)
        if outer
    )
    return [*body.node, *handed_on]


def _made(body: onnx.GraphProto) -> Iterator[str]:
    """The names that a body, and the bodies within it, give."""
    yield from (value.name for value in (*body.input, *body.initializer))
    yield from (sparse.values.name for sparse in body.sparse_initializer)
    for node in body.node:
        yield from filter(None, node.output)
        for inner in _bodies(node):
            yield from _made(inner)


def _rename(body: onnx.GraphProto, names: Mapping[str, str]) -> None:
    sparse = [tensor.values for tensor in body.sparse_initializer]
    for value in (*body.input, *body.output, *body.initializer, *body.value_info, *sparse):
        value.name = names.get(value.name, value.name)
    for node in body.node:
        for names_of_node in (node.input, node.output):
            names_of_node[:] = [names.get(name, name) for name in names_of_node]
        for inner in _bodies(node):
            _rename(inner, names)


def _bodies(node: onnx.NodeProto) -> Sequence[onnx.GraphProto]:
    return [entry.g for entry in node.attribute if entry.HasField("g")]


class _Values:
    """Values that no probe changes, computed by ONNX's reference evaluator, if they are small."""

    def __init__(self, proto: onnx.ModelProto, known: Mapping[str, NDArray[Any]]) -> None:
        standard = (entry for entry in proto.opset_import if entry.domain in ("", "ai.onnx"))
        self._opset = max((entry.version for entry in standard), default=1)
        self._graph = proto.graph  # whose initializers become more
        self._producers: dict[str, onnx.NodeProto] = {}
        self._values: dict[str, NDArray[Any] | None] = dict(known)

    def add(self, node: onnx.NodeProto) -> None:
        """A further node of the graph."""
        self._producers.update(dict.fromkeys(filter(None, node.output), node))

    def value(self, name: str, depth: int = _DEEP) -> NDArray[Any] | None:
        """The numbers of a value, or None where they depend on a probe, or are many."""
        if name not in self._values:
            self._values[name] = self._computed(name, depth) if depth else None
        return self._values[name]

    def _computed(self, name: str, depth: int) -> NDArray[Any] | None:
        stored = next((t for t in self._graph.initializer if t.name == name), None)
        try:
            if stored is not None:
                external = stored.data_location == onnx.TensorProto.EXTERNAL
                small = elements(stored) <= _LARGEST and not external
                return numpy_helper.to_array(stored) if small else None
            node = self._producers.get(name)
            return None if node is None else self._evaluated(node, name, depth)
        except Exception:  # of many types, from the numbers of a damaged file
            return None

    def _evaluated(self, node: onnx.NodeProto, name: str, depth: int) -> NDArray[Any] | None:
        if node.op_type in _UNBOUNDED | RANDOM or node.domain not in ("", "ai.onnx"):
            return None
        if _bodies(node):
            return None
        given = {}
        for part in filter(None, node.input):
            value = self.value(part, depth - 1)
            if value is None:
                return None
            given[part] = value
        if math.prod(max(value.size, 1) for value in given.values()) > _LARGEST:
            return None
        plain = onnx.NodeProto()
        plain.CopyFrom(node)
        plain.domain = ""  # which is what ai.onnx means
        (result,) = evaluated(plain, self._opset, [name], given)
        return np.asarray(result)

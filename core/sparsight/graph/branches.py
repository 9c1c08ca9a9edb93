"""If nodes whose condition no probe changes: the branch that runs becomes a part of the graph."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from .constant_folding import Constants
from .layer_names import free_name
from .nodes import attribute, kind, standard_opset, subgraphs
from .stored_tensors import StoredTensors, initializers

__all__ = ["inline_branches"]

_LARGEST = 2**22
"""Bytes of what a condition may be computed from, a value."""


def inline_branches(proto: onnx.ModelProto, known: Mapping[str, NDArray[Any]]) -> bool:
    """Put the branch that runs in the place of each If whose condition can be computed from
    constants and the `known` inputs; whether there was one. Works in place."""
    graph = proto.graph
    if not any(node.op_type == "If" for node in graph.node):
        return False
    values = _Values(proto, known)
    taken = {value.name for value in graph.input} | set(values.stored)
    taken |= {name for node in graph.node for name in node.output}
    done: list[onnx.NodeProto] = []
    queue, found = deque(graph.node), False
    while queue:
        node = queue.popleft()
        branch = _branch(node, values)
        if branch is None:
            values.producers.update(dict.fromkeys(filter(None, node.output), node))
            done.append(node)
            continue
        found = True
        queue.extendleft(reversed(_spliced(graph, node, branch, taken)))
        values.stored.update(initializers(branch))
    if found:
        del graph.node[:]
        graph.node.extend(done)
    return found


def _branch(node: onnx.NodeProto, values: _Values) -> onnx.GraphProto | None:
    """A copy of the branch of an If that runs, or None where that is open."""
    condition = values.truth(node.input[0]) if kind(node) == ("", "If") and node.input else None
    if condition is None:
        return None
    chosen = "then_branch" if condition else "else_branch"
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
        fresh[name] = free_name(name, taken)
        taken.add(fresh[name])
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
        for inner in subgraphs(node):
            yield from _made(inner)


def _rename(body: onnx.GraphProto, names: Mapping[str, str]) -> None:
    sparse = [tensor.values for tensor in body.sparse_initializer]
    for value in (*body.input, *body.output, *body.initializer, *body.value_info, *sparse):
        value.name = names.get(value.name, value.name)
    for node in body.node:
        for names_of_node in (node.input, node.output):
            names_of_node[:] = [names.get(name, name) for name in names_of_node]
        for inner in subgraphs(node):
            _rename(inner, names)


class _Values:
    """What is stored in a graph, or known of its inputs, and what follows from that.

    `stored` and `producers` grow with the nodes and initializers of the branches that run.
    """

    def __init__(self, proto: onnx.ModelProto, known: Mapping[str, NDArray[Any]]) -> None:
        self.stored = initializers(proto.graph)
        self.producers: dict[str, onnx.NodeProto] = {}
        tensors = StoredTensors(self.stored, self.producers, "the model")
        arrays = {name: np.asarray(value) for name, value in known.items()}  # scalars, too
        self._constants = Constants(
            self.producers,
            frozenset(),
            lambda name: arrays[name] if name in arrays else tensors.find(name),
            tensors.read,
            lambda: standard_opset(proto) or 1,
            _LARGEST,
        )

    def truth(self, name: str) -> bool | None:
        """Whether a condition holds; None where it depends on a probe, or is not one value."""
        try:
            known = self._constants.description(name)
            value = self._constants.value(name) if known is not None and known.size == 1 else None
        except Exception:  # of many types, from the numbers of a damaged file
            return None
        return None if value is None else bool(value.reshape(-1)[0])

"""What an ONNX node says: its operator, its inputs and attributes, and the bodies within it."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from typing import Any

import onnx

__all__ = [
    "Kind",
    "attribute",
    "attribute_tensors",
    "captured",
    "domain_of",
    "graphs_within",
    "inner_nodes",
    "input_at",
    "is_standard",
    "kind",
    "nodes_within",
    "standard_opset",
    "subgraphs",
]

Kind = tuple[str, str]
"""Domain and operator type; the standard domain is ""."""


def domain_of(name: str) -> str:
    """The one name of a domain: the standard's is "", and also goes by "ai.onnx"."""
    return "" if name == "ai.onnx" else name


def kind(node: onnx.NodeProto) -> Kind:
    """Domain and operator type of a node."""
    return domain_of(node.domain), node.op_type


def is_standard(node: onnx.NodeProto) -> bool:
    """Whether a node's operator is one of the ONNX standard."""
    return domain_of(node.domain) == ""


def standard_opset(proto: onnx.ModelProto) -> int | None:
    """Version of the standard operators that a model imports, or None."""
    versions = [int(o.version) for o in proto.opset_import if domain_of(o.domain) == ""]
    return max(versions, default=None)


def input_at(node: onnx.NodeProto, position: int | None) -> str:
    """Name of an input of a node, or ""."""
    return node.input[position] if position is not None and len(node.input) > position else ""


def attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:
    """Value of an attribute of a node."""
    for entry in node.attribute:
        if entry.name == name:
            return onnx.helper.get_attribute_value(entry)
    return default


def attribute_tensors(node: onnx.NodeProto) -> list[onnx.TensorProto]:
    """The tensors that a node holds in its attributes."""
    return [
        tensor
        for entry in node.attribute
        for tensor in [*([entry.t] if entry.HasField("t") else []), *entry.tensors]
    ]


def subgraphs(node: onnx.NodeProto) -> list[onnx.GraphProto]:
    """The bodies of an If, Loop or Scan node."""
    return [
        graph
        for entry in node.attribute
        for graph in [*([entry.g] if entry.HasField("g") else []), *entry.graphs]
    ]


def graphs_within(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """A graph and all bodies within it, at any depth."""
    yield graph
    for node in graph.node:
        for body in subgraphs(node):
            yield from graphs_within(body)


def nodes_within(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    """Nodes, each followed by those of its bodies, at any depth."""
    for node in nodes:
        yield node
        for body in subgraphs(node):
            yield from nodes_within(body.node)


def inner_nodes(node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
    """The nodes of a node's bodies, at any depth."""
    return nodes_within(inner for body in subgraphs(node) for inner in body.node)


def captured(node: onnx.NodeProto, blind: Container[Kind] = ()) -> list[str]:
    """The values of the graph around a node that its bodies read, other than by operators that are
    `blind` to numbers."""
    names: list[str] = []
    for body in subgraphs(node):
        made = {value.name for value in (*body.input, *body.initializer)}
        for inner in body.node:
            reads = [*filter(None, inner.input), *captured(inner, blind)]
            names += [name for name in reads if name not in made and kind(inner) not in blind]
            made.update(inner.output)
        names += [value.name for value in body.output if value.name not in made]
    return names

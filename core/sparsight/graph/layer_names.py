"""Names of layers that a person recognises, and that are the PyTorch adapter's for the same net."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable

import onnx

__all__ = ["free_name", "layer_name", "unique"]

_WEIGHT = re.compile(r"^(.+?)[._/](?:weights?|kernel|[wW])(?:[:_]\d+)?(?:_quantized|_v)?$")
_NORMALISED = re.compile(r"^(.+?)\.parametrizations\.weight\.original\d$")
_BIAS = re.compile(r"^(.+?)[._/](?:bias(?:es)?|[bB])(?:[:_]\d+)?$")
_FUSED = re.compile(r"^(?:[A-Za-z]+Fusion_(?:W|GemmB)_)+")
"""Before the name of weights that ONNX Runtime folded something into."""
_TAKEN_IN = re.compile(r"(?:/Mat[mM]ul[A-Z][a-z]+Fusion/)+$")
"""Behind the path of a MatMul into which ONNX Runtime took a Mul or a Transpose."""
_SCOPE = re.compile(r"'([^']*)'")
_SCOPES = "pkg.torch.onnx.name_scopes"


def layer_name(node: onnx.NodeProto, weights: str, bias: str, tensor: str) -> str:
    """Name of the layer that a node computes.

    From its weights ("conv1.weight"), its bias, the module that PyTorch's exporter says it comes
    from, its own path ("/conv1/Conv"), or the tensor it makes; the first that tells.
    """
    weights = _FUSED.sub("", weights)
    if weights == "weight":  # the network is this one layer
        return "model"
    for pattern, name in ((_NORMALISED, weights), (_WEIGHT, weights), (_BIAS, bias)):
        match = pattern.match(name)
        if match:
            return match[1]
    return _scope(node) or _path(node.name) or tensor


def unique(names: Iterable[str]) -> list[str]:
    """The names in order; what came before gets a number: "fc", "fc#2"."""
    taken: dict[str, None] = {}
    for name in names:
        taken[free_name(name, taken)] = None
    return list(taken)


def free_name(name: str, taken: Container[str]) -> str:
    """A name, with a number behind it where it is taken."""
    chosen, number = name, 1
    while chosen in taken:
        number += 1
        chosen = f"{name}#{number}"
    return chosen


def _scope(node: onnx.NodeProto) -> str:
    """The module in what torch.onnx.export(dynamo=True) records: "['', 'fc1', 'linear']"."""
    for entry in node.metadata_props:
        if entry.key == _SCOPES:
            scopes = _SCOPE.findall(str(entry.value))  # bytes, if it is no text
            return scopes[-2] if len(scopes) > 1 else ""
    return ""


def _path(name: str) -> str:
    """A node's name; of the TorchScript exporter's paths the module: "/a/a.0/Conv" gives "a.0"."""
    parts = _TAKEN_IN.sub("", name).split("/")
    if len(parts) < 3 or parts[0]:
        return name
    module: list[str] = []
    for part in parts[1:-1]:
        if module and part.startswith(module[-1] + "."):
            module.pop()  # containers repeat their own name
        module.append(part)
    return ".".join(module)

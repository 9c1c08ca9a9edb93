"""Values that no input of a model changes: stored, or computed from what is stored.

What operators make of constants is computed when its numbers are asked for. Shapes and element
types come without these numbers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from .reference_evaluation import (
    MAX_BYTES,
    Description,
    NotComputedError,
    TooMuchError,
    check_work,
    checked,
    computable,
    evaluated,
    inferred,
)

__all__ = ["Constants", "Stored"]

Stored = TensorProto | onnx.SparseTensorProto | NDArray[Any]
"""Of initializers and Constant nodes; an array where the node holds numbers without a tensor."""

_SMALL = 2**16  # bytes: results up to it are kept
_MAX_NODES = 1024

_FROM_SHAPE = ("Shape", "Size")  # do not see numbers


class Constants:
    """The constants of one graph, described and computed as they are asked for.

    `stored` finds what initializers and Constant nodes hold, by name, and `read` its numbers, in
    the type that they are stored in; `reached` are the values that an input changes, `largest` the
    bytes that one value may take.
    """

    def __init__(
        self,
        producers: Mapping[str, onnx.NodeProto],
        reached: Collection[str],
        stored: Callable[[str], Stored | None],
        read: Callable[[Stored], NDArray[Any]],
        opset: Callable[[], int],
        largest: int = MAX_BYTES,
    ) -> None:
        self._producers = producers
        self._reached = reached
        self._stored = stored
        self._read = read
        self._opset = opset
        self._largest = largest
        self._known: dict[str, Description | str] = {}
        self._small: dict[str, NDArray[Any]] = {}

    def description(self, name: str) -> Description | None:
        """Shape and element type, or None where the value is no constant that can be computed."""
        known = self._describe(name)
        return known if isinstance(known, Description) else None

    def obstacle(self, name: str) -> str:
        """Why a value that no input changes is not computed beforehand, or ""."""
        known = self._describe(name)
        return known if isinstance(known, str) else ""

    def value(self, name: str) -> NDArray[Any] | None:
        """The numbers, or None where `description` is None or they would take too much memory or
        time. Raises ValueError with a sentence where they cannot be computed, and what `read`
        raises."""
        if self.description(name) is None:
            return None
        try:
            return self._computed(name)
        except TooMuchError:
            return None
        except NotComputedError as error:
            raise ValueError(f"constant {name!r} cannot be computed: {error}") from None

    def origin(self, name: str) -> str:
        """The stored constant of which a constant is another form, as far back as it is no smaller:
        of a product or a quotient the larger part."""
        for _ in range(_MAX_NODES):
            node, known = self._producers.get(name), self.description(name)
            if node is None or known is None or self._stored(name) is not None:
                break
            sizes = {part: self.description(part) for part in node.input if part}
            found = {part: made.size for part, made in sizes.items() if made is not None}
            largest = max(found, key=lambda part: found[part], default="")
            if not largest or found[largest] < known.size:
                break
            name = largest
        return name

    def _describe(self, name: str) -> Description | str:
        """What is known of a constant, or why nothing is; "" where it is none."""
        if name not in self._known:
            if not name or name in self._reached:
                self._known[name] = ""
                return ""
            try:
                for node in self._needed(name, self._known):
                    self._describe_outputs(node)
                if name not in self._known:
                    self._known[name] = self._describe_stored(name)
            except NotComputedError as error:
                self._known[name] = str(error)
        return self._known[name]

    def _describe_stored(self, name: str) -> Description:
        stored = self._stored(name)
        assert stored is not None  # `_needed` ends there, or raises
        if isinstance(stored, np.ndarray):
            return Description(stored.shape, int(helper.np_dtype_to_tensor_dtype(stored.dtype)))
        values = stored.values if isinstance(stored, onnx.SparseTensorProto) else stored
        return checked(tuple(stored.dims), int(values.data_type))

    def _describe_outputs(self, node: onnx.NodeProto) -> None:
        """Without numbers where that is enough: a norm of large weights may be a short list."""
        types: dict[str, Description] = {}
        for part in filter(None, node.input):
            known = self._describe(part)
            if isinstance(known, str):
                raise NotComputedError(known)
            types[part] = known
        made = inferred(node, self._opset(), types, {})
        if not all(name in made for name in node.output if name):
            made = inferred(node, self._opset(), types, self._short(types))
        for name in filter(None, node.output):
            if name not in made:
                raise NotComputedError(f"the output shape of {node.op_type} is unknown")
            self._known[name] = made[name]

    def _short(self, types: Mapping[str, Description]) -> dict[str, NDArray[Any]]:
        """The numbers of which shapes may be made."""
        return {
            name: self._computed(name) for name, known in types.items() if known.bytes <= _SMALL
        }

    def _needed(
        self, name: str, known: Collection[str], numbers: bool = False
    ) -> list[onnx.NodeProto]:
        """The nodes that make a value from what is stored or known, each behind what it needs: with
        `numbers` that whose numbers it needs."""
        order: list[onnx.NodeProto] = []
        done: set[str] = set()
        opened: set[str] = set()
        stack = [name]
        while stack:
            value = stack[-1]
            if value in done or value in known or self._stored(value) is not None:
                stack.pop()
                done.add(value)
                continue
            node = self._producers.get(value)
            if node is None:
                raise NotComputedError(f"no operator computes {value!r}")
            seen = () if numbers and node.op_type in _FROM_SHAPE else node.input
            missing = [part for part in seen if part and part not in done]
            if not missing:
                order.append(computable(node))
                done.update(node.output)
            elif value in opened or len(opened) == _MAX_NODES:
                raise NotComputedError("they depend on themselves, or on too many operators")
            opened.add(value)
            stack += missing
        return order

    def _computed(self, name: str) -> NDArray[Any]:
        """The numbers of a constant that is described."""
        order = self._needed(name, self._small, numbers=True)
        check_work(order, self._known, self._largest)
        uses = Counter(part for node in order for part in node.input)
        values: dict[str, NDArray[Any]] = {}
        for node in order:
            feeds = {part: self._part(node, part, values) for part in node.input if part}
            made = evaluated(node, self._opset(), feeds)
            self._small.update({n: array for n, array in made.items() if array.nbytes <= _SMALL})
            values.update(made)
            uses.subtract(node.input)
            for part in [part for part in node.input if uses[part] <= 0]:
                values.pop(part, None)  # large, perhaps
        return self._ready(name, values)

    def _ready(self, name: str, values: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        if name in values:
            return values[name]
        if name in self._small:
            return self._small[name]
        stored = self._stored(name)
        assert stored is not None
        return self._read(stored)

    def _part(
        self, node: onnx.NodeProto, name: str, values: Mapping[str, NDArray[Any]]
    ) -> NDArray[Any]:
        if node.op_type in _FROM_SHAPE:
            known = self._known[name]
            assert isinstance(known, Description)
            return np.broadcast_to(np.zeros((), np.int8), known.shape)
        return self._ready(name, values)

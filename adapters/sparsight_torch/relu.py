"""Which ReLU a layer's output reaches, and what arrives there."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakIdKeyDictionary

__all__ = ["ReluTrace"]

_RELU = {"relu", "relu_"}
_PASSED = {  # what a layer's output may pass through on its way to its ReLU
    "native_batch_norm",
    "cudnn_batch_norm",
    "miopen_batch_norm",
    "_native_batch_norm_legit",
    "_native_batch_norm_legit_no_training",
    "_batch_norm_with_update",
    "_batch_norm_no_update",
    "add",
    "add_",
    "clone",
    "alias",
    "detach",
}


class ReluTrace(TorchDispatchMode):
    """Follows layers' outputs through batch normalisation, additions and identities to a ReLU.

    It watches operators rather than modules, since most networks call the ReLU as a function. Tell
    it of outputs with `follow`; `receive(name, x)` is called with the ReLU's input x, before an
    in-place ReLU overwrites it, once for each name that reaches one.
    """

    def __init__(self, receive: Callable[[str, Tensor], None]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._receive = receive
        # Weak, so that no activation lives longer than without us; by identity, since == compares
        # values.
        self._names = WeakIdKeyDictionary()
        self._arrived: set[str] = set()

    def follow(self, name: str, output: Tensor) -> None:
        """Follow the output of the layer `name` from here on."""
        self._arrived.discard(name)
        self._names[output] = frozenset([name])

    def __torch_dispatch__(
        self,
        func: Any,
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        operator = func.overloadpacket.__name__
        names: frozenset[str] = frozenset()
        if operator in _RELU or operator in _PASSED:
            names = names.union(*(self._names.get(arg, ()) for arg in args if _is_tensor(arg)))
        if operator in _RELU:
            for name in sorted(names - self._arrived):
                self._arrived.add(name)
                self._receive(name, args[0])
        result = func(*args, **(kwargs or {}))
        if names and operator in _PASSED:
            self._names[result[0] if isinstance(result, tuple | list) else result] = names
        elif operator == "relu_":
            self._names.pop(args[0], None)
        return result


def _is_tensor(value: Any) -> bool:
    return isinstance(value, torch.Tensor)

"""Which ReLU a layer's output reaches, and what arrives there."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakIdKeyDictionary

from .output_layers import operator_name

__all__ = ["ReluTrace"]

_CLAMPS = {"hardtanh", "hardtanh_", "clamp", "clamp_", "clamp_min", "clamp_min_"}
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

    supports_higher_order_operators = True  # a network that calls one is to run as without us

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
        operator = operator_name(func)
        names: frozenset[str] = frozenset()
        if _is_relu(operator, args):
            for name in sorted(self._names.pop(args[0], names) - self._arrived):
                self._arrived.add(name)
                self._receive(name, args[0])
        elif _passes(operator, args):
            tensors = [arg for arg in args if isinstance(arg, Tensor)]
            names = names.union(*(self._names.get(tensor, ()) for tensor in tensors))
        result = func(*args, **(kwargs or {}))
        if names:
            self._names[result[0] if isinstance(result, tuple | list) else result] = names
        return result


def _is_relu(operator: str, args: tuple[Any, ...]) -> bool:
    """Whether an operator cuts off at zero: ReLU, ReLU6, a clamp from zero upwards."""
    lowest = args[1] if len(args) > 1 else None
    return operator in ("relu", "relu_") or (operator in _CLAMPS and _is_zero(lowest))


def _is_zero(value: Any) -> bool:
    return isinstance(value, int | float) and value == 0


def _passes(operator: str, args: tuple[Any, ...]) -> bool:
    # x + 3 before a clamp is a part of hard-swish: no ReLU is to be looked for there
    numbers = any(isinstance(arg, int | float) for arg in args)
    return operator in _PASSED and not (operator in ("add", "add_") and numbers)

"""Which layers feed other layers. An output layer is one whose values feed none."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakIdKeyDictionary

__all__ = ["FeedTrace", "operator_name"]

_ALL = range(1_000)

_FACTORS: dict[str, Collection[int]] = {
    **dict.fromkeys(("mm", "bmm", "mv", "_int_mm", "_scaled_mm", "_grouped_mm"), (0, 1)),
    **dict.fromkeys(("_weight_int8pack_mm", "_weight_int4pack_mm"), (0, 1)),
    **dict.fromkeys(("linear", "mkldnn_linear", "_mkl_linear"), (0, 1)),
    **dict.fromkeys(("addmm", "_addmm_activation", "addbmm", "baddbmm", "addmv"), (1, 2)),
    **dict.fromkeys(("convolution", "_convolution", "convolution_overrideable"), (0, 1)),
    **dict.fromkeys(("cudnn_convolution", "miopen_convolution", "mkldnn_convolution"), (0, 1)),
    **dict.fromkeys(("_trilinear", "deform_conv2d"), (0, 1, 2)),
    "_scaled_dot_product_attention_math": (0, 1, 2),
    "_scaled_dot_product_cudnn_attention": (0, 1, 2),
    "_scaled_dot_product_efficient_attention": (0, 1, 2),
    "_scaled_dot_product_flash_attention": (0, 1, 2),
    "_scaled_dot_product_flash_attention_for_cpu": (0, 1, 2),
    **dict.fromkeys(("mkldnn_rnn_layer", "_cudnn_rnn", "miopen_rnn", "_lstm_mps"), _ALL),
    **dict.fromkeys(("_native_multi_head_attention", "_transformer_encoder_layer_fwd"), _ALL),
}
"""Which arguments of an operator are multiplied with each other. What else it takes is added."""

_WITHOUT_VALUES = {
    *("zeros_like", "ones_like", "full_like", "empty_like"),
    *("rand_like", "randn_like", "randint_like"),
    *("new_zeros", "new_ones", "new_full", "new_empty", "new_empty_strided"),
}
"""Operators that take no more than a shape from what they read."""


class FeedTrace(TorchDispatchMode):
    """Tells which layers' values other layers depend on, through any path.

    A layer is whatever multiplies something that depends on the inputs by something that does not:
    modules, functional calls and LSTMs alike; not the product of query and key. Run the network in
    `watching`, and tell of the outputs of its layers with `follow`; afterwards `output_layers`
    names those of them that fed no other.

    It watches operators, and notes for each storage which layers its values come from past no other
    layer: so views, in-place operations and caches need no care of their own.
    """

    supports_higher_order_operators = True  # a network that calls one is to run as without us

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.output_layers: frozenset[str] = frozenset()
        self._followed: set[str] = set()
        self._feeding: set[str] = set()
        self._sources = _Sources()
        self._paused = False

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Around what is no part of the network: it costs less unseen."""
        self._paused = True
        try:
            yield
        finally:
            self._paused = False

    @contextmanager
    def watching(self, inputs: Iterable[Tensor]) -> Iterator[None]:
        """Around a forward of the network on these inputs. What is compiled runs uncompiled, since
        compiled operators are not seen."""
        for tensor in inputs:
            self._sources.put(tensor, frozenset())
        with torch.compiler.set_stance("force_eager"), self:
            yield
        self.output_layers = frozenset(self._followed - self._feeding)
        self._sources = _Sources()

    def follow(self, name: str, output: Tensor) -> None:
        """The output of the layer `name`, which has just run. Harmless after `watching`."""
        before = self._sources.get(output)
        self._followed.add(name)
        if before is not None:  # else it is the same for all inputs
            self._feeding |= before  # by an operator that is not in the table
            self._sources.put(output, frozenset([name]))

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """PyTorch need not guard each call against compilation, which `watching` turns off: that
        takes longer than all the rest."""
        return False

    def __torch_dispatch__(
        self,
        func: Any,
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if self._paused:
            return func(*args, **kwargs)
        if _is_composite(func):  # they arrive whole in inference mode
            with self:
                result = func.decompose(*args, **kwargs)
            if result is not NotImplemented:
                return result
        sources = self._passed_on(operator_name(func), args, kwargs)
        result = func(*args, **kwargs)
        if sources is not None:
            for tensor in _tensors((result, [args[i] for i in _written(func) if i < len(args)])):
                self._sources.put(tensor, sources | (self._sources.get(tensor) or frozenset()))
        return result

    def _passed_on(
        self, operator: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> frozenset[str] | None:
        """The layers that an operator's result comes from; None where no input changes it."""
        known = [self._sources.get(tensor) for tensor in _tensors((args, kwargs))]
        reached = [sources for sources in known if sources is not None]
        if not reached or operator in _WITHOUT_VALUES:
            return None
        positions = _FACTORS.get(operator)
        if positions is not None:
            factors = list(_tensors([arg for i, arg in enumerate(args) if i in positions]))
            if any(self._sources.get(f) is None and f.dim() > 1 for f in factors):
                self._feeding.update(*(self._sources.get(f) or () for f in factors))
        return frozenset().union(*reached) - self._feeding


class _Sources:
    """Layers by the storage of tensors, so that views and their base are one."""

    def __init__(self) -> None:
        self._by_storage: dict[int, frozenset[str]] = {}
        # A weak reference keeps the place of a storage, not its memory: no other gets its address.
        self._places: dict[int, StorageWeakRef] = {}
        self._by_tensor = WeakIdKeyDictionary()  # those without a storage, as sparse ones

    def get(self, tensor: Tensor) -> frozenset[str] | None:
        storage = _storage(tensor)
        if storage is None:
            found: frozenset[str] | None = self._by_tensor.get(tensor)
            return found
        return self._by_storage.get(storage._cdata)

    def put(self, tensor: Tensor, sources: frozenset[str]) -> None:
        storage = _storage(tensor)
        if storage is None:
            self._by_tensor[tensor] = sources
            return
        place = storage._cdata
        if place not in self._places:
            self._places[place] = StorageWeakRef(storage)
        self._by_storage[place] = sources


def _storage(tensor: Tensor) -> torch.UntypedStorage | None:
    try:
        return tensor.untyped_storage()
    except (NotImplementedError, RuntimeError):
        return None


def _tensors(values: Any) -> Iterator[Tensor]:
    """The tensors in arguments or results."""
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, list | tuple):
        for value in values:
            yield from _tensors(value)
    elif isinstance(values, dict):
        yield from _tensors(list(values.values()))


def operator_name(func: Any) -> str:
    """The name of what a dispatch mode was called with: an operator, or one of higher order."""
    return str(func.overloadpacket.__name__ if hasattr(func, "overloadpacket") else func)


@cache
def _is_composite(func: Any) -> bool:
    """Whether an operator is written in terms of others."""
    has_kernel = torch._C._dispatch_has_kernel_for_dispatch_key
    return hasattr(func, "decompose") and has_kernel(func.name(), "CompositeImplicitAutograd")


@cache
def _written(func: Any) -> tuple[int, ...]:
    """Positions of the arguments that an operator writes to."""
    schema = getattr(func, "_schema", None)
    arguments = [] if schema is None else schema.arguments
    return tuple(i for i, a in enumerate(arguments) if a.alias_info and a.alias_info.is_write)

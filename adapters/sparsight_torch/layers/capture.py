"""Catching what layers return while a network runs, and leaving no trace afterwards."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from sparsight.errors import UsageError

__all__ = ["Capture", "Weakly", "in_backward"]

Receive = Callable[[str, Tensor], None]
Before = Callable[[Sequence[Any], Mapping[str, Any]], None]


def in_backward() -> bool:
    """Whether the autograd engine is running, as when a checkpoint computes a forward again."""
    return not torch.compiler.is_compiling() and torch._C._current_graph_task_id() != -1


class Capture:
    """Calls `receive(name, output)` whenever one of the layers has run, until it is detached.

    `root` and `before` give a function that is called before each forward of the whole network,
    with its arguments by position and by keyword, `after` one that is called after it with what it
    returned, or with None where it raised. `passing` are functions that are called with whatever a
    module returned, before `receive` is. A context manager: the hooks are gone at its end, also
    after an exception.
    """

    def __init__(
        self,
        layers: Mapping[str, nn.Module],
        receive: Receive,
        root: nn.Module | None = None,
        before: Before | None = None,
        after: Callable[[Any], None] | None = None,
        passing: Mapping[nn.Module, Callable[[Any], None]] | None = None,
    ) -> None:
        _guard_hooks()
        self._handles: list[RemovableHandle] = []
        for module, passed in (passing or {}).items():
            self._handles.append(module.register_forward_hook(_Hook(passed)))
        for name, module in layers.items():
            hook = _Hook(partial(_receive_tensor, receive, name), name)
            self._handles.append(module.register_forward_hook(hook))
        if root is not None and before is not None:
            pre_hook = _PreHook(lambda arguments: before(*arguments))
            handle = root.register_forward_pre_hook(pre_hook, prepend=True, with_kwargs=True)
            self._handles.append(handle)
        if root is not None and after is not None:
            end = _Hook(after, replicas=True)  # the hook before has refused them
            self._handles.append(root.register_forward_hook(end, always_call=True))

    @property
    def attached(self) -> bool:
        """Whether the hooks are in place."""
        return bool(self._handles)

    def detach(self) -> None:
        """Remove the hooks; the model is as it was. Harmless when repeated."""
        while self._handles:
            self._handles.pop().remove()

    def __enter__(self) -> Capture:
        return self

    def __exit__(self, *_: object) -> None:
        self.detach()


class Weakly:
    """A method, called as long as its object lives: hooks that hold it keep nothing alive."""

    def __init__(self, method: Callable[..., None]) -> None:
        assert isinstance(method, MethodType)
        self._owner, self._name = weakref.ref(method.__self__), method.__name__

    def __call__(self, *arguments: Any) -> None:
        owner = self._owner()
        if owner is not None:
            getattr(owner, self._name)(*arguments)


class _Hook:
    """A forward hook that stays behind when its module is copied or pickled.

    A copy of a model (a moving average of the weights, a saved module) has nothing to do with the
    penalty on the original, whose pending graph could not be copied either. Nor has an exporter,
    which runs the model on tensors of its own.
    """

    def __init__(
        self, receive: Callable[[Any], None], name: str = "", replicas: bool = False
    ) -> None:
        self.receive, self.name, self.replicas = receive, name, replicas

    def __call__(self, module: nn.Module, inputs: Any, output: Any = None) -> None:
        if _is_exporting() or torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]
            return
        if getattr(module, "_is_replica", False) and not self.replicas:
            raise UsageError(
                f"layer {self.name or 'the network'!r} runs in a DataParallel replica, whose "
                "outputs are discarded; use DistributedDataParallel"
            )
        self.receive(output)

    @property
    def __name__(self) -> str:
        raise _NotScriptableError(
            "torch.jit.script cannot compile a network with a penalty attached: detach the penalty "
            "first, or script a copy of the network that was made before the penalty"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (_ignore, self.name)


class _NotScriptableError(UsageError, AttributeError):
    """torch.jit.script asks hooks for their names; `hasattr` and `getattr` with a default work."""


class _PreHook(_Hook):
    """One that is called before a forward, with its arguments."""

    def __call__(self, module: nn.Module, inputs: Any, keywords: Any = None) -> None:
        super().__call__(module, inputs, (inputs, keywords))


# PyTorch 2.6 cannot tell.
_is_exporting: Callable[[], bool] = getattr(torch.compiler, "is_exporting", lambda: False)


def _guard_hooks() -> None:
    """Let torch.compile tell a network with hooks from another one of the same class.

    By default it takes code that it compiled for the one to fit the other too, and the hooks would
    never run. What was compiled under that rule is compiled again.
    """
    import torch._dynamo  # 2 s; PyTorch's optimisers import it as well, when the first one is made

    if torch._dynamo.config.skip_nnmodule_hook_guards:
        torch._dynamo.config.skip_nnmodule_hook_guards = False
        torch._dynamo.reset()


def _ignore(output: Any) -> None:
    """What the hook of a copied module does."""


def _receive_tensor(receive: Receive, name: str, output: Any) -> None:
    if not isinstance(output, Tensor):
        raise UsageError(f"layer {name!r} returned a {type(output).__name__}; expected a tensor")
    receive(name, output)

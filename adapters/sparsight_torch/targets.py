"""Which layers of a network are measured or penalised, and how strongly."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.parameter import is_lazy

from sparsight.errors import TargetError, UsageError, nearest
from sparsight.globs import fitting

__all__ = ["Schedule", "Selection", "Strength", "Target", "measurable_layers", "select_targets"]

Schedule: TypeAlias = Callable[[int], float]
"""Strength as a function of how often the penalty was called before."""

Strength: TypeAlias = float | Schedule

Selection: TypeAlias = (
    Mapping[str, Strength]  # mappings are invariant in their keys
    | Mapping[type[nn.Module], Strength]
    | Mapping[str | type[nn.Module], Strength]
    | str
    | Path
)
"""Strengths by layer name, glob or module type; or the path of a targets.toml."""


@dataclass(frozen=True)
class Target:
    """A layer that is penalised."""

    name: str
    module: nn.Module
    strength: Strength

    def strength_at(self, step: int) -> float:
        """The strength at the penalty's call number `step`."""
        return float(self.strength(step) if callable(self.strength) else self.strength)


def unwrapped(model: nn.Module) -> nn.Module:
    """The network inside torch.compile's and DistributedDataParallel's wrappers."""
    while True:
        inner = getattr(model, "_orig_mod", None)
        if inner is None and isinstance(
            model, nn.parallel.DistributedDataParallel | nn.DataParallel
        ):
            inner = model.module
        if not isinstance(inner, nn.Module):
            return model
        model = inner


def measurable_layers(model: nn.Module) -> dict[str, nn.Module]:
    """Layers with a linear output and one filter a channel, by name, in order of definition.

    Convolutions, their transposed forms and dense layers.
    """
    modules = _named_modules(model).items()
    return {name: module for name, module in modules if isinstance(module, _ConvNd | nn.Linear)}


def channel_axis(module: nn.Module) -> int:
    """Axis of the channels in a layer's output, counted so that any batch shape fits."""
    return -1 if isinstance(module, nn.Linear) else 1


def filters(module: nn.Module) -> Tensor:
    """The weights of a layer with one filter a row, [D, K]; differentiable, parametrised or not."""
    weight = cast(Tensor, module.weight)
    if is_lazy(weight):
        raise UsageError(
            f"a {type(module).__name__} has no weights before the first forward of the network"
        )
    if hasattr(weight, "full_tensor"):  # sharded: every rank needs all filters
        weight = cast(Tensor, weight.full_tensor())
    if not isinstance(module, _ConvTransposeNd):
        return weight.flatten(1)
    # [C, D / g, ...]: the filters of a group see the C / g inputs of that group
    inputs, outputs = weight.shape[:2]
    grouped = weight.reshape(module.groups, inputs // module.groups, outputs, -1)
    return grouped.transpose(1, 2).reshape(module.groups * outputs, -1)


def select_targets(
    model: nn.Module,
    selection: Selection,
    kind: Literal["lambda", "kappa"],
    any_module: bool = False,
) -> list[Target]:
    """The targets that a selection names, in order of definition; the last entry that fits wins.

    Targets are measurable layers, or with `any_module` modules of any type. Raises TargetError for
    an entry that fits none, with the nearest names.
    """
    layers = measurable_layers(model) if not any_module else _named_modules(model)
    if isinstance(selection, str | Path):
        selection = _read_selection(Path(selection), kind)
    if not selection:
        raise TargetError(f"no target is given; there are: {', '.join(layers) or 'no layers'}")
    chosen: dict[str, Strength] = {}
    for entry, strength in selection.items():
        names = matches(layers, entry)
        if not names:
            raise TargetError(_no_match(unwrapped(model), layers, entry))
        if not callable(strength) and not isinstance(strength, int | float | torch.Tensor):
            raise TargetError(f"the strength of {entry!r} is {strength!r}; a number was wanted")
        chosen.update(dict.fromkeys(names, strength))
    return [Target(name, layers[name], chosen[name]) for name in layers if name in chosen]


def _named_modules(model: nn.Module) -> dict[str, nn.Module]:
    return {name or "model": module for name, module in unwrapped(model).named_modules()}


def matches(layers: Mapping[str, nn.Module], entry: object) -> list[str]:
    """Names of the layers that an entry fits: a name, a glob or a module type."""
    if isinstance(entry, str):
        return fitting(layers, entry)
    if not isinstance(entry, type):
        return []
    return [name for name, module in layers.items() if isinstance(module, entry)]


def _no_match(
    model: nn.Module, layers: Mapping[str, nn.Module], entry: str | type[nn.Module]
) -> str:
    if not isinstance(entry, str):
        kind = getattr(entry, "__name__", repr(entry))
        return f"the network has no convolution or dense layer of type {kind}"
    module = dict(model.named_modules()).get(entry)
    if module is not None:
        return (
            f"{entry!r} is a {type(module).__name__}; convolutions and dense layers can be "
            f"targets: {', '.join(layers) or 'there are none'}"
        )
    return f"the network has no layer {entry!r}; {nearest(entry, layers)}"


def _read_selection(path: Path, kind: Literal["lambda", "kappa"]) -> dict[str | type, Strength]:
    """Strengths from a TOML file, a table a layer: `[conv3]`, `lambda = 1e-3`, `kappa = 1.0`."""
    try:
        tables = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise TargetError(f"cannot read targets from {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise TargetError(f"{path} is no TOML file: {error}") from None
    selection: dict[str | type, Strength] = {}
    for name, table in tables.items():
        unknown = set(table) - {"lambda", "kappa"} if isinstance(table, dict) else {name}
        if unknown:
            raise TargetError(f"{path}: [{name}] may hold lambda and kappa, not {unknown.pop()!r}")
        if kind in table:
            selection[name] = table[kind]
    if not selection:
        raise TargetError(f"{path} gives no layer a {kind}")
    return selection

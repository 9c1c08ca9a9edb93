"""Which layers of a network are measured or penalised, and how strongly."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.parameter import is_lazy

from sparsight.errors import TargetError, UsageError, nearest
from sparsight.globs import matching

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
        if not callable(self.strength):
            return float(self.strength)
        strength = self.strength(step)
        if not _is_number(strength):
            raise UsageError(
                f"the schedule of {self.name!r} returned {strength!r} at step {step}; "
                "expected a finite number"
            )
        return float(strength)


def unwrapped(model: nn.Module) -> nn.Module:
    """The network inside torch.compile's and DistributedDataParallel's wrappers.

    Raises UsageError for what hooks cannot reach, or whose weights are no filters any more.
    """
    if not isinstance(model, nn.Module):
        raise UsageError(f"the network is a {type(model).__name__}; expected a torch.nn.Module")
    while True:
        inner = getattr(model, "_orig_mod", None)
        if inner is None and isinstance(
            model, nn.parallel.DistributedDataParallel | nn.DataParallel
        ):
            inner = model.module
        if not isinstance(inner, nn.Module):
            break
        model = inner
    if isinstance(model, torch.jit.ScriptModule):
        raise UsageError(
            "hooks do not run inside a network that torch.jit scripted or traced: pass the "
            "network that it was made from"
        )
    if any(_is_kind(module, *_FSDP1) for module in model.modules()):
        raise UsageError(
            "FullyShardedDataParallel (FSDP1) flattens the weights of layers, which leaves "
            "no filters: use torch.distributed.fsdp.fully_shard (FSDP2), or pass the network "
            "before it is wrapped"
        )
    return model


_FSDP1 = "torch.distributed.fsdp", "FullyShardedDataParallel"
_CONV1D = "transformers.pytorch_utils", "Conv1D"  # a dense layer whose weights are [C, D]


def _is_kind(module: nn.Module, package: str, name: str) -> bool:
    """Whether a module is of a class that we do not import, or of one made from it."""
    kinds = type(module).__mro__
    return any(kind.__name__ == name and kind.__module__.startswith(package) for kind in kinds)


def is_dense(module: nn.Module) -> bool:
    """Whether a module is a dense layer: its channels are the last axis of what it returns."""
    return isinstance(module, nn.Linear) or _is_kind(module, *_CONV1D)


def measurable_layers(model: nn.Module) -> dict[str, nn.Module]:
    """Layers with a linear output and one filter a channel, by name, in order of definition.

    Convolutions, their transposed forms and dense layers, transformers' Conv1D among them.
    """
    modules = _named_modules(model).items()
    return {name: module for name, module in modules if is_measurable(module)}


def is_measurable(module: nn.Module) -> bool:
    """Whether a module has a linear output and one filter a channel."""
    return isinstance(module, _ConvNd) or is_dense(module)


def channel_axis(module: nn.Module) -> int:
    """Axis of the channels in a layer's output, counted so that any batch shape fits."""
    return -1 if is_dense(module) else 1


def filters(module: nn.Module) -> Tensor:
    """The weights of a layer with one filter a row, [D, K]; differentiable, parametrised or not."""
    weight = cast(Tensor, module.weight)
    if not torch.compiler.is_compiling() and is_lazy(weight):
        raise UsageError(
            f"a {type(module).__name__} has no weights yet: run the network once first"
        )
    if hasattr(weight, "full_tensor"):  # sharded: every rank needs all filters
        weight = cast(Tensor, weight.full_tensor())
    if _is_kind(module, *_CONV1D):
        return weight.T
    if not isinstance(module, _ConvTransposeNd):
        return weight.flatten(1)
    # [C, D / g, ...]: the filters of a group see the C / g inputs of that group
    inputs, outputs = weight.shape[:2]
    grouped = weight.reshape(module.groups, inputs // module.groups, outputs, -1)
    return grouped.transpose(1, 2).reshape(module.groups * outputs, -1)


def filter_shape(module: nn.Module) -> tuple[int, int]:
    """How many filters a layer has, and of how many weights; without computing its weights."""
    if isinstance(module, _ConvNd):
        size = module.in_channels // module.groups * math.prod(module.kernel_size)
        return module.out_channels, size
    if isinstance(module, nn.Linear):
        return module.out_features, module.in_features
    inputs, outputs = cast(Tensor, module.weight).shape  # transformers' Conv1D
    return outputs, inputs


def weights_of(module: nn.Module) -> list[Tensor]:
    """What a layer's filters are made from: its weight, or the parameters that give it."""
    if "weight" in module._parameters:
        return [cast(Tensor, module.weight)]
    biases = ("bias", "parametrizations.bias.")
    weights = [p for name, p in module.named_parameters() if not name.startswith(biases)]
    return [*weights] or [cast(Tensor, module.weight)]


def has_lazy(module: nn.Module) -> bool:
    """Whether a module waits for its first forward to have weights."""
    return any(is_lazy(parameter) for parameter in module.parameters())


def select_targets(
    model: nn.Module,
    selection: Selection,
    strength_name: str,
    any_module: bool = False,
    known: Collection[str] = ("lambda", "kappa"),
) -> list[Target]:
    """The targets that a selection names, in order of definition; the last entry that fits wins.

    Targets are measurable layers, or with `any_module` modules of any type. A module that the
    network holds twice is known by both names, and keeps the first. In a file, strengths are called
    `strength_name`, and those that are called otherwise, but by a `known` name, are for others.
    Raises TargetError for an entry that fits none, with the nearest names.
    """
    layers = _hookable(model) if any_module else measurable_layers(model)
    if isinstance(selection, str | Path):
        selection = _read_selection(Path(selection), strength_name, known, layers)
    if not isinstance(selection, Mapping):
        raise TargetError(_no_mapping(selection))
    if not selection:
        raise TargetError(f"no targets given; there are: {', '.join(layers) or 'no layers'}")
    chosen: dict[str, Strength] = {}
    for entry, strength in selection.items():
        names = matches(layers, entry, model)
        if not names:
            raise TargetError(_no_match(unwrapped(model), layers, entry))
        if not callable(strength) and not _is_number(strength):
            raise TargetError(
                f"the strength of {entry!r} is {strength!r}; expected a finite number, or a "
                "function of the step"
            )
        chosen.update(dict.fromkeys(names, strength))
    return [Target(name, layers[name], chosen[name]) for name in layers if name in chosen]


def _hookable(model: nn.Module) -> dict[str, nn.Module]:
    modules = _named_modules(model).items()
    return {n: module for n, module in modules if not isinstance(module, torch.jit.ScriptModule)}


def _named_modules(model: nn.Module) -> dict[str, nn.Module]:
    return {name or "model": module for name, module in unwrapped(model).named_modules()}


def _is_number(value: Any) -> bool:
    """Whether a value can be a strength: a finite number, or a tensor of one."""
    if isinstance(value, bool) or (isinstance(value, Tensor) and value.numel() != 1):
        return False
    try:
        return math.isfinite(value)
    except (TypeError, ValueError, OverflowError):
        return False


def matches(
    layers: Mapping[str, nn.Module], entry: object, model: nn.Module | None = None
) -> list[str]:
    """Names of the layers that an entry fits: a name, a glob or a module type.

    With `model`, also by the further names of modules that it holds more than once.
    """
    if isinstance(entry, str):
        further = {} if model is None else _further_names(model, layers)
        fit = {further.get(name, name) for name in matching([*layers, *further], entry)}
        return [name for name in layers if name in fit]
    if not isinstance(entry, type):
        return []
    return [name for name, module in layers.items() if isinstance(module, entry)]


def _further_names(model: nn.Module, layers: Mapping[str, nn.Module]) -> dict[str, str]:
    """Every name but the first of layers that a network holds more than once: the first by it."""
    first = {module: name for name, module in layers.items()}
    named = unwrapped(model).named_modules(remove_duplicate=False)
    return {
        name: first[module]
        for name, module in named
        if module in first and name and name not in layers
    }


def _no_mapping(selection: object) -> str:
    wanted = 'strengths by layer, such as {"conv1": 1e-3}, or the path of a targets.toml'
    if isinstance(selection, Iterable) and not isinstance(selection, nn.Module | Tensor | bytes):
        names = [entry for entry in selection if isinstance(entry, str)]
        if names:
            strengths = ", ".join(f'"{name}": 1e-3' for name in names[:3])
            return f"targets need strengths: {{{strengths}}} instead of {names[:3]}"
    return f"cannot use {selection!r} as targets; expected {wanted}"


def _no_match(model: nn.Module, layers: Mapping[str, nn.Module], entry: object) -> str:
    if isinstance(entry, type):
        return f"the network has no convolution or dense layer of type {entry.__name__}"
    if isinstance(entry, nn.Module):
        names = [name for name, module in model.named_modules() if module is entry]
        called = f", {names[0]!r}" if names else ", but it is not part of this network"
        return f"a target is given as a {type(entry).__name__}; expected its name{called}"
    if not isinstance(entry, str):
        return f"{entry!r} cannot be a target; expected a layer's name, a glob or a type"
    module = dict(model.named_modules(remove_duplicate=False)).get(entry)
    if module is None:
        return f"the network has no layer {entry!r}; {nearest(entry, layers)}"
    if isinstance(module, torch.jit.ScriptModule):
        return f"{entry!r} was scripted or traced by torch.jit, where hooks do not run"
    return (
        f"{entry!r} is a {type(module).__name__}; only convolutions and dense layers can be "
        f"targets: {', '.join(layers) or 'there are none'}"
    )


def _read_selection(
    path: Path, strength_name: str, known: Collection[str], layers: Iterable[str]
) -> dict[str | type, Strength]:
    """Strengths from a TOML file, a table a layer: `[conv3]`, `lambda = 1e-3`, `kappa = 1.0`."""
    try:
        tables = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        if matching(layers, str(path)):
            raise TargetError(_no_mapping([str(path)])) from None
        raise TargetError(f"cannot read targets from {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise TargetError(f"cannot read {path} as TOML: {error}") from None
    selection: dict[str | type, Strength] = {}
    for name, table in tables.items():
        _check_table(path, name, table, {*known, strength_name})
        if strength_name in table:
            selection[name] = table[strength_name]
    if not selection:
        raise TargetError(f"{path} sets no {strength_name} for any layer")
    return selection


def _check_table(path: Path, name: str, table: Any, known: Collection[str]) -> None:
    """That a table of a targets.toml holds strengths, and nothing else."""
    dotted = next(_dotted_names(name, table), None)
    if dotted is not None:
        raise TargetError(f'{path}: quote names with dots: ["{dotted}"] instead of [{dotted}]')
    unknown = set(table) - set(known) if isinstance(table, dict) else {name}
    if unknown:
        allowed = " and ".join(sorted(known))
        raise TargetError(f"{path}: [{name}] may hold only {allowed}, not {min(unknown)!r}")


def _dotted_names(name: str, table: Any) -> Iterator[str]:
    """Names of the tables inside a table, which TOML makes of `[net.0]`."""
    for key, value in table.items() if isinstance(table, dict) else ():
        if isinstance(value, dict):
            yield from _dotted_names(f"{name}.{key}", value)
            yield f"{name}.{key}"

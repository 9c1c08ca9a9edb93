"""Measuring a network's layers on a probe set."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sparsight.errors import ProbeError, TargetError, UsageError, nearest
from sparsight.maths.correlation import Centre, correlation_summary
from sparsight.measure.accumulator import LayerAccumulator
from sparsight.measure.batch import BatchStatistics
from sparsight.measure.measurement import LayerMeasurement
from sparsight.schema import LayerInfo

from ..functional import channel_sums, rfav_entropy, rfav_statistics
from ..layers.capture import Capture
from ..layers.output_layers import FeedTrace
from ..layers.relu import ReluTrace
from ..layers.targets import channel_axis, filters, matches, measurable_layers, unwrapped
from ..padding_mask import MaskInput, as_mask, mask_mismatch
from .distributed import batches, gather
from .probe_set import Probes, ProbeSet, Samples

__all__ = ["Statistics", "device_of", "evaluating", "measure"]

Statistics = Literal["entropy", "all"]

_PART = 8  # samples whose ReLU inputs are counted at a time: more leave the cache


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients and autocast; modes and random numbers are restored.

    Every module gets its own mode back, so that frozen batch normalisation stays frozen.
    """
    modes = {module: module.training for module in model.modules()}
    device = device_of(model)
    devices = [device] if device.type == "cuda" else []
    model.eval()
    try:
        with (
            torch.random.fork_rng(devices, enabled=True),
            torch.no_grad(),
            torch.autocast(device.type, enabled=False),
        ):
            yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def measure(
    model: nn.Module,
    probes: Probes,
    *,
    layers: Sequence[str] | None = None,
    shown: Sequence[int] = (),
    statistics: Statistics = "all",
    centre: Centre = "own",
    batch_size: int = 64,
    mask: str | Samples | None = None,
) -> list[LayerMeasurement]:
    """Measure layers on a probe set, in the order in which they run.

    All convolutions and dense layers are measured but the output layers, on whose values no other
    layer depends and whose entropy falls by design (where there are only such, these are measured);
    `layers` chooses by name or glob instead. A layer that runs several times is measured
    each time, as "name", "name#2" and so on. `shown` are the probes whose maps are kept. With
    `statistics="entropy"` all but the entropy and the filters' correlations is left out. `mask` is
    a mask of the probes, [N, *map], 0 at padded positions, or names their input that is one: in
    layers whose maps have its shape those positions are left out of everything, and NaN in maps.

    The network runs in evaluation mode, in float32 if its weights are, and is afterwards as it was.
    In distributed training all ranks call it; each measures its share of the probes, and all get
    the measurement of the whole set.

    `probes` are samples [N, ...], several inputs of such, a Dataset or a DataLoader: see Recorder.

    Raises ProbeError for probes that do not fit, TargetError for layers that do not exist, and
    UsageError for a mask that fits no layer.
    """
    network = unwrapped(model)
    probe_set = ProbeSet.of(probes)
    chosen = _chosen(network, measurable_layers(network), layers)
    if batch_size < 1:
        raise UsageError(f"batch_size={batch_size}: expected a number of probes, at least 1")
    if not all(0 <= position < len(probe_set) for position in shown):
        raise UsageError(f"shown={list(shown)}: expected positions below {len(probe_set)}")
    if statistics not in ("entropy", "all"):
        raise UsageError(f"statistics={statistics!r}: expected 'entropy' or 'all'")
    probing = _Probing(chosen, tuple(shown), statistics == "all", hidden_only=layers is None)
    padding = _mask(network, probe_set, mask)
    device = device_of(network)
    with evaluating(network), probing.attached():
        for first, last in batches(len(probe_set), batch_size):
            # A rank that has no probes left runs one all the same: others may wait for its shards.
            samples = slice(first, last) if last > first else slice(0, 1)
            probing.begin(first, None if padding is None else padding[samples].to(device))
            inputs, keywords = probe_set.batch(samples, device)
            with probing.watched((*inputs, *keywords.values())):
                _run(network, inputs, keywords)
            probing.check_mask()
            if last > first:
                probing.finish()
    probing.leave_out_output_layers()
    if not probing.order:
        raise TargetError("no measurable layer ran on the probes")
    return probing.results(centre)


@dataclass
class _Probing:
    """One pass over a probe set: catches what the layers return and adds it up."""

    layers: dict[str, nn.Module]
    shown: tuple[int, ...]
    everything: bool
    hidden_only: bool
    """Whether output layers are to be left out."""
    order: list[str] = field(default_factory=list)
    _accumulators: dict[str, LayerAccumulator] = field(default_factory=dict)
    _modules: dict[str, nn.Module] = field(default_factory=dict)
    _outputs: dict[str, BatchStatistics] = field(default_factory=dict)
    _relu: dict[str, tuple[NDArray[np.floating], int, int]] = field(default_factory=dict)
    _first: int = 0
    _mask: Tensor | None = None
    _shapes: dict[str, torch.Size] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._trace = ReluTrace(self._arrived)
        self._feeds: FeedTrace | None = None

    @contextmanager
    def attached(self) -> Iterator[None]:
        with Capture(self.layers, self._receive):
            if self.everything:
                # Compiled operators are not seen, and what must be compiled would not run.
                with torch.compiler.set_stance("force_eager"), self._trace:
                    yield
            else:
                yield

    def begin(self, first: int, mask: Tensor | None) -> None:
        """A batch comes, from probe number `first` on, and its mask."""
        self._first, self._mask = first, mask
        self._shapes.clear()
        self._outputs.clear()
        self._relu.clear()

    def check_mask(self) -> None:
        if self._mask is not None and self._mask.shape not in self._shapes.values():
            raise mask_mismatch(self._mask, self._shapes)

    @contextmanager
    def watched(self, inputs: Sequence[Tensor]) -> Iterator[None]:
        """Around a forward on these inputs: the first one shows which layers feed others."""
        if self._feeds is not None or not self.hidden_only:
            yield
            return
        self._feeds = FeedTrace()
        with self._feeds.watching(inputs):
            yield

    def leave_out_output_layers(self) -> None:
        """Unless there are only such. A layer that the first batch did not run stays."""
        if self._feeds is not None:
            outputs = self._feeds.output_layers
            self.order = [name for name in self.order if name not in outputs] or self.order

    def finish(self) -> None:
        for name, statistics in self._outputs.items():
            maximum, zeros, numbers = self._relu.get(name, (None, None, None))
            complete = replace(
                statistics, relu_maximum=maximum, relu_zeros=zeros, relu_numbers=numbers
            )
            self._accumulators[name].update(complete, self._first)

    def results(self, centre: Centre) -> list[LayerMeasurement]:
        accumulators = gather(self._accumulators)
        summaries = {
            module: correlation_summary(filters(module).detach().cpu().float().numpy(), centre)
            for module in self._modules.values()
        }
        return [accumulators[name].result(summaries[self._modules[name]]) for name in self.order]

    def _receive(self, name: str, output: Tensor) -> None:
        module = self.layers[name]
        uses = sum(self._modules[known] is module for known in self._outputs)
        label = f"{name}#{uses + 1}" if uses else name
        if label not in self._accumulators:
            self.order.append(label)
            self._modules[label] = module
            self._accumulators[label] = LayerAccumulator(_info(label, module, output), self.shown)
        if self._feeds is None:
            self._measure(label, output, channel_axis(module))
            return
        self._feeds.follow(label, output)
        with self._feeds.paused():
            self._measure(label, output, channel_axis(module))

    def _measure(self, label: str, output: Tensor, axis: int) -> None:
        if self.everything:
            found, sums = rfav_statistics(output, axis)
            self._trace.follow(label, output)
        else:
            found, sums = {"entropy": rfav_entropy(output, axis)}, None
        entropy = found.pop("entropy")
        self._shapes[label] = entropy.shape
        mask = self._mask_of(label)
        finite = entropy.isfinite()
        if sums is not None and (mask is not None or not finite.all()):
            sums = channel_sums(output, axis, finite if mask is None else finite & mask)
        self._outputs[label] = BatchStatistics(
            entropy=_map(entropy),
            companions={name: _map(values) for name, values in found.items()},
            channel_sums=None if sums is None else sums.cpu().numpy(),
            counted=None if mask is None else _map(mask),
        )

    def _mask_of(self, label: str) -> Tensor | None:
        """The mask, true where positions count, if it has the shape of the layer's maps."""
        fits = self._mask is not None and self._mask.shape == self._shapes[label]
        return self._mask if fits else None

    def _arrived(self, label: str, values: Tensor) -> None:
        axis = self._accumulators[label].layer.channel_axis
        mask, part = self._mask_of(label), _PART
        if mask is not None:
            if not mask.any():
                return
            values, axis = values.movedim(axis, -1)[mask], -1
            part = len(values)
        others = [other for other in range(values.ndim) if other != axis % values.ndim]
        maximum, numbers = values.amax(others), values.numel()
        if maximum.isnan().any():  # they tell nothing: the others decide
            nan = values.isnan()
            numbers -= int(nan.sum())
            maximum = values.masked_fill(nan, -torch.inf).amax(others)
            maximum = maximum.masked_fill(nan.all(dim=others), torch.nan)
        zeros = sum(int((some <= 0).sum()) for some in values.split(part))
        self._relu[label] = (maximum.float().cpu().numpy(), zeros, numbers)


def _info(name: str, module: nn.Module, output: Tensor) -> LayerInfo:
    axis = channel_axis(module)
    return LayerInfo(
        name=name,
        operator=type(module).__name__,
        channels=output.shape[axis],
        map_shape=(),  # known once it is measured
        channel_axis=axis,
        tapped_at="linear output",
        batch_norm_folded=False,
    )


def _map(values: Tensor) -> NDArray[Any]:
    """Values at each position, [N, *map]; a dense layer on vectors has a map of one cell."""
    array = values.cpu().numpy()
    return array.reshape(-1, 1, 1) if array.ndim == 1 else array


def _mask(network: nn.Module, probe_set: ProbeSet, mask: str | Samples | None) -> Tensor | None:
    """The mask of a whole probe set, true where positions count."""
    if mask is None:
        return None
    if isinstance(mask, str):
        arguments = probe_set.batch(slice(None), torch.device("cpu"))
        found = MaskInput(network, mask).of(*arguments)
        if found is None:
            raise UsageError(f"the probes have no input {mask!r} to use as the mask")
        return found != 0
    tensor = as_mask(mask)
    if not tensor.ndim or len(tensor) != len(probe_set):
        shape = tuple(tensor.shape)
        raise UsageError(f"the mask has shape {shape}, but there are {len(probe_set)} probes")
    return tensor != 0


def _chosen(
    network: nn.Module, layers: dict[str, nn.Module], wanted: str | Sequence[str] | None
) -> dict[str, nn.Module]:
    if wanted is None:
        return layers
    chosen: dict[str, nn.Module] = {}
    if not isinstance(wanted, str | Sequence):
        raise UsageError(f"layers={wanted!r}: expected a list of names, globs or types")
    for entry in [wanted] if isinstance(wanted, str) else wanted:
        names = matches(layers, entry, network)
        if not names:
            raise TargetError(f"the network has no layer {entry!r}; {nearest(str(entry), layers)}")
        chosen.update({name: layers[name] for name in names})
    return chosen


def _run(network: nn.Module, inputs: tuple[Tensor, ...], keywords: dict[str, Tensor]) -> None:
    try:
        network(*inputs, **keywords)
    except (RuntimeError, TypeError, ValueError) as error:
        given = (*inputs, *keywords.values())
        shapes = ", ".join(f"{tuple(tensor.shape)} {tensor.dtype}" for tensor in given)
        raise ProbeError(f"the network failed on probes of shape {shapes}: {error}") from error


def device_of(model: nn.Module) -> torch.device:
    """Where a network's inputs belong: the device of its first parameter."""
    first = next(iter(model.parameters()), None)
    return torch.device("cpu") if first is None else first.device

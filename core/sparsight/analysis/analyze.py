"""Measuring a model on a probe set."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from ..errors import ModelError, OutOfMemoryError, ProbeError, UsageError, nearest
from ..graph.instrument import Instrumented, instrument
from ..graph.model import Model, open_model, with_known
from ..graph.renaming import renamed
from ..graph.shape_inference import sides
from ..graph.taps import Tap, Taps, filters, find_taps, said_by_default, select_taps
from ..inference.batch_memory import activation_bytes, batch_that_fits, usual_batch, weight_bytes
from ..inference.correlation_graph import device_summariser
from ..inference.session import Batch, TapSession
from ..maths.correlation import Centre, Summarise, correlation_summary
from ..measure.accumulator import LayerAccumulator
from ..measure.batch import BatchStatistics
from ..probes.probe_set import (
    InputSpec,
    ProbeSet,
    SampleAxes,
    load_probes,
    match_probes,
    shown_positions,
)
from ..probes.sample_axes import with_axes
from ..schema import STATISTICS, LayerInfo
from ..system.devices import Device
from .classification import Evaluation
from .tables import Measurements

__all__ = [
    "Probes",
    "Settings",
    "analyze",
    "input_specs",
    "known_layers",
    "match_model",
    "measurable",
    "measure",
    "scalar_inputs",
]

Probes = str | Path | NDArray[Any] | Mapping[str, NDArray[Any]]
"""An .npz or .npy file, an array, or an array for each input by name."""

Progress = Callable[[int], None]

Notice = Callable[[str], None]

_log = logging.getLogger("sparsight")


@dataclass(frozen=True)
class Settings:
    """How to measure, whatever the model."""

    layers: Sequence[str] | None = None
    """Names or globs; None for all layers but the output layers."""
    statistics: str | Collection[str] = "all"
    """"all", "correlation" for all that is known of filters, or names of `schema.STATISTICS`;
    entropy is always measured."""
    batch_size: int | None = None
    """Samples at once; None for what memory allows, on a CPU 16 at most."""
    device: str = "auto"
    shown: int | Sequence[int] = 8
    """How many probes, spread over the set, or which, have their entropy maps kept."""
    centre: Centre = "own"
    """Centre of filter correlations."""
    mask: str | None = None
    """An input, [N, L], that is 0 at padded positions: they are left out of maps of shape [L]."""
    memory_limit: int | None = None
    """Bytes that weights and activations may take on the device."""
    input_axes: SampleAxes = field(default_factory=dict)
    """By input, the axis that counts the samples, None if it is the same for all of them; of inputs
    that are not named, as the model's names of dimensions tell, else the first."""
    names_from: str | Path | None = None
    """A model whose layers' names are taken where the weights are its."""

    def __post_init__(self) -> None:
        if self.batch_size is not None and self.batch_size < 1:
            raise UsageError(f"batch_size={self.batch_size}: expected 1 or more")
        if self.memory_limit is not None and self.memory_limit < 1:
            raise UsageError(f"memory_limit={self.memory_limit}: expected 1 byte or more")
        if self.centre not in ("own", "filters"):
            raise UsageError(f"centre={self.centre!r}: expected 'own' or 'filters'")
        _ = self.computed

    @property
    def computed(self) -> frozenset[str]:
        """What has to be computed beside H. Raises UsageError for an unknown statistic."""
        names = [self.statistics] if isinstance(self.statistics, str) else self.statistics
        chosen: set[str] = set()
        for name in names:
            if name == "all":
                chosen |= {statistic.measured for statistic in STATISTICS.values()}
            elif name in STATISTICS or name == "correlation":
                chosen.add(STATISTICS[name].measured if name in STATISTICS else name)
            else:
                known = ["all", "correlation", *STATISTICS]
                raise UsageError(f"unknown statistic {name!r}; {nearest(name, known)}")
        return frozenset(chosen - {"entropy"})


def analyze(
    model: str | Path | bytes | onnx.ModelProto | Model,
    probes: Probes | ProbeSet,
    *,
    layers: Sequence[str] | None = None,
    statistics: str | Collection[str] = "all",
    batch_size: int | None = None,
    device: str = "auto",
    shown: int | Sequence[int] = 8,
    centre: Centre = "own",
    mask: str | None = None,
    memory_limit: int | None = None,
    input_axes: SampleAxes | None = None,
    names_from: str | Path | None = None,
    progress: Progress | None = None,
) -> Measurements:
    """Measure the layers of an exported ONNX model on a probe set, in graph order.

    `layers` holds names or globs; without it all layers are measured but the output layers, on
    whose values no other layer depends; where there are only such, these.
    `statistics` is "all", "entropy", or names of `schema.STATISTICS`, and "correlation" for all
    that is known of filters; entropy is always measured. `shown` is how many probes,
    spread over the set, or which, have their entropy maps kept. `mask` names an input, [N, L],
    that is 0 at padded positions, which are left out. `memory_limit`, in bytes, bounds the batch
    that is chosen where none is given, and a CUDA device's arena. `input_axes` says for inputs that
    are not [N, ...] which axis counts the samples, as 1 for a state [layers, N, hidden], or None
    where an input is the same for all of them; names of the model's dimensions, such as "batch",
    say it too. `names_from` is the model before it was optimised: layers get the names that their
    weights have there. `progress` is called with the number of samples after each batch. What was
    chosen, as the device by "auto", and what is left out are logged by the logger "sparsight" as
    INFO. Raises a SparsightError, with a sentence, for a model, probes or options that do not fit.
    """
    settings = Settings(
        layers=layers,
        statistics=statistics,
        batch_size=batch_size,
        device=device,
        shown=shown,
        centre=centre,
        mask=mask,
        memory_limit=memory_limit,
        input_axes=input_axes or {},
        names_from=names_from,
    )
    return measure(model, probes, settings, progress)


def measure(
    model: str | Path | bytes | onnx.ModelProto | Model,
    probes: Probes | ProbeSet,
    settings: Settings,
    progress: Progress | None = None,
    evaluation: Evaluation | None = None,
    notice: Notice = _log.info,
) -> Measurements:
    """`analyze`, with its options as one object; `evaluation` gathers the model's own output, and
    `notice` is told, in a sentence, what was chosen."""
    model = model if isinstance(model, Model) else open_model(model)
    wanted = settings.computed
    found = known_layers(model, settings)
    samples = match_model(model, probes, settings.input_axes)
    if found is None:
        model = with_known(model, samples.same_for_all)
        found = measurable(model, settings.layers, settings.names_from)
    taps = found.taps
    _check_mask(settings.mask, samples)
    keep = shown_positions(settings.shown, len(samples))
    # What the graph counts of ReLU inputs would have the padding in it.
    padded = settings.mask is not None or len(samples) % (samples.batch or 1) != 0
    session = TapSession(
        instrument(model, taps, wanted, by_position=padded),
        taps,
        settings.device,
        folder=model.folder,
        source=model.source,
        axes=samples.axes,
        memory_limit=settings.memory_limit,
    )
    for line in (*found.remarks, *(said_by_default(found) if settings.layers is None else ())):
        notice(line)
    _tell(session, settings, notice)
    size = _batch_size(model, taps, samples, session.device, settings, notice)
    gathered = [LayerAccumulator(layer_info(tap), keep) for tap in taps]
    outputs = [] if evaluation is None else [_scores(model, evaluation)]
    for first, count, batch in _batches(session, samples, size, outputs, notice):
        _check_fit(batch, samples, settings.mask)
        for accumulator in gathered:
            statistics = batch.layers[accumulator.layer.name]
            accumulator.update(_unpadded(statistics, samples, settings.mask, first), first)
        if evaluation is not None:
            evaluation.update(batch.outputs[outputs[0]], first)
        if progress is not None:
            progress(count)
    session.runtime.close()  # its memory is for the correlations now
    summaries: list[Any] = [None] * len(taps)
    if "correlation" in wanted:
        summarise = _summariser(session.device, notice)
        summaries = [_correlation(model, tap, settings.centre, summarise) for tap in taps]
    return Measurements(
        accumulator.result(summary)
        for accumulator, summary in zip(gathered, summaries, strict=True)
    )


def _tell(session: TapSession, settings: Settings, notice: Notice) -> None:
    """What "auto" took, and what of the model the device left to others."""
    device, runtime = session.device, session.runtime
    if settings.device == "auto":
        over = "".join(f"; skipped {line}" for line in runtime.passed_over)
        notice(f"device: auto chose {device.name}{over}")
    elsewhere = runtime.elsewhere
    if elsewhere:
        operators = ", ".join(f"{name} ({count})" for name, count in sorted(elsewhere.items()))
        notice(f"{device.name} leaves these operators to other providers: {operators}")


def _batch_size(
    model: Model,
    taps: Sequence[Tap],
    samples: ProbeSet,
    device: Device,
    settings: Settings,
    notice: Notice,
) -> int:
    """Samples at once: the model's own number, that which is given, or what memory allows."""
    given, limit = settings.batch_size, settings.memory_limit
    # A batch that was given stays, unless only a smaller one keeps the limit.
    free_choice = given is None or (limit is not None and not device.limits_memory)
    if samples.batch is not None or not free_choice:
        return samples.batch or given or 1
    sample = activation_bytes(model, taps, samples.shapes_of_one)
    fitting = batch_that_fits(device, sample, weight_bytes(model), limit)
    if sample is None and limit is not None:
        fitting = fitting if given is None else given
        notice(
            f"cannot estimate the memory per sample: measuring {fitting} at once, whatever the "
            "memory limit"
        )
    wanted = usual_batch(device) if given is None else given
    if sample is not None and fitting < min(wanted, len(samples)):
        notice(f"memory on {device.name} allows batches of {fitting}, not {wanted}")
    return min(wanted, fitting)


def _batches(
    session: TapSession, samples: ProbeSet, size: int, outputs: Sequence[str], notice: Notice
) -> Iterator[tuple[int, int, Batch]]:
    """First sample, number of samples and results, batch by batch; smaller ones if memory ends.

    On accelerators the last batch is filled up to the size of the others, which kernels and buffers
    are made for already.
    """
    first = 0
    while first < len(samples):
        fill = first > 0 and session.device.accelerator and session.tells_probes_apart
        fixed = replace(samples, batch=size) if fill and samples.batch is None else samples
        count, fed, feeds = fixed.take(first, size)
        try:
            batch = session.run(feeds, fed, count, outputs)
        except OutOfMemoryError:
            if samples.batch is not None or size == 1:
                raise
            size = max(1, min(size, fed) // 2)
            notice(f"a batch of {fed} samples does not fit into memory; trying {size}")
            continue
        yield first, count, batch
        first += count


def _summariser(device: Device, notice: Notice) -> Summarise | None:
    """What counts filter correlations: an accelerator that can; None for numpy."""
    if not device.accelerator:
        return None
    if not device.supports_float64:
        notice(
            f"filter correlations are computed on the CPU, because {device.name} cannot multiply "
            "float64"
        )
        return None
    # TensorRT rounds float64 to float32; CUDA is there wherever it is.
    return device_summariser(replace(device, kind="cuda").name)


def _unpadded(
    statistics: BatchStatistics, samples: ProbeSet, mask: str | None, first: int
) -> BatchStatistics:
    """Without the positions that the mask leaves out, in layers whose maps have its shape."""
    if mask is None:
        return statistics
    rows = samples.by_sample[mask][first : first + len(statistics.entropy)]
    if rows.shape != statistics.entropy.shape:
        return statistics
    return replace(statistics, counted=rows != 0)


def _check_mask(mask: str | None, samples: ProbeSet) -> None:
    names = [name for name, array in samples.by_sample.items() if array.ndim > 1]
    if mask is not None and mask not in names:
        raise UsageError(
            f"the mask {mask!r} is not an input with positions; {nearest(mask, names)}"
        )


def _check_fit(batch: Batch, samples: ProbeSet, mask: str | None) -> None:
    """Raises UsageError where a mask fits no layer: padding would count after all."""
    if mask is None:
        return
    maps = {name: layer.entropy.shape[1:] for name, layer in batch.layers.items()}
    shape = samples.by_sample[mask].shape[1:]
    if shape not in maps.values():
        shapes = ", ".join(f"{name} {found}" for name, found in maps.items())
        raise UsageError(
            f"the mask {mask!r} has positions of shape {shape}, which match no layer, so it "
            f"would have no effect; the layers have: {shapes}"
        )


def _scores(model: Model, evaluation: Evaluation) -> str:
    names = [value.name for value in model.graph.output]
    if not evaluation.output:
        evaluation.output = names[0]
    if evaluation.output not in names:
        raise UsageError(
            f"{model.source} has no output {evaluation.output!r}; "
            f"{nearest(evaluation.output, names)}"
        )
    return evaluation.output


def measurable(
    model: Model,
    layers: Sequence[str] | None = None,
    names_from: str | Path | None = None,
) -> Taps:
    """The taps to measure and what is left out. Raises ModelError where there is nothing."""
    found = find_taps(model)
    if not found.taps:
        reasons = "; ".join(f"{part.name}: {part.reason}" for part in found.left_out[:3])
        because = f" ({reasons})" if reasons else ""
        raise ModelError(f"{model.source} has no measurable layers{because}")
    return select_taps(found if names_from is None else renamed(model, found, names_from), layers)


def known_layers(model: Model, settings: Settings) -> Taps | None:
    """What `measurable` finds, before the probes are read; None where they may decide which
    branches of the model run."""
    if any(node.op_type == "If" for node in model.graph.node):
        return None
    return measurable(model, settings.layers, settings.names_from)


def match_model(
    model: Model, probes: Probes | ProbeSet, input_axes: SampleAxes = MappingProxyType({})
) -> ProbeSet:
    """Probes matched to a model's inputs. Raises ProbeError where they do not fit."""
    if isinstance(probes, ProbeSet):
        probes = probes.arrays
    arrays = load_probes(probes) if isinstance(probes, str | Path) else probes
    wanted = input_specs(model, input_axes)
    try:
        return match_probes(arrays, wanted)
    except ProbeError:
        # that the model cannot run at all is the more useful news
        plain = Instrumented(model, b"", {}, {})
        TapSession(plain, (), folder=model.folder, source=model.source)
        raise


def input_specs(model: Model, input_axes: SampleAxes = MappingProxyType({})) -> list[InputSpec]:
    """What the inputs of a model want. Raises ModelError for one that is no tensor, UsageError for
    an axis that is not there."""
    return with_axes([_input_spec(model, value) for value in model.inputs], input_axes)


def scalar_inputs(model: Model, given: Sequence[str]) -> dict[str, NDArray[Any]]:
    """Scalar inputs by name, of entries "NAME=VALUE". Raises UsageError for one that does not
    fit."""
    types = {spec.name: spec.dtype for spec in input_specs(model) if spec.shape == ()}
    values = {}
    for entry in given:
        name, _, text = entry.partition("=")
        if name not in types:
            raise UsageError(
                f"--input {entry}: the model has no scalar input {name!r}; {nearest(name, types)}"
            )
        try:
            with np.errstate(all="raise"):
                number = int(text) if types[name].kind in "iu" else float(text)
                values[name] = np.asarray(number).astype(types[name])
        except (ValueError, OverflowError, FloatingPointError):
            raise UsageError(
                f"--input {entry}: expected a number ({types[name]}), such as {name}=1"
            ) from None
    return values


def layer_info(tap: Tap) -> LayerInfo:
    """What is known of a layer before it is measured; its map shape is not."""
    return LayerInfo(
        name=tap.name,
        operator=tap.operator,
        channels=tap.channels,
        map_shape=(),
        channel_axis=tap.channel_axis,
        tapped_at=tap.tapped_at,
        batch_norm_folded=tap.batch_norm_folded,
    )


def _correlation(model: Model, tap: Tap, centre: Centre, summarise: Summarise | None) -> Any:
    rows = filters(model, tap)
    return None if rows is None else correlation_summary(rows, centre, summarise)


def _input_spec(model: Model, value: onnx.ValueInfoProto) -> InputSpec:
    tensor = value.type.tensor_type
    if not value.type.HasField("tensor_type") or not tensor.elem_type:
        kind = (value.type.WhichOneof("value") or "unknown_type").replace("_", " ")
        raise ModelError(
            f"{model.source}: input {value.name!r} is of {kind}; probes can only be fed to tensors"
        )
    try:
        text = tensor.elem_type == onnx.TensorProto.STRING
        numbers = onnx.helper.tensor_dtype_to_np_dtype
        dtype = np.dtype(np.str_ if text else numbers(tensor.elem_type))
    except KeyError:
        raise ModelError(
            f"{model.source}: input {value.name!r} has the unknown element type {tensor.elem_type}"
        ) from None
    return InputSpec(value.name, dtype, sides(value) if tensor.HasField("shape") else None)

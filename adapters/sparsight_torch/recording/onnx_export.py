"""Writing a network as ONNX checkpoints whose layers carry the torch names."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

import onnx
import torch
from onnx import numpy_helper
from torch import nn

from sparsight.errors import MissingExtraError, ModelError, RunError, UsageError
from sparsight.system.atomic_files import replacing

from ..layers.targets import unwrapped
from .probe_set import Probes, ProbeSet
from .probing import device_of, evaluating

__all__ = ["OnnxExporter"]


class OnnxExporter:
    """Exports a network again and again while it trains.

    PyTorch traces it once, at the first `export`; later checkpoints are the same graph with the
    weights of the day, which takes milliseconds. Nothing is folded or fused: each weight keeps its
    torch name, and batch normalisation stays apart, so that `sparsight analyze` measures what a
    recorder measures. `example` is a probe set, or a batch; the batch axis is dynamic.
    """

    def __init__(self, model: nn.Module, example: Probes) -> None:
        self._model = unwrapped(model)
        if any(hasattr(parameter, "full_tensor") for parameter in self._model.parameters()):
            raise UsageError("cannot export a sharded network: gather its weights first")
        probes = ProbeSet.of(example)
        # One sample would be traced as a constant batch of one.
        pairs = (
            tensor[:2] if len(tensor) > 1 else torch.cat([tensor] * 2) for tensor in probes.tensors
        )
        self._example = ProbeSet(tuple(pairs), probes.names)
        self._proto: onnx.ModelProto | None = None

    def export(self, path: str | Path) -> Path:
        """Write the network as it is now; complete or not at all.

        Raises ModelError where PyTorch cannot export the network, RunError where the file cannot
        be written.
        """
        if self._proto is None:
            self._proto = self._traced()
        else:
            self._refresh(self._proto)
        target = Path(path)
        unfinished = target.with_name(target.name + ".unfinished")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with replacing(target, unfinished):
                onnx.save_model(self._proto, unfinished)
        except OSError as error:
            raise RunError(f"cannot write {target}: {error.strerror or error}") from None
        return target

    def _traced(self) -> onnx.ModelProto:
        try:
            import onnxscript  # noqa: F401
        except ImportError:
            raise MissingExtraError("onnxscript", "torch", "ONNX export") from None
        arguments, keywords = self._example.batch(slice(None), device_of(self._model))
        names = self._example.names or _input_names(len(arguments))
        with evaluating(self._model), _quiet():
            try:
                program = torch.onnx.export(
                    self._model,
                    arguments,
                    kwargs=keywords,
                    dynamo=True,
                    optimize=False,
                    verbose=False,
                    input_names=names,
                    dynamic_shapes=_dynamic_shapes(self._example),
                )
            except Exception as error:  # its exporter raises errors of many kinds
                reason = str(error).strip().splitlines() or [type(error).__name__]
                raise ModelError(f"PyTorch cannot export this network: {reason[0]}") from error
        assert program is not None
        proto: onnx.ModelProto = program.model_proto
        for tensor in proto.graph.initializer:
            tensor.ClearField("metadata_props")
        return proto

    def _refresh(self, proto: onnx.ModelProto) -> None:
        """Put today's weights into yesterday's graph."""
        state: dict[str, Any] = self._model.state_dict()
        for tensor in proto.graph.initializer:
            if tensor.name in state:
                values = state[tensor.name].detach().cpu().contiguous().numpy()
                tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))


def _dynamic_shapes(example: ProbeSet) -> Any:
    """The first axis of each input, which counts the samples."""
    batch = [{0: torch.export.Dim.DYNAMIC} for _ in example.tensors]
    return tuple(batch) if example.names is None else dict(zip(example.names, batch, strict=True))


def _input_names(number: int) -> list[str]:
    return ["input"] if number == 1 else [f"input_{position}" for position in range(number)]


class _quiet(warnings.catch_warnings):
    """Without the exporter's remarks on its own insides."""

    def __enter__(self) -> None:
        super().__enter__()
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        logging.getLogger("torch.onnx._internal").setLevel(logging.ERROR)

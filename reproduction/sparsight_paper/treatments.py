"""What is done against overfitting: the paper's penalties and their rivals, each in one strength.

A treatment is laid on a network of the paper. `TREATMENTS` says of each what its strength is, and
which three are tried; reproduction/evidence_rules.md says how one of them is chosen.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sparsight.errors import UsageError, nearest
from sparsight_torch import DecorrReg, SparsityReg
from sparsight_torch.functional import scale_free_entropy

from .networks import NETWORKS, Placement

__all__ = ["TREATMENTS", "UNAVAILABLE", "OutputPenalty", "Treatment", "TreatmentSpec"]

_DEEP = NETWORKS["sr2Net"].sparsity
_ALL = NETWORKS["sr1Net"].sparsity

_SHIFT = 4  # pixels, where flip and shift join another treatment


@dataclass(frozen=True)
class TreatmentSpec:
    """A treatment in all its strengths."""

    title: str
    strength: str
    """What the strength is, in words."""
    strengths: tuple[float, ...]
    matters: bool = False
    """Whether it is one of the six that get five seeds."""


_LAMBDAS = (0.001, 0.003, 0.01)

TREATMENTS = {
    "none": TreatmentSpec("none", "", (0.0,), matters=True),
    "sparsity-targeted": TreatmentSpec(
        "SparsityReg, targeted", "lambda on conv3, conv4, fc1", _LAMBDAS, matters=True
    ),
    "activation": TreatmentSpec(
        "ActivationReg, targeted", "lambda on conv3, conv4, fc1", _LAMBDAS, matters=True
    ),
    "weight-decay": TreatmentSpec(
        "weight decay", "added gradient over weight, all parameters", _LAMBDAS, matters=True
    ),
    "flip-and-shift": TreatmentSpec(
        "flip and shift", "pixels of shift, flip in half of the images", (2, 4, 6), matters=True
    ),
    "label-smoothing": TreatmentSpec(
        "label smoothing", "share of the uniform distribution", (0.1, 0.2, 0.4), matters=True
    ),
    "sparsity-all": TreatmentSpec(
        "SparsityReg, all layers", "lambda on conv1 to conv4 and fc1", _LAMBDAS
    ),
    "pattern": TreatmentSpec(
        "scale-free SparsityReg, targeted", "lambda on conv3, conv4, fc1", _LAMBDAS
    ),
    "decorrelation": TreatmentSpec(
        "DecorrReg, squared", "kappa on conv1 to conv4 and fc1", (0.001, 0.01, 0.1)
    ),
    "logit-l2": TreatmentSpec(
        "logit L2", "factor of the mean square of the logits", (0.01, 0.03, 0.1)
    ),
    "dropout": TreatmentSpec("dropout", "rate, after each block", (0.1, 0.25, 0.5)),
    "batch-normalisation": TreatmentSpec(
        "batch normalisation",
        "normalisations a block: 1 after it, 2 after its convolutions",
        (1, 2),
    ),
    "mixup": TreatmentSpec("mixup", "alpha of the Beta distribution", (0.2, 0.5, 1.0)),
}
"""By the name that `--treatment` takes, in the order in which they are run."""

UNAVAILABLE = (
    "SparsityReg, balanced strengths",
    "SparsityReg, targets written by the tool",
    "SparsityReg, adaptive",
    "SparsityReg, sampled positions",
)
"""Rivals whose parts the library does not have yet: rows of the report that are not run."""


@dataclass(frozen=True)
class Treatment:
    """One treatment in one strength, with or without flip and shift beside it.

    Raises UsageError for names and strengths that are not in `TREATMENTS`.
    """

    name: str
    strength: float
    augmented: bool = False

    def __post_init__(self) -> None:
        if self.name not in TREATMENTS:
            raise UsageError(f"no treatment {self.name!r}; {nearest(self.name, TREATMENTS)}")
        known = TREATMENTS[self.name].strengths
        if self.strength not in known:
            shown = ", ".join(f"{value:g}" for value in known)
            raise UsageError(
                f"treatment {self.name} of strength {self.strength:g}; expected one of {shown}"
            )
        if self.augmented and self.name in ("none", "flip-and-shift"):
            raise UsageError(f"treatment {self.name} takes no flip and shift beside it")

    @property
    def label(self) -> str:
        """Names it in folders: weight-decay-0.003, mixup-0.5+flip-and-shift."""
        strength = f"-{self.strength:g}" if self.strength else ""
        return f"{self.name}{strength}{'+flip-and-shift' if self.augmented else ''}"

    @property
    def weight_decay(self) -> float:
        """What the optimiser takes: the gradient that is added, over the weight."""
        return self._strength_of("weight-decay")

    def network(self, plain: str) -> tuple[str, Placement]:
        """Network of the paper and placement of its extension, in place of a plain network."""
        if self.name == "dropout":
            return "dropNet", "block"
        if self.name == "batch-normalisation":
            return "normNet", "block" if self.strength == 1 else "convolution"
        return plain, "block"

    def prepare(self, model: nn.Module) -> None:
        """Set dropout's rate."""
        for module in model.modules():
            if isinstance(module, nn.Dropout):
                module.p = self.strength

    def penalties(self, model: nn.Module) -> dict[str, Any]:
        """The penalties that it adds to the loss, by name; most treatments have none."""
        build = _PENALTIES.get(self.name)
        return {} if build is None else {self.name: build(model, self.strength)}

    def augment(self, images: Tensor) -> Tensor:
        """Images [N, C, H, W], each flipped or not and shifted, zeros where nothing was."""
        shift = _SHIFT if self.augmented else int(self._strength_of("flip-and-shift"))
        return flipped_and_shifted(images, shift) if shift else images

    def mix(self, images: Tensor) -> tuple[Tensor, Tensor | None, float]:
        """Mixup (arXiv 1710.09412): a batch, the order of its partners, and its own share.

        None, and a share of 1, for the other treatments.
        """
        alpha = self._strength_of("mixup")
        if not alpha:
            return images, None, 1.0
        share = float(torch.distributions.Beta(alpha, alpha).sample())
        partners = torch.randperm(len(images)).to(images.device)
        return share * images + (1 - share) * images[partners], partners, share

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy that is trained on, with smoothed labels where that is the treatment."""
        return F.cross_entropy(logits, labels, label_smoothing=self._strength_of("label-smoothing"))

    def _strength_of(self, name: str) -> float:
        return self.strength if self.name == name else 0.0


def flipped_and_shifted(images: Tensor, shift: int) -> Tensor:
    """Each image [C, H, W] of a batch mirrored with probability 1/2, and moved by up to `shift`.

    Both ways and in both directions alike; what comes in at the border is 0.
    """
    number, channels, height, width = images.shape
    flips = torch.rand(number) < 0.5
    down, right = torch.randint(0, 2 * shift + 1, (2, number))
    rows = down[:, None] + torch.arange(height)
    columns = torch.arange(width).expand(number, width)
    columns = right[:, None] + torch.where(flips[:, None], columns.flip(1), columns)
    padded = F.pad(images, (shift, shift, shift, shift))
    each = torch.arange(number)[:, None, None, None]
    channel = torch.arange(channels)[:, None, None]
    index = (each, channel, rows[:, None, :, None], columns[:, None, None, :])
    return padded[tuple(part.to(images.device) for part in index)]


class OutputPenalty:
    """Strength times the sum over layers of a function of each layer's output.

    Looks at the last forward with gradients; calling it forgets that forward.
    """

    def __init__(
        self, model: nn.Module, strengths: Mapping[str, float], of: Callable[[Tensor], Tensor]
    ) -> None:
        self._strengths = dict(strengths)
        self._of = of
        self._outputs: dict[str, Tensor] = {}
        for name in strengths:
            model.get_submodule(name).register_forward_hook(self._keeper(name))

    def __call__(self) -> Tensor:
        """A scalar to be added to the loss."""
        if self._outputs.keys() != self._strengths.keys():
            raise UsageError("the penalty was called without a forward with gradients before it")
        outputs, self._outputs = self._outputs, {}
        terms = [self._strengths[name] * self._of(output) for name, output in outputs.items()]
        return torch.stack(terms).sum()

    def state_dict(self) -> dict[str, Any]:
        """Nothing: strengths do not change."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Nothing to continue with."""

    def _keeper(self, name: str) -> Callable[[nn.Module, Any, Tensor], None]:
        def keep(module: nn.Module, inputs: Any, output: Tensor) -> None:
            if torch.is_grad_enabled():
                self._outputs[name] = output

        return keep


def _half_mean_square(output: Tensor) -> Tensor:
    """1/2 of the sum over positions of the mean over channels of a^2, mean over the batch.

    For small activations the entropy is ln D - Var / 2: the same lambda means the same pull.
    """
    return output.square().mean(1).sum() / (2 * len(output))


def _minus_pattern_entropy(output: Tensor) -> Tensor:
    """Minus the entropy of softmax(a / rms(a)), in nats, summed over positions, mean over N."""
    entropy = scale_free_entropy(output).sum() * math.log(output.shape[1])
    return -entropy / len(output)


def _on(layers: tuple[str, ...], strength: float) -> dict[str, float]:
    return dict.fromkeys(layers, strength)


_PENALTIES: dict[str, Callable[[nn.Module, float], Any]] = {
    "sparsity-targeted": lambda model, lambda_: SparsityReg(model, _on(_DEEP, lambda_)),
    "sparsity-all": lambda model, lambda_: SparsityReg(model, _on(_ALL, lambda_)),
    "activation": lambda model, lambda_: OutputPenalty(
        model, _on(_DEEP, lambda_), _half_mean_square
    ),
    "pattern": lambda model, lambda_: OutputPenalty(
        model, _on(_DEEP, lambda_), _minus_pattern_entropy
    ),
    "decorrelation": lambda model, kappa: DecorrReg(model, _on(_ALL, kappa), form="squared"),
    "logit-l2": lambda model, factor: OutputPenalty(
        model, {"fc2": factor}, lambda logits: logits.square().mean()
    ),
}

"""The training loop: one epoch, one validation, and nothing in between that waits for a device."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sparsight_torch import DecorrReg, SparsityReg

from .cells import Cell, Protocol, network_spec
from .classics import CLASSICS, build_classic
from .data import ExperimentData, scaled
from .execution import Execution
from .networks import build
from .treatments import OutputPenalty, Treatment

__all__ = ["Training", "logits_of", "network", "train_epoch", "validate"]

_VALIDATION_BATCH = 256


@dataclass
class Training:
    """A network, its optimiser and penalties, and the order of samples: all that a run is made of.

    Seeds PyTorch's random numbers: weights first, dropout after them; the order of samples has a
    generator of its own, so that networks of one seed see the same batches.
    """

    cell: Cell
    protocol: Protocol
    data: ExperimentData
    execution: Execution
    model: nn.Module = field(init=False)
    optimiser: torch.optim.Optimizer = field(init=False)
    penalties: dict[str, SparsityReg | DecorrReg | OutputPenalty] = field(init=False)
    treatment: Treatment | None = field(init=False)
    order: torch.Generator = field(init=False)

    def __post_init__(self) -> None:
        torch.manual_seed(self.cell.seed)
        self.model = self.execution.placed(network(self.cell, self.data))
        self.treatment = self.cell.treatment
        if self.treatment is not None:
            self.treatment.prepare(self.model)
        self.penalties = penalties(self.cell, self.model)
        self.forward = self.execution.compiled(self.model)
        rate = self.protocol.rate(self.cell.optimiser)
        kind = torch.optim.SGD if self.cell.optimiser == "sgd" else torch.optim.Adam
        decay = 0.0 if self.treatment is None else self.treatment.weight_decay
        self.optimiser = kind(self.model.parameters(), lr=rate, weight_decay=decay)
        self.order = torch.Generator().manual_seed(self.cell.seed)

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next epoch depends on, random numbers included."""
        state = {
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "penalties": {name: penalty.state_dict() for name, penalty in self.penalties.items()},
            "order": self.order.get_state(),
            "random": torch.get_rng_state(),
        }
        if self.data.images.is_cuda:
            state["random_cuda"] = torch.cuda.get_rng_state(self.data.images.device)
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` was taken."""
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        for name, penalty in self.penalties.items():
            penalty.load_state_dict(state["penalties"][name])
        self.order.set_state(state["order"].cpu())
        torch.set_rng_state(state["random"].cpu())
        if "random_cuda" in state:
            torch.cuda.set_rng_state(state["random_cuda"].cpu(), self.data.images.device)


def network(cell: Cell, data: ExperimentData) -> nn.Module:
    """The cell's network, with the weights that the current random numbers give it."""
    choices = cell.choices
    if cell.network in CLASSICS:
        return build_classic(
            cell.network,
            side=data.side,
            classes=data.classes,
            initialisation=choices.initialisation,
        )
    name, placement = cell.network, choices.placement
    if cell.treatment is not None:
        name, placement = cell.treatment.network(name)
    return build(
        name,
        cell.size,
        side=data.side,
        classes=data.classes,
        placement=placement,
        padding=choices.padding,
        initialisation=choices.initialisation,
    )


def penalties(cell: Cell, model: nn.Module) -> dict[str, SparsityReg | DecorrReg | OutputPenalty]:
    """The cell's penalties by name, with the strengths chosen; none for the plain networks."""
    spec, choices = network_spec(cell.network), cell.choices
    found: dict[str, SparsityReg | DecorrReg | OutputPenalty] = {}
    if cell.treatment is not None:
        found |= cell.treatment.penalties(model)
    if spec.sparsity:
        end = "_relu" if choices.entropy_at == "activation" else ""
        found["sparsity"] = SparsityReg(
            model,
            {f"{layer}{end}": choices.lambda_ for layer in spec.sparsity},
            reduction=choices.reduction,
            at=choices.entropy_at,
        )
    if spec.decorrelation:
        strengths = dict.fromkeys(spec.decorrelation, choices.kappa)
        found["decorrelation"] = DecorrReg(
            model, strengths, form=choices.form, centre=choices.centre
        )
    return found


def train_epoch(training: Training) -> dict[str, float]:
    """One epoch; means over it of loss (without the penalties), accuracy and each penalty."""
    data, device = training.data, training.data.images.device
    training.model.train()
    order = torch.randperm(len(data.images), generator=training.order).to(device)
    sums = {name: torch.zeros((), device=device) for name in ("loss", "accuracy")}
    sums |= {name: torch.zeros((), device=device) for name in training.penalties}
    with training.execution.training():
        for batch in order.split(training.protocol.batch):
            for name, value in _step(training, batch).items():
                sums[name] += value
    return {name: float(total) / len(order) for name, total in sums.items()}


def _step(training: Training, batch: Tensor) -> dict[str, Tensor]:
    """One step; sums over the batch, on its device: a number would have to be waited for."""
    data, execution = training.data, training.execution
    images, labels = scaled(data.images[batch]), data.labels[batch]
    treatment, partners, share = training.treatment, None, 1.0
    if treatment is not None:
        images, partners, share = treatment.mix(treatment.augment(images))
    with execution.forward():
        logits = training.forward(execution.arranged(images))
        loss = trained = F.cross_entropy(logits.float(), labels)
        if treatment is not None:
            loss, trained = _treated_losses(treatment, logits.float(), labels, partners, share)
        terms = {name: penalty() for name, penalty in training.penalties.items()}
    training.optimiser.zero_grad()
    sum(terms.values(), trained).backward()
    training.optimiser.step()
    with torch.no_grad():
        right = (logits.argmax(1) == labels).sum()
        means = {"loss": loss, **terms}
        return {"accuracy": right} | {name: mean * len(batch) for name, mean in means.items()}


def _treated_losses(
    treatment: Treatment, logits: Tensor, labels: Tensor, partners: Tensor | None, share: float
) -> tuple[Tensor, Tensor]:
    """Cross-entropy of the labels as they are, and what is trained on; both mixed with mixup's."""
    plain, trained = F.cross_entropy(logits, labels), treatment.loss(logits, labels)
    if partners is None:
        return plain, trained
    others = labels[partners]
    plain = share * plain + (1 - share) * F.cross_entropy(logits, others)
    return plain, share * trained + (1 - share) * treatment.loss(logits, others)


@torch.no_grad()
def logits_of(model: nn.Module, images: Tensor) -> Tensor:
    """Logits [N, classes] of images given as bytes, in float32 and in evaluation mode."""
    model.eval()
    return torch.cat([model(scaled(part)) for part in images.split(_VALIDATION_BATCH)])


@torch.no_grad()
def validate(model: nn.Module, data: ExperimentData) -> dict[str, float]:
    """Loss (without the penalties) and accuracy on the validation images, in float32."""
    model.eval()
    loss = torch.zeros((), device=data.labels.device)
    right = torch.zeros((), device=data.labels.device)
    parts = zip(
        data.validation_images.split(_VALIDATION_BATCH),
        data.validation_labels.split(_VALIDATION_BATCH),
        strict=True,
    )
    for images, labels in parts:
        logits = model(scaled(images))
        loss += F.cross_entropy(logits, labels, reduction="sum")
        right += (logits.argmax(1) == labels).sum()
    number = len(data.validation_labels)
    return {"loss": float(loss) / number, "accuracy": float(right) / number}

"""The demo's training loop: what a user's own looks like with a penalty and a recorder in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
import torch.nn.functional as F
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

from ..penalties.sparsity_reg import SparsityReg
from ..recording.recorder import Recorder
from .digits import SIDE, Digits
from .network import SPARSITY_TARGETS, baseline

__all__ = ["train"]

BATCH = 32
LEARNING_RATE, LAST_LEARNING_RATE = 0.1, 0.01
LAMBDA = 2e-2
EXPORT_EVERY = 5


def train(network: str, digits: Digits, logdir: Path, epochs: int, seed: int) -> None:
    """One run: SGD without momentum, every epoch recorded, -1 being "before training"."""
    torch.manual_seed(seed)
    model = baseline(SIDE, classes=10)
    targets = dict.fromkeys(SPARSITY_TARGETS[network], LAMBDA)
    penalty: Callable[[], Tensor] = SparsityReg(model, targets) if targets else _nothing
    optimizer = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs, LAST_LEARNING_RATE)
    with (
        Recorder(model, digits.probes, logdir, also_export=EXPORT_EVERY) as recorder,
        _progress(f"{network}-s", epochs) as advance,
    ):
        recorder.record(-1, scalars=validate(model, digits), global_step=0)
        for epoch in range(epochs):
            loss = train_epoch(model, penalty, optimizer, digits)
            schedule.step()
            scalars = {"loss/training": loss, **validate(model, digits)}
            steps = (epoch + 1) * -(-len(digits.images) // BATCH)
            recorder.record(epoch, scalars=scalars, global_step=steps)
            advance()


def train_epoch(
    model: nn.Module,
    penalty: Callable[[], Tensor],
    optimizer: torch.optim.Optimizer,
    digits: Digits,
) -> float:
    """One epoch; the mean training loss, without the penalty."""
    model.train()
    total = 0.0
    for batch in torch.randperm(len(digits.images)).split(BATCH):
        loss = F.cross_entropy(model(digits.images[batch]), digits.labels[batch])
        optimizer.zero_grad()
        (loss + penalty()).backward()
        optimizer.step()
        total += float(loss.detach()) * len(batch)
    return total / len(digits.images)


@torch.no_grad()
def validate(model: nn.Module, digits: Digits) -> dict[str, float]:
    """Validation loss, without the penalty, and accuracy."""
    model.eval()
    logits = model(digits.validation_images)
    right = logits.argmax(1) == digits.validation_labels
    return {
        "loss/validation": float(F.cross_entropy(logits, digits.validation_labels)),
        "accuracy/validation": float(right.float().mean()),
    }


def _nothing() -> Tensor:
    return torch.zeros(())


@contextmanager
def _progress(name: str, epochs: int) -> Iterator[Callable[[], None]]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TextColumn("epochs"), TimeRemainingColumn()) as progress:
        task = progress.add_task(name, total=epochs)
        yield lambda: progress.advance(task)

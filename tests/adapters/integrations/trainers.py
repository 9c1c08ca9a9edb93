"""A small network that Hugging Face's Trainer trains, its data and its penalties."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import Trainer, TrainingArguments

from sparsight_torch import DecorrReg, SparsityReg
from sparsight_torch.integrations.transformers import PenaltyMixin


def penalties(model: nn.Module) -> list:
    return [SparsityReg(model, {"first": 0.05}), DecorrReg(model, {"first": 0.1}, form="squared")]


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Linear(6, 8), nn.Linear(8, 2)

    def forward(self, x: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
        logits = self.second(self.first(x).relu())
        if labels is None:
            return {"logits": logits}
        return {"loss": F.cross_entropy(logits, labels), "logits": logits}


class SumNet(Net):
    """As the models of transformers do: a sum over labels, by their number in all micro-batches."""

    def forward(self, x: Tensor, labels: Tensor | None = None, **kwargs) -> dict[str, Tensor]:
        result = super().forward(x)
        items = kwargs.get("num_items_in_batch")
        if labels is not None and items is not None:
            total = F.cross_entropy(result["logits"], labels, reduction="sum")
            return {"loss": total / items, **result}
        return super().forward(x, labels)


class PenalisedTrainer(PenaltyMixin, Trainer):
    pass


def data() -> list[dict[str, Tensor]]:
    """24 samples; a quarter has no label, so that micro-batches have unlike numbers of labels."""
    random = torch.Generator().manual_seed(0)
    inputs = torch.randn(24, 6, generator=random)
    labels = torch.randint(0, 2, (24,), generator=random)
    labels[torch.randperm(24, generator=random)[:6]] = -100
    return [{"x": x, "labels": y} for x, y in zip(inputs, labels, strict=True)]


def arguments(folder, **options) -> TrainingArguments:
    chosen = {
        "output_dir": str(folder),
        "num_train_epochs": 2,
        "per_device_train_batch_size": 4,
        "learning_rate": 0.1,
        "optim": "sgd",
        "lr_scheduler_type": "constant",
        "max_grad_norm": 0.0,
        "train_sampling_strategy": "sequential",
        "save_strategy": "no",
        "logging_steps": 1,
        "use_cpu": True,
        "disable_tqdm": True,
        "report_to": "none",
    }
    return TrainingArguments(**{**chosen, **options})

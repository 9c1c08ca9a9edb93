"""RecorderCallback and PenaltyMixin in real training by Hugging Face's Trainer."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

pytest.importorskip("transformers")
from transformers import Trainer, TrainingArguments

from sparsight.reader import read_run
from sparsight_torch import DecorrReg, SparsityReg
from sparsight_torch.transformers import PenaltyMixin, RecorderCallback

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore:.*pin_memory.*"
)

SPARSITY, DECORRELATION = {"first": 0.05}, {"first": 0.1}


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


class PenalisedTrainer(PenaltyMixin, Trainer):
    pass


def data() -> list[dict[str, Tensor]]:
    random = torch.Generator().manual_seed(0)
    inputs = torch.randn(24, 6, generator=random)
    labels = torch.randint(0, 2, (24,), generator=random)
    return [{"x": x, "labels": y} for x, y in zip(inputs, labels, strict=True)]


def arguments(folder, **options) -> TrainingArguments:
    return TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=2,
        per_device_train_batch_size=4,
        learning_rate=0.1,
        optim="sgd",
        lr_scheduler_type="constant",
        max_grad_norm=0.0,
        train_sampling_strategy="sequential",
        save_strategy="no",
        logging_steps=1,
        use_cpu=True,
        disable_tqdm=True,
        **{"report_to": "none", **options},
    )


def by_hand(accumulate: int) -> dict[str, Tensor]:
    model = Net()
    penalties = SparsityReg(model, SPARSITY), DecorrReg(model, DECORRELATION)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    samples = data()
    for _ in range(2):
        for first in range(0, 24, 4 * accumulate):
            optimizer.zero_grad()
            for start in range(first, first + 4 * accumulate, 4):
                batch = samples[start : start + 4]
                inputs = {key: torch.stack([s[key] for s in batch]) for key in batch[0]}
                loss = model(**inputs)["loss"] + sum(penalty() for penalty in penalties)
                (loss / accumulate).backward()
            optimizer.step()
    penalties[0].detach()
    return model.state_dict()


@pytest.mark.parametrize("accumulate", [1, 3])
def test_it_trains_as_the_loop_by_hand(tmp_path, accumulate):
    model = Net()
    trainer = PenalisedTrainer(
        model=model,
        args=arguments(tmp_path, gradient_accumulation_steps=accumulate),
        train_dataset=data(),
        eval_dataset=data(),
        sparsity=SPARSITY,
        decorrelation=DECORRELATION,
    )
    trainer.train()
    for name, value in by_hand(accumulate).items():
        torch.testing.assert_close(model.state_dict()[name], value)
    assert any("penalty_sparsity" in entry for entry in trainer.state.log_history)
    with torch.no_grad():
        inputs = {key: torch.stack([s[key] for s in data()]) for key in ("x", "labels")}
        plain = model(**inputs)["loss"].item()
    assert trainer.evaluate()["eval_loss"] == pytest.approx(plain, rel=1e-5)


def test_it_records_through_the_trainers_own_writer(tmp_path, monkeypatch):
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "tb"))
    model = Net()
    args = arguments(tmp_path, report_to="tensorboard")
    trainer = Trainer(model=model, args=args, train_dataset=data())
    trainer.add_callback(RecorderCallback(trainer, {"x": torch.randn(5, 6)}))
    trainer.train()
    run = read_run(tmp_path / "tb")
    assert run.steps == (-1, 0, 1)
    assert run.global_steps == {-1: 0, 0: 6, 1: 12}
    assert "train/loss" in run.scalars
    assert len(list(tmp_path.rglob("*tfevents*"))) == 1


def test_without_a_writer_it_records_into_a_folder(tmp_path):
    trainer = Trainer(model=Net(), args=arguments(tmp_path), train_dataset=data())
    trainer.add_callback(RecorderCallback(trainer, {"x": torch.randn(5, 6)}))
    trainer.train()
    assert read_run(tmp_path / "sparsight").steps == (-1, 0, 1)

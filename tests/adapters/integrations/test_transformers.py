"""RecorderCallback and PenaltyMixin in real training by Hugging Face's Trainer."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

pytest.importorskip("transformers")
from tests.adapters.integrations.trainers import (
    Net,
    PenalisedTrainer,
    SumNet,
    arguments,
    data,
    penalties,
)
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    Trainer,
    TrainerCallback,
)

from sparsight.errors import UsageError
from sparsight.runs.reader import read_run
from sparsight_torch import DecorrReg, SparsityReg, measure
from sparsight_torch.integrations.transformers import PenaltyMixin, RecorderCallback

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore:.*pin_memory.*"
)


class OwnLossAbove(PenaltyMixin, Trainer):
    """The documented class, with a loss of the user's own."""

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        outputs = model(x=inputs["x"])
        loss = F.cross_entropy(outputs["logits"], inputs["labels"])
        return (loss, outputs) if return_outputs else loss


class OwnLoss(Trainer):
    compute_loss = OwnLossAbove.compute_loss


class OwnLossBelow(PenaltyMixin, OwnLoss):
    pass


class OwnLossTwice(PenaltyMixin, Trainer):
    """Asks the classes below for a loss, and adds nothing."""

    def compute_loss(self, *args, **kwargs):
        return super().compute_loss(*args, **kwargs)


def total_loss(outputs, labels, num_items_in_batch=None) -> Tensor:
    return F.cross_entropy(outputs["logits"], labels, reduction="sum") / num_items_in_batch


def by_hand(accumulate: int, total: bool) -> dict[str, Tensor]:
    """`total`: all labels of a step count alike; else all micro-batches do."""
    model = Net()
    terms = penalties(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    micro = [data()[start : start + 4] for start in range(0, 24, 4)]
    for _ in range(2):
        for first in range(0, 6, accumulate):
            optimizer.zero_grad()
            step = micro[first : first + accumulate]  # the last one of an epoch may be shorter
            items = sum(sample["labels"] != -100 for batch in step for sample in batch)
            for batch in step:
                x, labels = (torch.stack([s[key] for s in batch]) for key in ("x", "labels"))
                logits = model(x)["logits"]
                if total:
                    loss = F.cross_entropy(logits, labels, reduction="sum") / items
                else:
                    loss = F.cross_entropy(logits, labels) / len(step)
                (loss + sum(term() for term in terms) / len(step)).backward()
            optimizer.step()
    terms[0].detach()
    return model.state_dict()


KINDS = {
    "the model's mean": (PenalisedTrainer, Net, {}, {}, False),
    "the model's sum": (PenalisedTrainer, SumNet, {}, {}, True),
    "compute_loss_func": (PenalisedTrainer, Net, {"compute_loss_func": total_loss}, {}, True),
    "own loss above": (OwnLossAbove, Net, {}, {}, False),
    "own loss below": (OwnLossBelow, Net, {}, {}, False),
    "own loss that asks below": (OwnLossTwice, SumNet, {}, {}, True),
    "tokens averaged": (
        PenalisedTrainer,
        SumNet,
        {},
        {"average_tokens_across_devices": True},
        True,
    ),
    "tokens not averaged": (
        PenalisedTrainer,
        SumNet,
        {},
        {"average_tokens_across_devices": False},
        True,
    ),
}


@pytest.mark.parametrize("accumulate", [1, 4])
@pytest.mark.parametrize("kind", KINDS)
def test_it_trains_as_the_loop_by_hand(tmp_path, kind, accumulate):
    trainer_class, model_class, options, more, total = KINDS[kind]
    model = model_class()
    trainer = trainer_class(
        model=model,
        args=arguments(tmp_path, gradient_accumulation_steps=accumulate, **more),
        train_dataset=data(),
        eval_dataset=data(),
        penalties=penalties,
        **options,
    )
    trainer.train()
    for name, value in by_hand(accumulate, total).items():
        torch.testing.assert_close(model.state_dict()[name], value)
    logged = [entry for entry in trainer.state.log_history if "loss" in entry]
    assert all({"penalty_sparsity", "penalty_decorrelation"} <= entry.keys() for entry in logged)
    assert not model.first._forward_hooks


def test_evaluation_is_not_penalised(tmp_path):
    model = Net()
    args = arguments(tmp_path, eval_strategy="epoch")
    trainer = OwnLossAbove(
        model=model, args=args, train_dataset=data(), eval_dataset=data()[:8], penalties=penalties
    )
    trainer.train()
    with torch.no_grad():
        inputs = {key: torch.stack([s[key] for s in data()[:8]]) for key in ("x", "labels")}
        plain = model(**inputs)["loss"].item()
    (last,) = [
        e["eval_loss"]
        for e in trainer.state.log_history
        if e.get("epoch") == 2.0 and "eval_loss" in e
    ]
    assert last == trainer.evaluate()["eval_loss"] == pytest.approx(plain, rel=1e-5)


def halving(called: list[int]):
    """A function that makes a penalty whose schedule writes down what it is called with."""

    def schedule(step: int) -> float:
        called.append(step)
        return 0.5 * 0.9**step

    return lambda model: [SparsityReg(model, {"first": schedule})]


class StopsAt(TrainerCallback):
    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_begin(self, args, state, control, **kwargs) -> None:
        if state.global_step == self.step:
            raise RuntimeError("on purpose")


@pytest.mark.parametrize("how", ["by name", "the last"])
def test_a_resumed_run_goes_on_with_the_schedules(tmp_path, how):
    """Killed after step 8 of 12, resumed from step 5: as a run that nothing interrupted."""
    saving = {"save_strategy": "steps", "save_steps": 5, "num_train_epochs": 4}
    args = arguments(tmp_path, gradient_accumulation_steps=2, **saving)
    strengths: list[int] = []
    whole = PenalisedTrainer(
        model=Net(), args=args, train_dataset=data(), penalties=halving(strengths)
    )
    whole.train()
    assert strengths == list(range(24))

    args = arguments(tmp_path / "killed", gradient_accumulation_steps=2, **saving)
    killed = PenalisedTrainer(
        model=Net(), args=args, train_dataset=data(), penalties=halving([]), callbacks=[StopsAt(8)]
    )
    with pytest.raises(RuntimeError, match="on purpose"):
        killed.train()
    assert not killed.model.first._forward_hooks
    strengths.clear()
    resumed = PenalisedTrainer(
        model=Net(), args=args, train_dataset=data(), penalties=halving(strengths)
    )
    checkpoint = str(tmp_path / "killed" / "checkpoint-5")
    resumed.train(resume_from_checkpoint=checkpoint if how == "by name" else True)
    assert strengths == list(range(10, 24))
    for name, value in whole.model.state_dict().items():
        torch.testing.assert_close(resumed.model.state_dict()[name], value)


def test_a_checkpoint_without_the_penalties_is_said(tmp_path):
    args = arguments(tmp_path, save_strategy="epoch")
    Trainer(model=Net(), args=args, train_dataset=data()).train()
    args = arguments(tmp_path, num_train_epochs=3)
    resumed = PenalisedTrainer(model=Net(), args=args, train_dataset=data(), penalties=halving([]))
    with pytest.warns(UserWarning, match="no state of penalty 'sparsity' was saved"):
        resumed.train(resume_from_checkpoint=True)


def test_training_twice_goes_on_with_the_schedules(tmp_path):
    called: list[int] = []
    trainer = PenalisedTrainer(
        model=Net(), args=arguments(tmp_path), train_dataset=data(), penalties=halving(called)
    )
    trainer.train()
    trainer.train()
    assert called == list(range(24))


def test_models_that_are_made_for_each_run(tmp_path):
    trainer = PenalisedTrainer(
        model_init=Net, args=arguments(tmp_path), train_dataset=data(), penalties=penalties
    )
    trainer.train()
    for name, value in by_hand(1, total=False).items():
        torch.testing.assert_close(trainer.model.state_dict()[name], value)
    made = PenalisedTrainer(
        model_init=Net,
        args=arguments(tmp_path),
        train_dataset=data(),
        penalties=DecorrReg(Net(), {"first": 0.1}),
    )
    with pytest.raises(UsageError, match="is not a layer of the model in training"):
        made.train()


def test_a_step_without_the_penalties_is_an_error(tmp_path):
    class OwnStep(PenaltyMixin, Trainer):
        def training_step(self, model, inputs, num_items_in_batch=None):
            loss = model(**inputs)["loss"]
            loss.backward()
            return loss.detach()

    trainer = OwnStep(
        model=Net(), args=arguments(tmp_path), train_dataset=data(), penalties=penalties
    )
    with pytest.raises(UsageError, match="step did not add the penalties"):
        trainer.train()
    assert trainer.state.global_step == 0
    assert not trainer.model.first._forward_hooks


def test_an_own_training_step_that_asks_for_the_loss(tmp_path):
    class OwnStep(PenaltyMixin, Trainer):
        def training_step(self, model, inputs, num_items_in_batch=None):
            loss = self.compute_loss(model, inputs)
            loss.backward()
            return loss.detach()

    trainer = OwnStep(
        model=Net(), args=arguments(tmp_path), train_dataset=data(), penalties=penalties
    )
    trainer.train()
    for name, value in by_hand(1, total=False).items():
        torch.testing.assert_close(trainer.model.state_dict()[name], value)


def test_without_penalties_it_is_a_plain_trainer(tmp_path):
    models = [Net(), Net()]
    for trainer_class, model in zip((PenalisedTrainer, Trainer), models, strict=True):
        trainer_class(model=model, args=arguments(tmp_path), train_dataset=data()).train()
    for name, value in models[0].state_dict().items():
        torch.testing.assert_close(models[1].state_dict()[name], value)


def test_wrong_options_get_a_sentence(tmp_path):
    args = arguments(tmp_path)
    with pytest.raises(UsageError, match="penalty 'first' is a float"):
        PenalisedTrainer(model=Net(), args=args, train_dataset=data(), penalties={"first": 0.1})
    with pytest.raises(TypeError, match="unexpected keyword argument 'sparsity'"):
        PenalisedTrainer(model=Net(), args=args, train_dataset=data(), sparsity={"first": 0.1})
    trainer = Trainer(model=Net(), args=args, train_dataset=data())
    with pytest.raises(UsageError, match="RecorderCallback has no option 'rubbish'"):
        RecorderCallback(trainer, {"x": torch.randn(5, 6)}, rubbish=1)


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


# -- padding


def bert() -> nn.Module:
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=50,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=256,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    return BertForSequenceClassification(config)


def sentences(length: int) -> dict[str, Tensor]:
    """Six sentences of up to 8 tokens, padded to a length."""
    random = torch.Generator().manual_seed(0)
    own = torch.randint(2, 9, (6,), generator=random)
    ids = torch.randint(1, 50, (6, 8), generator=random)
    mask = torch.arange(length) < own[:, None]
    return {
        "input_ids": F.pad(ids, (0, length - 8)) * mask,
        "attention_mask": mask.long(),
        "labels": torch.randint(0, 2, (6,), generator=random),
    }


DENSE = {"bert.encoder.*.dense": 1e-2, "bert.pooler.dense": 1e-2}


def masked(kind, model: nn.Module) -> list:
    return [kind(model, DENSE, mask="attention_mask")]


def test_the_penalty_of_a_transformer_does_not_depend_on_the_padding(kind):
    model, values, padded = bert(), [], []
    with kind(model, DENSE, mask="attention_mask") as penalty:
        for length in (8, 64, 200):
            model(**sentences(length))
            values.append(penalty().item())
    with kind(model, DENSE) as penalty:
        for length in (8, 200):
            model(**sentences(length))
            padded.append(penalty().item())
    assert values == pytest.approx([values[0]] * 3, rel=1e-5)
    assert abs(padded[1]) > 10 * abs(padded[0]) > 10 * abs(values[0])


def test_training_and_recording_do_not_depend_on_the_padding(tmp_path, kind):
    model, by_hand = bert(), bert()
    batch = sentences(64)
    samples = [{name: tensor[i] for name, tensor in batch.items()} for i in range(6)]
    args = arguments(tmp_path, per_device_train_batch_size=2, num_train_epochs=1)
    make = partial(masked, kind)
    trainer = PenalisedTrainer(model=model, args=args, train_dataset=samples, penalties=make)
    probes = {name: batch[name] for name in ("input_ids", "attention_mask")}
    trainer.add_callback(RecorderCallback(trainer, probes, mask="attention_mask"))
    trainer.train()

    (penalty,) = masked(kind, by_hand)
    optimizer = torch.optim.SGD(by_hand.parameters(), lr=0.1)
    shortest = sentences(8)
    for first in (0, 2, 4):
        optimizer.zero_grad()
        loss = by_hand(**{name: x[first : first + 2] for name, x in shortest.items()})["loss"]
        (loss + penalty()).backward()
        optimizer.step()
    penalty.detach()
    for name, value in by_hand.state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], value, atol=1e-5, rtol=1e-4)
    probes = {name: shortest[name] for name in ("input_ids", "attention_mask")}
    expected = measure(by_hand, probes, mask="attention_mask")
    recorded = read_run(tmp_path / "sparsight").tables[0]
    found = dict(zip([layer.name for layer in recorded.layers], recorded.values, strict=True))
    for measurement in expected:
        entropy = measurement.statistics["entropy"]
        assert found[measurement.layer.name][0] == pytest.approx(entropy, abs=1e-4)

"""Every Python block of docs/pytorch.md is run as it stands there."""

import re
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from sparsight.runs.reader import read_run
from sparsight_torch import SparsityReg

PAGE = (Path(__file__).parents[2] / "docs/pytorch.md").read_text("utf-8")
BLOCKS = re.findall(r"(?ms)^```python\n(.*?)^```", PAGE)
MARKS = (  # what stands in one block only, in the order of the page
    "decorrelation()",
    "accumulate()",
    "attention_mask",
    "ActivationReg",
    "class L1Reg",
    "rfav_entropy",
    "recorder.record",
    "lightning.Trainer",
    "transformers.Trainer",
    "OnnxExporter",
)


def test_every_block_of_the_page_is_run_here():
    assert [[mark for mark in MARKS if mark in block] for block in BLOCKS] == [[m] for m in MARKS]


def run(mark: str, **given: Any) -> dict[str, Any]:
    """The names after the block that contains `mark` has run with those that the reader has."""
    (block,) = (block for block in BLOCKS if mark in block)
    exec(block, given)
    return given


class Images(nn.Module):
    """The layers that the page names, on images of 3 x 12 x 12."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv1, self.conv3 = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 6, 3)
        self.conv4, self.fc1 = nn.Conv2d(6, 4, 3), nn.Linear(4 * 6 * 6, 8)
        self.fc2 = nn.Linear(8, 2)

    def forward(self, images: Tensor) -> Tensor:
        features = self.conv4(self.conv3(self.conv1(images).relu()).relu()).relu()
        return self.fc2(self.fc1(features.flatten(1)).relu())


class Encoder(nn.Module):
    """`encoder.*.fc1` on pixels as tokens, or on tokens with a mask; with a loss, as Hugging Face
    has it."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.encoder = nn.ModuleList([nn.ModuleDict({"fc1": nn.Linear(4, 4)}) for _ in range(2)])
        self.head = nn.Linear(4, 2)

    def forward(
        self,
        pixel_values: Tensor,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
    ) -> SimpleNamespace | dict[str, Tensor]:
        tokens = pixel_values
        for block in self.encoder:
            tokens = block["fc1"](tokens).relu()
        logits = self.head(tokens.mean(1))
        if attention_mask is not None:
            return SimpleNamespace(loss=logits.square().mean())
        loss = {} if labels is None else {"loss": F.cross_entropy(logits, labels)}
        return {**loss, "logits": logits}


def images(number: int = 4) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(0)
    x = torch.randn(number, 3, 12, 12, generator=random)
    return x, torch.randint(0, 2, (number,), generator=random)


def test_the_penalties_are_added_to_the_loss():
    model, (x, y) = Images(), images()
    after = run("decorrelation()", model=model, criterion=F.cross_entropy, x=x, y=y)
    values = after["sparsity"].value, after["decorrelation"].value
    expected = F.cross_entropy(model(x), y) + sum(values)
    torch.testing.assert_close(after["loss"], expected)
    assert all(value != 0 for value in values)


def test_two_forwards_add_up():
    model, (crop, _) = Images(), images()
    sparsity, other_crop = SparsityReg(model, {"conv3": 1.0}), crop.flip(-1)
    each = []
    for one in (crop, other_crop):
        model(one)
        each.append(sparsity().item())
    names = {"model": model, "sparsity": sparsity, "criterion": F.mse_loss}
    after = run("accumulate()", **names, crop=crop, other_crop=other_crop)
    assert sparsity.value == pytest.approx(sum(each), rel=1e-5)
    assert after["loss"].requires_grad


def test_padding_does_not_count():
    model, values = Encoder(), []
    for length in (3, 9):
        tokens = torch.full((2, length, 4), 50.0)
        tokens[:, :3] = torch.linspace(-1, 1, 24).reshape(2, 3, 4)
        mask = torch.arange(length).expand(2, length) < 3
        names = {"SparsityReg": SparsityReg, "model": model}
        after = run("attention_mask", **names, input_ids=tokens, mask=mask)
        values.append(after["sparsity"].value)
        after["sparsity"].detach()
    assert values[0] == pytest.approx(values[1], rel=1e-5)


def test_activation_reg():
    model, (x, y) = Images(), images()
    after = run("ActivationReg", model=model, criterion=F.cross_entropy, x=x, y=y)
    assert after["penalty"].value > 0
    torch.testing.assert_close(after["loss"], F.cross_entropy(model(x), y) + after["penalty"].value)


def test_the_functions_without_hooks():
    after = run("rfav_entropy")
    activations, filters = torch.randn(2, 5, 3), torch.randn(4, 7)
    entropy = after["rfav_entropy"](activations)
    sparsity = after["sparsity_penalty"](activations, 1.0).item()
    assert sparsity == pytest.approx(-entropy.sum().item() / 2, rel=1e-5)
    pairs = after["filter_correlations"](filters).tril(-1)
    penalty = after["decorrelation_penalty"](filters, 1.0).item()
    assert penalty == pytest.approx(pairs.sum().item(), rel=1e-4, abs=1e-5)


def test_recording(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {"model": Images(), "probes": images()[0], "validation_loss": 0.7, "step": 10}
    run("recorder.record", epochs=2, **names)
    recorded = read_run(tmp_path / "runs/sr3Net")
    assert recorded.steps == (-1, 0, 1)
    assert "loss/validation" in recorded.scalars


def test_exporting(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    run("OnnxExporter", model=Images(), probes=images()[0])
    assert (tmp_path / "checkpoints/epoch_07.onnx").stat().st_size > 0


@pytest.mark.filterwarnings("ignore")
def test_lightning(tmp_path, monkeypatch):
    lightning = pytest.importorskip("lightning")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(lightning, "Trainer", partial(lightning.Trainer, **QUIET))

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = Images()

        def forward(self, x):
            return self.net(x)

        def training_step(self, batch, index):
            return F.cross_entropy(self.net(batch[0]), batch[1])

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    loader = DataLoader(TensorDataset(*images()), batch_size=2)
    after = run("lightning.Trainer", module=Module(), loader=loader, probes=images()[0])
    logged = after["trainer"].callback_metrics
    assert {"penalty/sparsity", "penalty/decorrelation"} <= set(logged)
    (found,) = {file.parent for file in tmp_path.rglob("*tfevents*")}
    assert read_run(found).steps == (-1, 0)


QUIET = {
    "max_epochs": 1,
    "accelerator": "cpu",
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}


@pytest.mark.filterwarnings("ignore")
def test_hugging_face(tmp_path, monkeypatch):
    transformers = pytest.importorskip("transformers")
    monkeypatch.chdir(tmp_path)
    arguments = {"report_to": "none", "save_strategy": "no", "disable_tqdm": True, "use_cpu": True}
    args = transformers.TrainingArguments("out", max_steps=2, logging_steps=1, **arguments)
    pictures = torch.randn(8, 5, 4)
    data = [{"pixel_values": x, "labels": i % 2} for i, x in enumerate(pictures)]
    names = {"model": Encoder(), "args": args, "data": data, "images": pictures}
    after = run("transformers.Trainer", **names)
    logged = [entry for entry in after["trainer"].state.log_history if "loss" in entry]
    assert len(logged) == 2
    assert all("penalty_sparsity" in entry for entry in logged)
    assert list(tmp_path.rglob("*tfevents*"))


# -- the penalty of one's own, wherever penalties go


@pytest.fixture(scope="module")
def own() -> type:
    (block,) = (block for block in BLOCKS if "class L1Reg" in block)
    assert len(block.splitlines()) <= 20
    return run("class L1Reg")["L1Reg"]


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Linear(6, 8), nn.Linear(8, 2)

    def forward(self, x: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
        logits = self.second(self.first(x).relu())
        loss = {} if labels is None else {"loss": F.cross_entropy(logits, labels)}
        return {**loss, "logits": logits}


def batch() -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(0)
    x = torch.randn(4, 6, generator=random)
    return x, torch.randint(0, 2, (4,), generator=random)


@pytest.fixture
def trained() -> dict[str, Tensor]:
    """The weights after one step, computed by hand."""
    model = Net()
    x, labels = batch()
    first = model.first(x)
    loss = F.cross_entropy(model.second(first.relu()), labels) + 0.5 * first.abs().mean(1).mean()
    loss.backward()
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    return model.state_dict()


def assert_trained(model: nn.Module, trained: dict[str, Tensor]) -> None:
    for name, value in trained.items():
        torch.testing.assert_close(model.state_dict()[name], value)


def test_in_a_loop(own, trained):
    model, (x, labels) = Net(), batch()
    penalty = own(model, {"first": 0.5})
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    (model(x, labels)["loss"] + penalty()).backward()
    optimizer.step()
    assert_trained(model, trained)


@pytest.mark.filterwarnings("ignore")
def test_under_lightning(own, trained, tmp_path):
    lightning = pytest.importorskip("lightning")
    from sparsight_torch.integrations.lightning import SparsityCallback

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = Net()

        def training_step(self, batch, index):
            return self.net(*batch)["loss"]

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    module = Module()
    trainer = lightning.Trainer(
        max_epochs=1,
        callbacks=[SparsityCallback(lambda module: [own(module, {"net.first": 0.5})])],
        logger=False,
        enable_checkpointing=False,
        default_root_dir=tmp_path,
        accelerator="cpu",
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    samples = list(zip(*batch(), strict=True))
    trainer.fit(module, torch.utils.data.DataLoader(samples, batch_size=4))
    assert_trained(module.net, trained)


@pytest.mark.filterwarnings("ignore")
def test_under_hugging_face(own, trained, tmp_path):
    transformers = pytest.importorskip("transformers")
    from sparsight_torch.integrations.transformers import PenaltyMixin

    class MyTrainer(PenaltyMixin, transformers.Trainer):
        pass

    model, (x, labels) = Net(), batch()
    arguments = transformers.TrainingArguments(
        output_dir=str(tmp_path),
        num_train_epochs=1,
        per_device_train_batch_size=4,
        learning_rate=0.1,
        optim="sgd",
        lr_scheduler_type="constant",
        max_grad_norm=0.0,
        save_strategy="no",
        use_cpu=True,
        disable_tqdm=True,
        report_to="none",
    )
    samples = [{"x": a, "labels": b} for a, b in zip(x, labels, strict=True)]
    make = {"penalties": lambda model: [own(model, {"first": 0.5})]}
    MyTrainer(model=model, args=arguments, train_dataset=samples, **make).train()
    assert_trained(model, trained)

"""The penalty of one's own in docs/pytorch.md is run as it stands there, wherever penalties go."""

import re
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

PAGE = (Path(__file__).parents[2] / "docs/pytorch.md").read_text("utf-8")


@pytest.fixture(scope="module")
def own() -> type:
    (block,) = (b for b in re.findall(r"(?ms)^```python\n(.*?)^```", PAGE) if "class L1Reg" in b)
    assert len(block.splitlines()) <= 20
    names: dict = {}
    exec(block, names)
    return names["L1Reg"]


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

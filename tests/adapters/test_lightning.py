"""SparsityCallback in real Lightning training."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

pytest.importorskip("lightning")
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger

from sparsight.errors import UsageError
from sparsight.reader import read_run
from sparsight_torch import SparsityReg
from sparsight_torch.lightning import SparsityCallback

pytestmark = pytest.mark.filterwarnings(
    "ignore::lightning.fabric.utilities.warnings.PossibleUserWarning",
    "ignore::DeprecationWarning",
    "ignore::FutureWarning",
    "ignore:.*tensorboardX.*",
    "ignore:.*litlogger.*",
    "ignore::UserWarning:lightning",
)

TARGETS = {"net.0": 0.05}


class Module(LightningModule):
    def __init__(self, wrapped: bool = False, manual: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(
            nn.Conv2d(1, 4, 3),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(64, 5),
            nn.ReLU(),
            nn.Linear(5, 2),
        )
        self.wrapped, self.automatic_optimization = wrapped, not manual

    def forward(self, images: Tensor) -> Tensor:
        return self.net(images)

    def training_step(self, batch, index):
        images, labels = batch
        loss = F.cross_entropy(self.net(images), labels)  # not through forward: many do so
        return {"loss": loss, "more": 1} if self.wrapped else loss

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def data() -> DataLoader:
    random = torch.Generator().manual_seed(0)
    images = torch.randn(24, 1, 6, 6, generator=random)
    labels = torch.randint(0, 2, (24,), generator=random)
    return DataLoader(TensorDataset(images, labels), batch_size=8)


def fit(module, callback, folder, epochs=2, logger=False, **options) -> Trainer:
    trainer = Trainer(
        max_epochs=epochs,
        callbacks=[callback],
        logger=TensorBoardLogger(folder, name="tb") if logger else False,
        default_root_dir=folder,
        accelerator="cpu",
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1,
        **options,
    )
    trainer.fit(module, data())
    return trainer


def by_hand(epochs: int, accumulate: int = 1) -> dict[str, Tensor]:
    module = Module()
    sparsity = SparsityReg(module.net, {"0": 0.05})
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    batches = list(data())
    for _ in range(epochs):
        for index, (images, labels) in enumerate(batches):
            loss = F.cross_entropy(module.net(images), labels) + sparsity()
            (loss / accumulate).backward()
            if (index + 1) % accumulate == 0 or index == len(batches) - 1:
                optimizer.step()
                optimizer.zero_grad()
    sparsity.detach()
    return module.state_dict()


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("accumulate", [1, 3])
def test_it_trains_as_the_loop_by_hand(tmp_path, wrapped, accumulate):
    module = Module(wrapped)
    callback = SparsityCallback(sparsity=TARGETS)
    fit(module, callback, tmp_path, accumulate_grad_batches=accumulate)
    for name, value in by_hand(2, accumulate).items():
        torch.testing.assert_close(module.state_dict()[name], value)
    assert not module.net[0]._forward_hooks
    assert "training_step" not in vars(module)
    assert callback.state_dict() == {"sparsity": {"step": 6}}


def test_it_records_through_the_trainers_own_writer(tmp_path):
    probes = torch.randn(5, 1, 6, 6)
    trainer = fit(Module(), SparsityCallback(probes, sparsity=TARGETS), tmp_path, logger=True)
    folder = trainer.logger.log_dir
    run = read_run(folder)
    assert run.steps == (-1, 0, 1)
    assert run.global_steps == {-1: 0, 0: 3, 1: 6}
    assert "penalty/sparsity" in run.scalars
    assert len(list(tmp_path.rglob("*tfevents*"))) == 1


def test_without_a_logger_it_records_into_a_folder(tmp_path):
    fit(Module(), SparsityCallback(torch.randn(5, 1, 6, 6)), tmp_path)
    assert read_run(tmp_path / "sparsight").steps == (-1, 0, 1)
    fit(Module(), SparsityCallback(torch.randn(5, 1, 6, 6), logdir=tmp_path / "x"), tmp_path)
    assert read_run(tmp_path / "x").steps == (-1, 0, 1)


def test_manual_optimisation_is_refused(tmp_path):
    with pytest.raises(UsageError, match="manual optimisation"):
        fit(Module(manual=True), SparsityCallback(sparsity=TARGETS), tmp_path)


def test_a_callback_of_nothing_is_refused():
    with pytest.raises(UsageError, match="probes to record, or targets"):
        SparsityCallback()

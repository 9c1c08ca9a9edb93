"""SparsityCallback in real Lightning training."""

import signal
import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

pytest.importorskip("lightning")
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger

from sparsight.errors import UsageError
from sparsight.runs.reader import read_run
from sparsight_torch import DecorrReg, SparsityReg
from sparsight_torch.integrations.lightning import SparsityCallback

pytestmark = pytest.mark.filterwarnings(
    "ignore::lightning.fabric.utilities.warnings.PossibleUserWarning",
    "ignore::DeprecationWarning",
    "ignore::FutureWarning",
    "ignore:.*tensorboardX.*",
    "ignore:.*litlogger.*",
    "ignore::UserWarning:lightning",
)


def penalties(module: LightningModule) -> list[SparsityReg]:
    return [SparsityReg(module, {"net.0": 0.05})]


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

    def validation_step(self, batch, index):
        pass

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def data() -> DataLoader:
    random = torch.Generator().manual_seed(0)
    images = torch.randn(24, 1, 6, 6, generator=random)
    labels = torch.randint(0, 2, (24,), generator=random)
    return DataLoader(TensorDataset(images, labels), batch_size=8)


def fit(module, callback, folder, epochs=2, logger=False, more=(), **options) -> Trainer:
    trainer = Trainer(
        max_epochs=epochs,
        callbacks=[*more, *([] if callback is None else [callback])],
        logger=TensorBoardLogger(folder, name="tb") if logger else False,
        default_root_dir=folder,
        accelerator="cpu",
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1,
        **options,
    )
    trainer.fit(module, data(), data())
    return trainer


def by_hand(
    epochs: int, accumulate: int = 1, start=None, penalised=True, kind=SparsityReg
) -> dict[str, Tensor]:
    module = Module()
    module.load_state_dict(module.state_dict() if start is None else start)
    penalty = kind(module.net, {"0": 0.05})
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    batches = list(data())
    for _ in range(epochs):
        for index, (images, labels) in enumerate(batches):
            loss = F.cross_entropy(module.net(images), labels) + penalised * penalty()
            (loss / accumulate).backward()
            if (index + 1) % accumulate == 0 or index == len(batches) - 1:
                optimizer.step()
                optimizer.zero_grad()
    penalty.detach()
    return module.state_dict()


def weights(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def assert_as_it_was(module: Module) -> None:
    assert not module.net[0]._forward_hooks
    assert not module._forward_pre_hooks
    assert "training_step" not in vars(module)


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("accumulate", [1, 3])
def test_it_trains_as_the_loop_by_hand(tmp_path, wrapped, accumulate, kind):
    module = Module(wrapped)
    callback = SparsityCallback(lambda module: [kind(module, {"net.0": 0.05})])
    fit(module, callback, tmp_path, accumulate_grad_batches=accumulate)
    for name, value in by_hand(2, accumulate, kind=kind).items():
        torch.testing.assert_close(module.state_dict()[name], value)
    assert_as_it_was(module)
    assert callback.state_dict() == {kind.kind: {"step": 6}}


def test_it_records_through_the_trainers_own_writer(tmp_path):
    probes = torch.randn(5, 1, 6, 6)
    trainer = fit(Module(), SparsityCallback(penalties, probes=probes), tmp_path, logger=True)
    folder = trainer.logger.log_dir
    run = read_run(folder)
    assert run.steps == (-1, 0, 1)
    assert run.global_steps == {-1: 0, 0: 3, 1: 6}
    assert "penalty/sparsity" in run.scalars
    assert len(list(tmp_path.rglob("*tfevents*"))) == 1


def test_without_a_logger_it_records_into_a_folder(tmp_path):
    fit(Module(), SparsityCallback(probes=torch.randn(5, 1, 6, 6)), tmp_path)
    assert read_run(tmp_path / "sparsight").steps == (-1, 0, 1)
    fit(Module(), SparsityCallback(probes=torch.randn(5, 1, 6, 6), logdir=tmp_path / "x"), tmp_path)
    assert read_run(tmp_path / "x").steps == (-1, 0, 1)


def test_a_step_that_is_skipped_is_no_lost_penalty(tmp_path):
    class Skipping(Module):
        def training_step(self, batch, index):
            loss = super().training_step(batch, index)
            return loss if index == 2 else None

    def both(module):
        return [*penalties(module), DecorrReg(module, {"net.0": 0.1})]

    module = Skipping()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        callback = SparsityCallback(both)
        fit(module, callback, tmp_path)
    assert not [w for w in said if "Reg" in str(w.message)]
    assert callback.state_dict()["sparsity"] == {"step": 2}


def test_manual_optimisation_is_refused(tmp_path):
    with pytest.raises(UsageError, match="manual optimisation"):
        fit(Module(manual=True), SparsityCallback(penalties), tmp_path)


class Interruption(Callback):
    """Raises `error`, once, in the hook of the given name."""

    def __init__(self, hook: str, error: BaseException) -> None:
        def raise_once(*_, **__) -> None:
            setattr(self, hook, getattr(super(Interruption, self), hook))
            raise error

        setattr(self, hook, raise_once)


@pytest.fixture
def interrupts():
    """Lightning leaves Ctrl-C switched off after one."""
    handler = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, handler)


HOOKS = [
    "setup",
    "on_fit_start",
    "on_validation_start",  # of the sanity check
    "on_train_start",
    "on_train_batch_start",
    "on_before_backward",
    "on_validation_end",
    "on_train_end",
    "teardown",
]


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("error", [RuntimeError("on purpose"), KeyboardInterrupt()])
@pytest.mark.parametrize("hook", HOOKS)
def test_whatever_interrupts_a_fit_the_module_is_as_it_was(
    tmp_path, interrupts, hook, error, first
):
    module, callback = Module(), SparsityCallback(penalties)
    interruption = Interruption(hook, error)
    around = [interruption, callback] if first else [callback, interruption]
    with pytest.raises((RuntimeError, KeyboardInterrupt, SystemExit)):
        fit(module, None, tmp_path, more=around)
    assert_as_it_was(module)


@pytest.mark.parametrize("error", [RuntimeError("on purpose"), KeyboardInterrupt()])
@pytest.mark.parametrize("hook", ["on_train_batch_start", "on_validation_end"])
def test_a_fit_after_an_interrupted_one(tmp_path, interrupts, hook, error):
    """It has the penalty once, with the same callback or a new one, and not at all without one."""
    module, callback = Module(), SparsityCallback(penalties)
    with pytest.raises((RuntimeError, SystemExit)):
        fit(module, callback, tmp_path, more=[Interruption(hook, error)])
    for again in (callback, SparsityCallback(penalties), None):
        start = weights(module)
        fit(module, again, tmp_path)
        for name, value in by_hand(2, start=start, penalised=again is not None).items():
            torch.testing.assert_close(module.state_dict()[name], value)
        assert_as_it_was(module)


def test_an_exception_in_the_first_training_step(tmp_path, monkeypatch):
    module = Module()
    with monkeypatch.context() as patch:
        patch.setattr(F, "cross_entropy", raising)
        with pytest.raises(RuntimeError, match="on purpose"):
            fit(module, SparsityCallback(penalties), tmp_path)
    assert_as_it_was(module)
    fit(module, None, tmp_path)
    for name, value in by_hand(2, penalised=False).items():
        torch.testing.assert_close(module.state_dict()[name], value)


def raising(*_) -> None:
    raise RuntimeError("on purpose")


def test_a_training_step_of_the_modules_own_is_given_back(tmp_path):
    module = Module()
    own = module.training_step
    module.training_step = own
    fit(module, SparsityCallback(penalties), tmp_path)
    assert vars(module)["training_step"] is own
    for name, value in by_hand(2).items():
        torch.testing.assert_close(module.state_dict()[name], value)


def test_fit_twice_with_one_callback_goes_on_with_the_schedules(tmp_path):
    module, called = Module(), []

    def schedule(step: int) -> float:
        called.append(step)
        return 0.05

    callback = SparsityCallback(lambda module: SparsityReg(module, {"net.0": schedule}))
    fit(module, callback, tmp_path, epochs=1)
    fit(module, callback, tmp_path, epochs=1)
    assert called == list(range(6))
    for name, value in by_hand(2).items():
        torch.testing.assert_close(module.state_dict()[name], value)


def test_resuming_goes_on_with_the_schedules(tmp_path):
    """As from a checkpoint that Lightning wrote after the first epoch."""
    called = []

    def schedule(step: int) -> float:
        called.append(step)
        return 0.05 * 0.5**step

    def make(module):
        return {"halved": SparsityReg(module, {"net.0": schedule})}

    whole = Module()
    fit(whole, SparsityCallback(make), tmp_path)
    assert called == list(range(6))
    first = fit(Module(), SparsityCallback(make), tmp_path, epochs=1)
    first.save_checkpoint(tmp_path / "first.ckpt")
    called.clear()
    module = Module()
    trainer = Trainer(
        max_epochs=2,
        callbacks=[SparsityCallback(make)],
        logger=False,
        default_root_dir=tmp_path,
        accelerator="cpu",
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, data(), data(), ckpt_path=tmp_path / "first.ckpt")
    assert called == [3, 4, 5]
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(module.state_dict()[name], value)


def test_penalties_that_were_made_before_stay_the_users(tmp_path):
    module = Module()
    sparsity = SparsityReg(module, {"net.0": 0.05})
    callback = SparsityCallback([sparsity])
    for _ in range(2):
        fit(module, callback, tmp_path, epochs=1)
    for name, value in by_hand(2).items():
        torch.testing.assert_close(module.state_dict()[name], value)
    assert "training_step" not in vars(module)
    assert sparsity.step == 6
    sparsity.detach()
    assert_as_it_was(module)


def test_several_penalties_of_one_kind_are_logged_apart(tmp_path):
    def make(module):
        return [
            SparsityReg(module, {"net.0": 0.05}),
            SparsityReg(module, {"net.3": 0.01}, reduction="mean"),
            DecorrReg(module, {"net.0": 0.1}, form="squared"),
        ]

    class Logged(Callback):
        names = frozenset()

        def on_train_batch_end(self, trainer, *_):
            self.names |= {n for n in trainer.logged_metrics if n.startswith("penalty/")}

    logged = Logged()
    fit(Module(), SparsityCallback(make), tmp_path, more=[logged])
    assert logged.names == {"penalty/sparsity", "penalty/sparsity_2", "penalty/decorrelation"}


def test_penalties_of_another_module_are_refused(tmp_path):
    other = DecorrReg(Module(), {"net.0": 1.0})
    with pytest.raises(UsageError, match=r"'net\.0' of penalty 'decorrelation' is not a layer of"):
        fit(Module(), SparsityCallback(other), tmp_path)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((), {}, "needs penalties to add, probes to record, or both"),
        ((penalties,), {"rubbish": 1}, "SparsityCallback has no option 'rubbish'"),
        ((penalties,), {"reduction": "mean"}, "options of a penalty go to the penalty"),
        ((penalties,), {"evry": 2}, "did you mean 'every'"),
        ((penalties,), {"every": 2}, "every is an option for recording, which needs probes"),
        ((penalties,), {"logdir": "x"}, "logdir is an option for recording"),
        (({"net.0": 0.05},), {}, r"penalty 'net\.0' is a float; expected penalties"),
        ((torch.zeros(3, 2),), {}, "penalties is a Tensor"),
        (([],), {}, "penalties is empty"),
        ((SparsityReg,), {}, "penalties is the class SparsityReg"),
        ((), {"sparsity": {"net.0": 0.05}}, "SparsityCallback has no option 'sparsity'"),
    ],
)
def test_wrong_arguments_get_a_sentence(arguments, options, message):
    with pytest.raises(UsageError, match=message):
        SparsityCallback(*arguments, **options)


def test_a_function_that_forgets_to_return_gets_a_sentence(tmp_path):
    with pytest.raises(UsageError, match="penalties is a NoneType"):
        fit(Module(), SparsityCallback(lambda module: None), tmp_path)


class Tokens(LightningModule):
    """Its forward takes a mask, by position."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Linear(4, 8), nn.Linear(8, 2)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        outputs = self.second(self.first(tokens).relu())
        return (outputs * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)

    def training_step(self, batch, index):
        tokens, mask, labels = batch
        return F.cross_entropy(self(tokens, mask), labels)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def test_training_and_recording_do_not_depend_on_the_padding(tmp_path, kind):
    found, recorded = [], []
    for length in (8, 64):
        random = torch.Generator().manual_seed(0)
        mask = (torch.arange(length) < torch.randint(1, 9, (6, 1), generator=random)).float()
        tokens = F.pad(torch.randn(6, 8, 4, generator=random), (0, 0, 0, length - 8), value=9.0)
        samples = TensorDataset(tokens, mask, torch.randint(0, 2, (6,), generator=random))
        callback = SparsityCallback(
            lambda module: [kind(module, {"first": 0.05}, mask="mask")],
            probes=[tokens, mask],
            mask="mask",
            logdir=tmp_path / str(length),
        )
        trainer = Trainer(
            max_epochs=2,
            callbacks=[callback],
            logger=False,
            enable_checkpointing=False,
            default_root_dir=tmp_path,
            accelerator="cpu",
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        module = Tokens()
        trainer.fit(module, DataLoader(samples, batch_size=3))
        found.append(module.state_dict())
        recorded.append(read_run(tmp_path / str(length)).tables[1].values)
    for name, value in found[0].items():
        torch.testing.assert_close(found[1][name], value)
    np.testing.assert_allclose(*recorded, rtol=1e-4, atol=1e-4)

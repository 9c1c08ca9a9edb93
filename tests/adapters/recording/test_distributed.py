"""Two processes over gloo, compared with one process on the joined batch."""

import contextlib
import os
import traceback
from collections.abc import Iterator
from importlib.util import find_spec
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from tests.adapters.reference import gradients
from torch import Tensor, nn

from sparsight.runs.reader import read_run
from sparsight_torch import DecorrReg, Recorder, SparsityReg, measure

WORLD = 2
# Started processes import torch anew, and some of its modules warn about themselves.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 2)
    ).double()


def images() -> Tensor:
    return torch.randn(6, 2, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def step(model: nn.Module, inner: nn.Module, batch: Tensor) -> None:
    sparsity = SparsityReg(model, {"0": 1e-2, "3": 2e-2})
    decorrelation = DecorrReg(model, {"0": 0.5})
    loss = model(batch).square().sum(1).mean()
    (loss + sparsity() + decorrelation()).backward()


def data_parallel(rank: int) -> dict[str, Tensor]:
    model = network()
    parallel = nn.parallel.DistributedDataParallel(model)
    step(parallel, model, images().chunk(WORLD)[rank])
    return gradients(model)


def fully_sharded(rank: int) -> dict[str, Tensor]:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    model = network()
    mesh = init_device_mesh("cpu", (WORLD,))
    for layer in (model[0], model[3]):
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)
    step(model, model, images().chunk(WORLD)[rank])
    return {name: p.grad.full_tensor() for name, p in model.named_parameters()}


def recording(rank: int, logdir: str) -> list[float]:
    """All ranks get the measurement of the whole set; 7 probes do not divide by 2."""
    probes = torch.randn(7, 2, 6, 6, generator=torch.Generator().manual_seed(2)).double()
    with Recorder(network(), probes, logdir, shown=[0, 6], batch_size=3) as recorder:
        return [m.statistics["entropy"] for m in recorder.record(0)]


def sharded_measurement(rank: int) -> list[float]:
    from torch.distributed.fsdp import fully_shard

    model = network()
    for layer in (model[0], model[3]):
        fully_shard(layer)
    fully_shard(model)
    probes = torch.randn(7, 2, 6, 6, generator=torch.Generator().manual_seed(2)).double()
    return [m.statistics["entropy"] for m in measure(model, probes, batch_size=1)]


def trainer_step(rank: int, folder: str, averaged: bool) -> dict[str, Tensor]:
    """Weights after a step of Hugging Face's Trainer: three micro-batches of two on each rank."""
    from tests.adapters.integrations import trainers

    ranks = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": WORLD, "LOCAL_WORLD_SIZE": WORLD}
    os.environ.update({name: str(value) for name, value in ranks.items()})  # as torchrun does
    args = trainers.arguments(
        folder,
        max_steps=1,
        per_device_train_batch_size=2,
        gradient_accumulation_steps=3,
        average_tokens_across_devices=averaged,
        ddp_backend="gloo",
    )
    model = trainers.SumNet()
    trainers.PenalisedTrainer(
        model=model, args=args, train_dataset=trainers.data(), penalties=trainers.penalties
    ).train()
    return {name: value.detach() for name, value in model.state_dict().items()}


def worker(rank: int, meeting: str, logdir: str, results: Connection) -> None:
    try:
        torch.set_num_threads(1)
        address = f"file://{meeting}"
        dist.init_process_group("gloo", init_method=address, rank=rank, world_size=WORLD)
        found = {
            "data_parallel": as_arrays(data_parallel(rank)),
            "fully_sharded": as_arrays(fully_sharded(rank)),
            "recording": recording(rank, logdir),
            "sharded_measurement": sharded_measurement(rank),
        }
        if find_spec("transformers"):
            for averaged in (True, False):
                weights = trainer_step(rank, f"{logdir}-trainer", averaged)
                found[f"trainer_step_{averaged}"] = as_arrays(weights)
        results.send(found)
        dist.barrier()
        dist.destroy_process_group()
    except BaseException:
        results.send(traceback.format_exc())


def as_arrays(tensors: dict[str, Tensor]) -> dict:
    return {name: value.numpy() for name, value in tensors.items()}


@pytest.fixture(scope="module")
def both(tmp_path_factory) -> tuple[list[dict], Path]:
    """What the two ranks found, and where they recorded; one start for all tests."""
    logdir = tmp_path_factory.mktemp("distributed")
    meeting = str(tmp_path_factory.mktemp("meeting") / "file")
    with contextlib.ExitStack() as stack:
        ranks = [stack.enter_context(working(rank, meeting, str(logdir))) for rank in range(WORLD)]
        found: dict[Any, dict] = {}
        while len(found) < WORLD:
            for results in wait([results for results in ranks if results not in found]):
                found[results] = results.recv()
                assert isinstance(found[results], dict), found[results]
    return [found[results] for results in ranks], logdir


@contextlib.contextmanager
def working(*arguments: Any) -> Iterator[Connection]:
    """What a worker sends; EOFError where it dies before. The worker does not outlive the block."""
    context = mp.get_context("spawn")
    results, sender = context.Pipe(duplex=False)
    process = context.Process(target=worker, args=(*arguments, sender))
    with results, sender:
        process.start()
        sender.close()
        try:
            yield results
            process.join()
        finally:
            process.kill()
            process.join()
            process.close()


@pytest.mark.parametrize("what", ["data_parallel", "fully_sharded"])
def test_gradients_are_those_of_the_joined_batch(both, what):
    model = network()
    step(model, model, images())
    expected = gradients(model)
    for found in both[0]:
        assert found[what].keys() == expected.keys()
        for name, gradient in found[what].items():
            torch.testing.assert_close(torch.from_numpy(gradient), expected[name])


def test_each_rank_measures_its_share_and_rank_0_writes(both, tmp_path):
    ranks, logdir = both
    alone = recording(0, str(tmp_path))
    for found in ranks:
        assert found["recording"] == pytest.approx(alone, rel=1e-12)
        assert found["sharded_measurement"] == pytest.approx(alone, rel=1e-12)
    assert len(list(logdir.iterdir())) == 1
    together, single = read_run(logdir), read_run(tmp_path)
    assert together.maps["0"][0].probe_ids == (0, 6)
    assert (together.maps["0"][0].codes == single.maps["0"][0].codes).all()
    assert (together.tables[0].values == single.tables[0].values)[:, :2].all()


@pytest.mark.parametrize("averaged", [True, False])
def test_the_trainers_penalty_is_the_mean_over_micro_batches_and_ranks(both, averaged):
    """However it scales its own loss: by the labels of all ranks, or by those of one."""
    pytest.importorskip("transformers")
    from tests.adapters.integrations import trainers

    model = trainers.Net()
    terms = trainers.penalties(model)
    samples = trainers.data()[:12]
    micro = [samples[first : first + 2] for first in range(0, 12, 2)]  # ranks take turns
    for number, batch in enumerate(micro):
        own = micro if averaged else micro[number % WORLD :: WORLD]
        items = sum(sample["labels"] != -100 for some in own for sample in some)
        x, labels = (torch.stack([s[key] for s in batch]) for key in ("x", "labels"))
        loss = nn.functional.cross_entropy(model(x)["logits"], labels, reduction="sum") / items
        loss = loss if averaged else loss / WORLD
        (loss + sum(term() for term in terms) / len(micro)).backward()
    terms[0].detach()
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    for found in both[0]:
        for name, value in found[f"trainer_step_{averaged}"].items():
            torch.testing.assert_close(torch.from_numpy(value), model.state_dict()[name])

"""Images per second of the paper's training loop, over a bare PyTorch loop of the same network.

    python reproduction/benchmark.py [--networks vanillaNet AlexNet-sr] [--size s] [--rounds 9]
        [--images 1280] [--device cpu] [--threads 1] [--precision float32] [--compile]

The bare loop takes the same decoded images, in the same precision and compiled or not as ours, and
has nothing of ours in it: no capture, no sums for curves, no penalties, no deterministic kernels
(ours has them on CUDA). It runs channels-last, as ours does, and as PyTorch lays networks out by
itself ("contiguous"). Rounds take turns; printed are medians of the ratios of speeds within a round
(above 1: ours is the faster). CPU: process time. CUDA: wall time.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table

from sparsight_paper.cells import Cell, Protocol
from sparsight_paper.classics import CLASSICS
from sparsight_paper.data import ExperimentData
from sparsight_paper.execution import Execution
from sparsight_paper.networks import NETWORKS, WIDTHS
from sparsight_paper.training import Training, network, train_epoch

LAYOUTS = {"bare": torch.channels_last, "bare, contiguous": torch.contiguous_format}


def random_data(images: int, device: str) -> ExperimentData:
    """CIFAR-100's shapes; what the pixels show costs nothing."""
    pixels = torch.randint(0, 256, (images, 3, 32, 32), dtype=torch.uint8, device=device)
    labels = torch.randint(0, 100, (images,), device=device)
    return ExperimentData(pixels, labels, pixels[:1], labels[:1], pixels[:1], (0,), 100)


@contextmanager
def as_it_comes() -> Iterator[None]:
    """Kernels as PyTorch chooses them by itself, which is what a bare loop would run with."""
    from torch._inductor import config

    ours = torch.are_deterministic_algorithms_enabled()
    setting = {"deterministic": False} if hasattr(config, "deterministic") else {}
    torch.use_deterministic_algorithms(False)
    try:
        with config.patch(setting):
            yield
    finally:
        torch.use_deterministic_algorithms(ours)


def bare_loop(
    cell: Cell, data: ExperimentData, batch: int, execution: Execution, layout: torch.memory_format
) -> Callable[[], None]:
    """What one would write without us; penalised networks are timed against it unpenalised."""
    torch.manual_seed(0)
    model = network(cell, data).to(data.images.device)
    model = model.to(memory_format=layout)
    forward = execution.compiled(model)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.01)

    def epoch() -> None:
        model.train()
        for chosen in torch.randperm(len(data.images)).to(data.images.device).split(batch):
            images = data.images[chosen].float().div_(255).contiguous(memory_format=layout)
            with execution.forward():
                loss = F.cross_entropy(forward(images).float(), data.labels[chosen])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()

    def measured() -> None:
        with as_it_comes(), execution.training():
            epoch()

    return measured


def seconds(epoch: Callable[[], object], cuda: bool) -> float:
    """Time of one epoch."""
    if cuda:
        torch.cuda.synchronize()
    clock = time.perf_counter if cuda else time.process_time
    start = clock()
    epoch()
    if cuda:
        torch.cuda.synchronize()
    return clock() - start


def main() -> None:
    """Print the table."""
    names = [*NETWORKS, *CLASSICS]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--networks", nargs="+", choices=names, default=list(NETWORKS))
    parser.add_argument("--size", choices=WIDTHS, default="s")
    parser.add_argument("--images", type=int, default=1280)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--precision", choices=("float32", "tf32", "bf16"), default="float32")
    parser.add_argument("--compile", action="store_true")
    arguments = parser.parse_args()
    execution = Execution(
        arguments.device, arguments.threads, arguments.precision, arguments.compile
    )
    data = random_data(arguments.images, arguments.device)
    protocol = Protocol("benchmark")
    variants = ("ours", *LAYOUTS)
    table = Table(title=described(arguments, protocol))
    table.add_column("network")
    for header in ("images a second", *LAYOUTS, *(f"over {variant}" for variant in LAYOUTS)):
        table.add_column(header, justify="right")
    for name in arguments.networks:
        execution.prepare()
        cell = Cell(name, "" if name in CLASSICS else arguments.size, "cifar-100")
        loops = loops_of(cell, protocol, data, execution)
        for loop in loops.values():
            loop()
        rounds = [
            {variant: seconds(loop, execution.cuda) for variant, loop in loops.items()}
            for _ in range(arguments.rounds)
        ]
        times = {variant: [r[variant] for r in rounds] for variant in variants}
        speeds = [f"{arguments.images / statistics.median(found):.0f}" for found in times.values()]
        ratios = [
            statistics.median(b / o for o, b in zip(times["ours"], times[variant], strict=True))
            for variant in LAYOUTS
        ]
        table.add_row(name, *speeds, *(f"{ratio:.3f}" for ratio in ratios))
    Console(width=120).print(table)


def loops_of(
    cell: Cell, protocol: Protocol, data: ExperimentData, execution: Execution
) -> dict[str, Callable[[], object]]:
    """An epoch of each variant by its name."""
    training = Training(cell, protocol, data, execution)
    bare = {
        variant: bare_loop(cell, data, protocol.batch, execution, layout)
        for variant, layout in LAYOUTS.items()
    }
    return {"ours": lambda: train_epoch(training), **bare}


def described(arguments: argparse.Namespace, protocol: Protocol) -> str:
    """What was measured: size, batch, place, arithmetic, rounds."""
    compiled = ["compiled"] if arguments.compile else []
    parts = [f"size {arguments.size}", f"batch {protocol.batch}", arguments.device]
    parts += [arguments.precision, *compiled, f"{arguments.threads} thread(s)"]
    return ", ".join([*parts, f"{arguments.rounds} rounds"])


if __name__ == "__main__":
    main()

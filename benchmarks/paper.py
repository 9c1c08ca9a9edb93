"""Images per second of the paper's training loop, over a bare PyTorch loop of the same network.

    python benchmarks/paper.py [--networks vanillaNet dropNet] [--size s] [--rounds 9]
        [--images 1280] [--device cpu] [--threads 1]

The bare loop takes the same decoded images in the same order, and has nothing of ours in it: no
capture, no sums for curves, no penalties. It runs channels-last, as ours does, and as PyTorch lays
networks out by itself ("contiguous"). Rounds take turns; printed are medians of the ratios of
speeds within a round (above 1: ours is the faster). CPU: process time. CUDA: wall time.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table

from sparsight_torch.paper.cells import Cell, Protocol
from sparsight_torch.paper.data import ExperimentData
from sparsight_torch.paper.execution import Execution
from sparsight_torch.paper.networks import WIDTHS, build
from sparsight_torch.paper.training import Training, train_epoch

NETWORKS = ("vanillaNet", "dropNet", "normNet", "sr2Net", "sr3Net")
LAYOUTS = {"bare": torch.channels_last, "bare, contiguous": torch.contiguous_format}


def random_data(images: int, device: str) -> ExperimentData:
    """CIFAR-100's shapes; what the pixels show costs nothing."""
    pixels = torch.randint(0, 256, (images, 3, 32, 32), dtype=torch.uint8, device=device)
    labels = torch.randint(0, 100, (images,), device=device)
    return ExperimentData(pixels, labels, pixels[:1], labels[:1], pixels[:1], (0,), 100)


def bare_loop(
    network: str, size: str, data: ExperimentData, batch: int, layout: torch.memory_format
) -> Callable[[], None]:
    """What one would write without us; penalised networks are timed against it unpenalised."""
    torch.manual_seed(0)
    model = build(network, size).to(data.images.device)
    model = model.to(memory_format=layout)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.01)

    def epoch() -> None:
        model.train()
        for chosen in torch.randperm(len(data.images)).to(data.images.device).split(batch):
            images = data.images[chosen].float().div_(255).contiguous(memory_format=layout)
            loss = F.cross_entropy(model(images), data.labels[chosen])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()

    return epoch


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
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=NETWORKS)
    parser.add_argument("--size", choices=WIDTHS, default="s")
    parser.add_argument("--images", type=int, default=1280)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    execution = Execution(arguments.device, arguments.threads)
    execution.prepare()
    data = random_data(arguments.images, arguments.device)
    protocol = Protocol("benchmark")
    loops: dict[tuple[str, str], Callable[[], object]] = {}
    for name in arguments.networks:
        training = Training(Cell(name, arguments.size, "cifar-100"), protocol, data, execution)
        loops[name, "ours"] = lambda training=training: train_epoch(training)
        for variant, layout in LAYOUTS.items():
            loops[name, variant] = bare_loop(name, arguments.size, data, protocol.batch, layout)
    for loop in loops.values():
        loop()
    rounds = [
        {key: seconds(loop, execution.cuda) for key, loop in loops.items()}
        for _ in range(arguments.rounds)
    ]
    title = f"size {arguments.size}, batch {protocol.batch}, {arguments.device}, "
    table = Table(title=f"{title}{arguments.threads} thread(s), {arguments.rounds} rounds")
    table.add_column("network")
    for header in ("images a second", *LAYOUTS, *(f"over {variant}" for variant in LAYOUTS)):
        table.add_column(header, justify="right")
    for name in arguments.networks:
        times = {variant: [r[name, variant] for r in rounds] for variant in ("ours", *LAYOUTS)}
        speeds = [f"{arguments.images / statistics.median(found):.0f}" for found in times.values()]
        ratios = [
            statistics.median(b / o for o, b in zip(times["ours"], times[variant], strict=True))
            for variant in LAYOUTS
        ]
        table.add_row(name, *speeds, *(f"{ratio:.3f}" for ratio in ratios))
    Console(width=120).print(table)


if __name__ == "__main__":
    main()

"""What recording costs: `measure` on a probe set, over a plain evaluation of the same samples.

    python benchmarks/recording.py [--rounds 9] [--size m] [--probes 1000] [--threads 1]

The three take turns in every round; printed are medians of the ratios within a round, of process
CPU time.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from rich.console import Console
from rich.table import Table

from sparsight_paper.networks import WIDTHS, build
from sparsight_torch import measure

BATCH = 64


def seconds(run: Callable[[], object]) -> float:
    """Process CPU time of one run."""
    start = time.process_time()
    run()
    return time.process_time() - start


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--size", choices=WIDTHS, default="m")
    parser.add_argument("--probes", type=int, default=1000)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    model = build("vanillaNet", arguments.size).eval()
    probes = torch.rand(arguments.probes, 3, 32, 32)

    @torch.no_grad()
    def evaluate() -> None:
        for batch in probes.split(BATCH):
            model(batch)

    shown = range(8)
    runs: dict[str, Callable[[], object]] = {
        "plain evaluation": evaluate,
        "entropy only": lambda: measure(model, probes, shown=shown, statistics="entropy"),
        "all statistics": lambda: measure(model, probes, shown=shown),
    }
    for run in runs.values():
        run()
    rounds = [{name: seconds(run) for name, run in runs.items()} for _ in range(arguments.rounds)]
    table = Table(
        title=f"vanillaNet-{arguments.size}, {arguments.probes} probes, CPU, "
        f"{arguments.threads} thread(s), median of {arguments.rounds} rounds"
    )
    table.add_column("measured")
    table.add_column("seconds", justify="right")
    table.add_column("over plain evaluation", justify="right")
    for name in runs:
        ratio = statistics.median(times[name] / times["plain evaluation"] for times in rounds)
        median = statistics.median(times[name] for times in rounds)
        table.add_row(name, f"{median:.2f}", f"{ratio:.2f}")
    Console(width=100).print(table)


if __name__ == "__main__":
    main()

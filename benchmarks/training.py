"""What a penalty costs: step time and memory kept for backward, over the step without it.

    python benchmarks/training.py [--rounds 15] [--size m] [--batch 64] [--device cpu] [--compile]

All variants take turns in every round, so that a noisy machine spoils none of them alone; printed
are medians of the ratios within a round. CPU: process CPU time, one thread. CUDA: wall time.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from sparsight_paper.networks import WIDTHS, PaperNet
from sparsight_torch import ActivationReg, DecorrReg, SparsityReg, decorrelation_penalty

ALL = dict.fromkeys(("conv1", "conv2", "conv3", "conv4", "fc1"), 1e-3)
TARGETED = dict.fromkeys(("conv3", "conv4", "fc1"), 1e-3)

Step = Callable[[], Tensor]


class EachConvolution(PaperNet):
    """The same network with an extension after each convolution, rather than one a block."""

    def __init__(self, size: str, extension: Callable[[int], nn.Module]) -> None:
        super().__init__(WIDTHS[size])
        self.extensions = nn.ModuleList(extension(width) for width in WIDTHS[size][:4])

    def forward(self, images: Tensor) -> Tensor:
        one, two, three, four = self.extensions
        features = F.relu(two(self.conv2(F.relu(one(self.conv1(images))))))
        features = F.max_pool2d(features, 2)
        features = F.relu(four(self.conv4(F.relu(three(self.conv3(features))))))
        logits: Tensor = self.fc2(F.relu(self.fc1(F.max_pool2d(features, 2).flatten(1))))
        return logits


class Categorical(nn.Module):
    """The penalty as a user would write it."""

    def __init__(self, network: PaperNet, strengths: dict[str, float]) -> None:
        super().__init__()
        self.network, self.terms = network, list[Tensor]()
        for name, strength in strengths.items():
            network.get_submodule(name).register_forward_hook(self._hook(strength))

    def _hook(self, strength: float) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: Any, output: Tensor) -> None:
            logits = output.movedim(1, -1)
            entropy = torch.distributions.Categorical(logits=logits, validate_args=False).entropy()
            self.terms.append(-strength * entropy.sum() / len(output))

        return hook

    def forward(self, images: Tensor) -> Tensor:
        self.terms.clear()
        return self.network(images)


def steps(arguments: argparse.Namespace, images: Tensor, labels: Tensor) -> dict[str, Step]:
    """One training step a variant, forward and backward; what the optimiser does is the same."""

    def step(model: nn.Module, penalty: Callable[[], Any] = lambda: 0.0) -> Step:
        model.to(images.device)
        run = torch.compile(model) if arguments.compile else model

        def one() -> Tensor:
            model.zero_grad(set_to_none=True)
            return F.cross_entropy(run(images), labels) + penalty()

        return one

    def network() -> PaperNet:
        torch.manual_seed(0)
        return PaperNet(WIDTHS[arguments.size])

    variants = {"plain": step(network())}
    variants["batch normalisation"] = step(EachConvolution(arguments.size, nn.BatchNorm2d))
    variants["dropout .25"] = step(EachConvolution(arguments.size, lambda _: nn.Dropout(0.25)))
    for title, strengths in (("all layers", ALL), ("conv3, conv4, fc1", TARGETED)):
        if not arguments.compile:
            obvious = Categorical(network(), strengths)
            variants[f"Categorical, {title}"] = step(obvious, lambda o=obvious: sum(o.terms))
        ours = network()
        variants[f"SparsityReg, {title}"] = step(ours, SparsityReg(ours, strengths))
        ours = network()
        variants[f"ActivationReg, {title}"] = step(ours, ActivationReg(ours, strengths))
    ours = network()
    variants["DecorrReg, conv1"] = step(ours, DecorrReg(ours, {"conv1": 1.0}))
    return variants


def seconds(step: Step, device: torch.device) -> float:
    """Time of one step, forward and backward."""
    if device.type == "cuda":
        torch.cuda.synchronize()
        start = time.perf_counter()
        step().backward()
        torch.cuda.synchronize()
        return time.perf_counter() - start
    start = time.process_time()
    step().backward()
    return time.process_time() - start


def kept(step: Step) -> float:
    """MiB of distinct storages that a forward saves for backward, parameters left out."""
    sizes: dict[int, int] = {}
    with _saved(lambda tensor: sizes.update({_address(tensor): tensor.untyped_storage().nbytes()})):
        loss = step()
    del loss
    return sum(sizes.values()) / 2**20


@contextmanager
def _saved(see: Callable[[Tensor], None]) -> Iterator[None]:
    def pack(tensor: Tensor) -> Tensor:
        if not isinstance(tensor, nn.Parameter) and not _is_view_of_parameter(tensor):
            see(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        yield


def _is_view_of_parameter(tensor: Tensor) -> bool:
    return isinstance(tensor._base, nn.Parameter)


def _address(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--size", choices=WIDTHS, default="m")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--compile", action="store_true", help="compile every variant")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device = torch.device(arguments.device)
    torch.manual_seed(0)
    images = torch.rand(arguments.batch, 3, 32, 32, device=device)
    labels = torch.randint(0, 100, (arguments.batch,), device=device)
    variants = steps(arguments, images, labels)
    memory = {} if arguments.compile else {name: kept(step) for name, step in variants.items()}
    for step in variants.values():  # warm-up, and compilation
        seconds(step, device)
        seconds(step, device)
    rounds = [
        {name: seconds(step, device) for name, step in variants.items()}
        for _ in range(arguments.rounds)
    ]
    Console(width=100).print(step_table(arguments, rounds, memory))
    if not arguments.compile:
        plain = statistics.median(times["plain"] for times in rounds)
        Console(width=100).print(decorrelation_table(arguments, plain, device))


def step_table(
    arguments: argparse.Namespace, rounds: list[dict[str, float]], memory: dict[str, float]
) -> Table:
    """Step times over the plain step, and memory."""
    mode = "compiled" if arguments.compile else "eager"
    table = Table(
        title=f"vanillaNet-{arguments.size}, batch {arguments.batch}, {arguments.device}, {mode}, "
        f"{arguments.threads} thread(s), median of {arguments.rounds} rounds"
    )
    table.add_column("step")
    for header in ("seconds", "over plain", "MiB for backward"):
        table.add_column(header, justify="right")
    for name in rounds[0]:
        ratio = statistics.median(times[name] / times["plain"] for times in rounds)
        median = statistics.median(times[name] for times in rounds)
        mib = f"{memory[name]:.0f}" if name in memory else "–"
        table.add_row(name, f"{median:.3f}", f"{ratio:.3f}", mib)
    return table


def decorrelation_table(arguments: argparse.Namespace, plain: float, device: torch.device) -> Table:
    """DecorrReg's forward and backward alone, over a plain step and over the obvious form."""
    conv1 = torch.randn(WIDTHS[arguments.size][0], 3, 3, 3, device=device, requires_grad=True)
    large = torch.randn(512, 2304, device=device, requires_grad=True)
    variants: dict[str, Step] = {
        "signed, conv1": lambda: decorrelation_penalty(conv1, 1.0),
        "signed, 512 x 2,304": lambda: decorrelation_penalty(large, 1.0),
        "correlation matrix, 512 x 2,304": lambda: torch.corrcoef(large).tril(-1).sum(),
    }
    rounds = [
        {name: seconds(variant, device) for name, variant in variants.items()}
        for _ in range(arguments.rounds + 1)
    ][1:]
    table = Table(title="DecorrReg alone, forward and backward")
    table.add_column("form")
    for header in ("milliseconds", "of a plain step", "matrix form over it"):
        table.add_column(header, justify="right")
    for name in variants:
        median = statistics.median(times[name] for times in rounds)
        matrix = statistics.median(
            times["correlation matrix, 512 x 2,304"] / times[name] for times in rounds
        )
        times_faster = f"{matrix:.1f}" if "512" in name else "–"
        table.add_row(name, f"{1000 * median:.2f}", f"{median / plain:.4f}", times_faster)
    return table


if __name__ == "__main__":
    main()

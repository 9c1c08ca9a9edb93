"""`sparsight demo`: how one network overfits and its regularised twin does not, in two minutes.

Trains the paper's vanillaNet-s and sr2Net-s on a few of scikit-learn's digits, some of them wrongly
labelled, records every epoch, exports every fifth one to ONNX, analyses those files with
`sparsight analyze`, and serves the lot in TensorBoard.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from rich.console import Console

from sparsight.errors import SparsightError
from sparsight.runs.reader import read_run

from .digits import Digits, load_digits
from .folders import make_way
from .network import SPARSITY_TARGETS
from .report import accuracy_table, disagreement, movement_table
from .serving import serve_tensorboard
from .training import train

__all__ = ["command"]

console = Console()


def command(
    logdir: Annotated[
        Path, typer.Option(help="Where to write the runs; an earlier demo there is replaced.")
    ] = Path("runs/demo"),
    epochs: Annotated[int, typer.Option(min=1, help="Number of epochs to train.")] = 60,
    seed: Annotated[int, typer.Option(help="Seed of the weights and of the order of samples.")] = 0,
    serve: Annotated[bool, typer.Option(help="Start TensorBoard at the end.")] = True,
    port: Annotated[int, typer.Option(help="Port of TensorBoard; 0 picks a free one.")] = 6006,
) -> None:
    """Train two networks, see one overfit, layer by layer, and the other not."""
    torch.set_num_threads(1)  # networks this small are slower on more
    digits = load_digits()
    ends = ("", "-analyzed")
    make_way(logdir, [f"{network}-s{end}" for network in SPARSITY_TARGETS for end in ends])
    runs = {}
    for network in SPARSITY_TARGETS:
        name = f"{network}-s"
        train(network, digits, logdir / name, epochs, seed)
        analyze(logdir / name, digits, logdir / f"{name}-analyzed")
        runs[name] = read_run(logdir / name)
        difference = disagreement(runs[name], read_run(logdir / f"{name}-analyzed"))
        console.print(
            f"{name}: mean entropies recorded while training and analysed from ONNX differ by "
            f"at most {difference:.1e} nats"
        )
    console.print(accuracy_table(runs), movement_table(runs))
    if serve:
        serve_tensorboard(logdir, port, console)
    else:
        console.print(f"To see the runs: tensorboard --logdir {logdir}")


def analyze(recorded: Path, digits: Digits, logdir: Path) -> None:
    """`sparsight analyze` on the checkpoints that a run exported, as a user would call it."""
    probes = recorded / "probes.npz"
    np.savez(probes, input=digits.probes.numpy())
    checkpoints = sorted(map(str, (recorded / "checkpoints").glob("*.onnx")))
    arguments = ["analyze", *checkpoints, "--probes", str(probes), "--logdir", str(logdir)]
    finished = subprocess.run([sys.executable, "-m", "sparsight", *arguments, "--device", "cpu"])
    if finished.returncode:
        raise SparsightError(f"sparsight analyze failed with exit code {finished.returncode}")

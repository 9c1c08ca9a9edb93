"""What `sparsight analyze` costs, over running the model: python benchmarks/analyze.py

Prints tables of ratios. All variants run in turns, round by round, on one thread; a figure is the
median over the rounds of process CPU time over the plain model's in the same round. Memory is
measured in a process of its own a variant.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from networks import resnet50, vanilla_net
from numpy.typing import NDArray
from scipy.special import entr, softmax

from sparsight.analysis.analyze import Settings
from sparsight.graph.instrument import instrument
from sparsight.graph.model import open_model
from sparsight.graph.taps import find_taps, select_taps
from sparsight.inference.session import TapSession
from sparsight.maths.correlation import correlation_summary

Run = Callable[[], object]

MODELS: Mapping[str, tuple[Callable[[], bytes], tuple[int, ...], int]] = {
    "vanillaNet-m, batch 16": (lambda: vanilla_net("m"), (16, 3, 32, 32), 30),
    "vanillaNet-xxl, batch 4": (lambda: vanilla_net("xxl"), (4, 3, 32, 32), 12),
    "ResNet-50, batch 4": (resnet50, (4, 3, 224, 224), 10),
}
"""Model, shape of a batch, rounds."""

VARIANTS = ("plain", "entropy", "all", "by hand")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--memory", nargs=2, metavar=("VARIANT", "MODEL"), help="peak, MB")
    chosen = parser.parse_args().memory
    if chosen:
        print(f"{peak_memory(chosen[0], Path(chosen[1])):.0f}")
        return
    print(f"{platform.processor() or platform.machine()}, one thread,", end=" ")
    print(f"ONNX Runtime {onnxruntime.__version__}, numpy {np.__version__}\n")
    print_costs()
    print_memory()
    print_start()
    print_correlations()
    print_checkpoints()


def probes(shape: tuple[int, ...]) -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def variants(
    source: bytes | Path, batch: NDArray[np.float32], names: tuple[str, ...]
) -> dict[str, Run]:
    """Functions that run one batch: the model alone, instrumented, or as a user would write it."""
    model = open_model(source)
    taps = select_taps(find_taps(model)).taps
    made: dict[str, Run] = {}
    for name in names:
        if name == "plain":
            session = plain(source)
            made[name] = lambda session=session: session.run(None, {"input": batch})
        elif name == "by hand":
            made[name] = by_hand(source, [tap.tensor for tap in taps], batch)
        else:
            wanted = Settings(statistics=name).computed
            tapped = TapSession(instrument(model, taps, wanted), taps, "cpu", threads=1)
            made[name] = lambda tapped=tapped: tapped.run({"input": batch}, len(batch))
    return made


def plain(source: bytes | Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def by_hand(source: bytes | Path, tensors: list[str], batch: NDArray[np.float32]) -> Run:
    """Activations as outputs, and scipy on the host."""
    content = source if isinstance(source, bytes) else source.read_bytes()
    proto = onnx.ModelProto.FromString(content)
    proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in tensors)
    session = plain(proto.SerializeToString())

    def run() -> list[NDArray[np.floating]]:
        activations = session.run(tensors, {"input": batch})
        return [entr(softmax(a, axis=1)).sum(axis=1) for a in activations]

    return run


def ratios(runs: Mapping[str, Run], rounds: int, base: str = "plain") -> dict[str, float]:
    """Median over the rounds of each variant's CPU time over the base's."""
    for run in runs.values():
        run()
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            start = time.process_time()
            run()
            times[name].append(time.process_time() - start)
    return {
        name: statistics.median(a / b for a, b in zip(times[name], times[base], strict=True))
        for name in runs
    }


def print_costs() -> None:
    print("| CPU time over plain inference | H | all statistics | by hand (H only) |")
    print("|---|---|---|---|")
    for name, (make, shape, rounds) in MODELS.items():
        found = ratios(variants(make(), probes(shape), VARIANTS), rounds)
        print(f"| {name} | {found['entropy']:.2f} | {found['all']:.2f} | {found['by hand']:.2f} |")


def peak_memory(variant: str, path: Path) -> float:
    """MB that loading a model and running a batch of 16 take at most; Linux only."""
    batch, before = probes((16, 3, 224, 224)), memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak so far is forgotten
    if variant == "plain":
        plain(path).run(None, {"input": batch})
    else:
        variants(path, batch, (variant,))[variant]()
    return memory("VmHWM") - before


def memory(field: str) -> float:
    """MB, of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1]) / 1024


def print_memory() -> None:
    print("\n| ResNet-50, batch 16: peak memory, weights included | MB | over plain |")
    print("|---|---|---|")
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "resnet50.onnx"
        path.write_bytes(resnet50())
        for name in VARIANTS:
            command = [sys.executable, __file__, "--memory", name, str(path)]
            found[name] = float(subprocess.run(command, capture_output=True, text=True).stdout)
            print(f"| {name} | {found[name]:.0f} | {found[name] / found['plain']:.1f} |")


def print_start() -> None:
    print("\n| from the file's bytes to the first result | over a plain session |")
    print("|---|---|")
    for name, (make, shape, _) in MODELS.items():
        content, batch = make(), probes(shape)

        def ours(content: bytes = content, batch: NDArray[np.float32] = batch) -> None:
            variants(content, batch, ("entropy",))["entropy"]()

        def theirs(content: bytes = content, batch: NDArray[np.float32] = batch) -> None:
            plain(content).run(None, {"input": batch})

        print(f"| {name} | {ratios({'plain': theirs, 'ours': ours}, 5)['ours']:.2f} |")


def print_correlations() -> None:
    print("\n| correlation histogram of D filters of K weights | over its own matrix product |")
    print("|---|---|")
    for shape in ((512, 1152), (1024, 4608), (4096, 1152)):
        weights = np.random.default_rng(0).normal(size=shape)

        def product(weights: NDArray[np.float64] = weights) -> None:
            for low in range(0, len(weights), 512):
                for left in range(0, low + 1, 512):
                    _ = weights[low : low + 512] @ weights[left : left + 512].T

        def summary(weights: NDArray[np.float64] = weights) -> None:
            correlation_summary(weights)

        found = ratios({"plain": product, "summary": summary}, 9)["summary"]
        print(f"| {shape[0]} x {shape[1]} | {found:.2f} |")


def print_checkpoints() -> None:
    """All of `sparsight analyze`: it starts, reads, measures and writes an event file."""
    content, count = vanilla_net("s", side=24), 1000
    weights = sum(np.prod(tensor.dims) for tensor in open_model(content).graph.initializer)
    print(f"\n| {count} checkpoints of {weights / 1000:.0f} k weights, 64 probes | a second |")
    print("|---|---|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.save(folder / "probes.npy", probes((64, 3, 24, 24)))
        (folder / "checkpoints").mkdir()
        (folder / "model").write_bytes(content)
        for epoch in range(count):
            (folder / "checkpoints" / f"epoch_{epoch}.onnx").hardlink_to(folder / "model")
        for statistics_ in ("entropy", "all"):
            command = [sys.executable, "-m", "sparsight", "analyze", folder / "checkpoints"]
            command += ["--probes", folder / "probes.npy", "--logdir", folder / statistics_]
            start = time.perf_counter()
            subprocess.run([*command, "--statistics", statistics_], check=True, capture_output=True)
            print(f"| {statistics_} | {count / (time.perf_counter() - start):.0f} |")


if __name__ == "__main__":
    main()

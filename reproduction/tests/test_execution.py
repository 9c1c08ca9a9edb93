"""Arithmetic and places: what of the options for CUDA can be seen on a CPU; compiled training."""

import dataclasses
import multiprocessing
import os
import shutil
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import numpy as np
import pytest
import torch

from sparsight.errors import DeviceError, OutOfMemoryError, UsageError
from sparsight_paper import experiments
from sparsight_paper.cells import Cell, Protocol
from sparsight_paper.data import ExperimentData
from sparsight_paper.execution import Execution
from sparsight_paper.experiments import Experiment
from sparsight_paper.jobs import begin_worker, gpus_in_turn
from sparsight_paper.networks import PaperNet
from sparsight_paper.training import Training, train_epoch

COMPILED = pytest.mark.filterwarnings(  # PyTorch's compiler, of its own insides
    "ignore::DeprecationWarning:torch", "ignore:The .grad attribute:UserWarning"
)
PROTOCOL = Protocol("test", batch=12, sgd_rate=0.05)


@pytest.fixture
def data():
    random = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (30, 3, 32, 32), dtype=torch.uint8, generator=random)
    labels = torch.randint(0, 10, (30,), generator=random)
    return ExperimentData(pixels, labels, pixels[:4], labels[:4], pixels[:4], (0, 1, 2, 3), 10)


@pytest.fixture
def compiler():
    if shutil.which("g++") is None and shutil.which("c++") is None:
        pytest.skip("PyTorch compiles for CPUs with a C++ compiler, and there is none")
    yield
    torch.compiler.reset()
    torch._inductor.config.deterministic = False


def tf32():
    return torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32


@pytest.fixture
def flags():
    before = tf32()
    yield
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


@pytest.fixture
def two_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


def test_tf32_is_for_training_alone(flags, two_gpus):
    execution = Execution("cuda", precision="tf32")
    with execution.training():
        assert tf32() == (True, True)
    assert tf32() == (False, False)
    with pytest.raises(KeyError), execution.training():
        raise KeyError
    assert tf32() == (False, False)
    with Execution("cuda", precision="bf16").training():
        assert tf32() == (False, False)


def test_cuda_is_deterministic_and_fills_no_memory(flags, two_gpus, monkeypatch):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")  # so that it is put back afterwards
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")
    torch.utils.deterministic.fill_uninitialized_memory = True  # PyTorch's default
    try:
        Execution("cuda").prepare()
        assert torch.are_deterministic_algorithms_enabled()
        assert not torch.utils.deterministic.fill_uninitialized_memory
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    finally:
        torch.use_deterministic_algorithms(False)
        torch.utils.deterministic.fill_uninitialized_memory = True


@pytest.mark.filterwarnings("ignore:CUDA is not available:UserWarning")
def test_bf16_is_for_the_forward_alone(two_gpus):
    context = Execution("cuda", precision="bf16").forward()
    assert isinstance(context, torch.autocast)
    assert (context.device, context.fast_dtype) == ("cuda", torch.bfloat16)
    assert not isinstance(Execution("cuda", precision="tf32").forward(), torch.autocast)


def test_devices(two_gpus):
    assert Execution("cuda:1").cuda
    for wrong in ("cuda:x", "cpu:1", "cuda1", ""):
        with pytest.raises(UsageError, match="expected 'cpu', 'cuda' or 'cuda:1'"):
            Execution(wrong)
    with pytest.raises(DeviceError, match="finds 2 CUDA devices"):
        Execution("cuda:2")


def test_jobs_take_the_gpus_in_turn():
    assert gpus_in_turn(3, {}, 2) == ["0", "1", "0"]
    assert gpus_in_turn(2, {"CUDA_VISIBLE_DEVICES": "4,GPU-8a"}, 2) == ["4", "GPU-8a"]
    context = multiprocessing.get_context("spawn")
    gpus = context.SimpleQueue()
    gpus.put("7")
    _, writer = context.Pipe(duplex=False)
    with ProcessPoolExecutor(1, context, begin_worker, (gpus, writer, context.Lock())) as pool:
        assert pool.submit(os.getenv, "CUDA_VISIBLE_DEVICES").result() == "7"
        assert not pool.submit(torch.cuda.is_initialized).result()


def test_a_checkpoint_stays_where_it_was_begun(data, tmp_path, two_gpus):
    """The random numbers of a GPU are part of it."""
    cell = Cell("vanillaNet", "s", "cifar-10")
    training = Training(cell, PROTOCOL, data, Execution())
    begun = Experiment(cell, PROTOCOL, tmp_path, tmp_path, Execution())
    history = {"epochs": {}, "layers": {}, "seconds": [1.0]}
    begun._save({"training": training.state_dict(), "history": history})
    assert begun.timed() == (1, 1.0)
    with pytest.raises(UsageError, match="was started on the CPU; continue there"):
        Experiment(cell, PROTOCOL, tmp_path, tmp_path, Execution("cuda")).timed()


@pytest.mark.parametrize(
    "fails",
    [
        lambda: torch.empty(2**60),  # what the CPU's allocator says
        lambda: np.empty(2**60, np.uint8),
        lambda: (_ for _ in ()).throw(torch.OutOfMemoryError("CUDA out of memory.")),
        lambda: (_ for _ in ()).throw(RuntimeError("CUDA error: out of memory")),
    ],
)
def test_a_cell_that_does_not_fit_says_so(fails, data, tmp_path, monkeypatch):
    monkeypatch.setattr(experiments, "load_data", lambda *_, **__: data)
    monkeypatch.setattr(experiments, "train_epoch", lambda training: next(fails()))
    experiment = Experiment(Cell("vanillaNet", "s", "cifar-10"), PROTOCOL, tmp_path, tmp_path)
    with pytest.raises(OutOfMemoryError, match=r"sgd_seed0 does not fit into the memory of cpu: "):
        experiment.run()


def test_other_errors_stay_what_they_are():
    with pytest.raises(RuntimeError, match="shapes differ"), Execution().memory_for("a cell"):
        raise RuntimeError("shapes differ")


def trained(network, data, compile, epochs, state=None):
    execution = Execution(threads=1, compile=compile)
    execution.prepare()
    training = Training(Cell(network, "s", "cifar-10"), PROTOCOL, data, execution)
    if state is not None:
        training.load_state_dict(state)
    return [train_epoch(training) for _ in range(epochs)], training.state_dict()


def test_every_cell_of_a_process_is_compiled(compiler, monkeypatch):
    """PyTorch compiles a function 8 times, for other widths or batches, and then leaves it."""
    compilations = []

    def backend(graph, inputs):
        compilations.append(graph)
        return graph

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    for width in range(4, 10):
        execution = Execution(threads=1, compile=True)
        execution.prepare()
        forward = execution.compiled(PaperNet((width,) * 5, side=8))
        for batch in (2, 3):
            forward(torch.rand(batch, 3, 8, 8))
    assert len(compilations) == 12


@COMPILED
def test_compiled_training_does_what_eager_training_does(data, compiler):
    (eager,), _ = trained("sr2Net", data, compile=False, epochs=1)
    (compiled,), _ = trained("sr2Net", data, compile=True, epochs=1)
    assert eager["sparsity"] < -0.1
    assert compiled == pytest.approx(eager, rel=1e-3)


@COMPILED
def test_compiled_training_goes_on_where_it_was(data, compiler):
    """Dropout's random numbers are drawn by compiled code then."""
    data = dataclasses.replace(data, images=data.images[:24], labels=data.labels[:24])
    curves, whole = trained("dropNet", data, compile=True, epochs=2)
    _, half = trained("dropNet", data, compile=True, epochs=1)
    continued, end = trained("dropNet", data, compile=True, epochs=1, state=half)
    assert continued == curves[1:]
    for name, weights in whole["model"].items():
        assert torch.equal(weights, end["model"][name]), name
    assert (half["random"] != end["random"]).any()

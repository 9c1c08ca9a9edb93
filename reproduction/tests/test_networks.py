"""The paper's networks as Table 1 and the README describe them, and LeNet and AlexNet."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from sparsight.errors import UsageError
from sparsight_paper.cells import Cell, Protocol
from sparsight_paper.choices import Choices
from sparsight_paper.classics import build_classic
from sparsight_paper.data import load_data, scaled
from sparsight_paper.execution import Execution
from sparsight_paper.experiments import Experiment
from sparsight_paper.networks import NETWORKS, build
from sparsight_paper.training import Training, penalties, train_epoch, validate
from sparsight_torch import measure

FEW = Protocol("test", training=24, validation=8, probes=8, epochs=1, batch=12)
SHAPES = {"cifar-10": (32, 10), "cifar-100": (32, 100), "tiny-imagenet": (64, 200)}
DEEP = ["conv3", "conv4", "fc1"]


def outputs(model, side):
    """Shape of what each layer returns, without the batch."""
    shapes = {}
    for name, module in model.named_children():
        module.register_forward_hook(lambda _, __, out, name=name: shapes.update({name: out.shape}))
    model.eval()(torch.rand(2, 3, side, side))
    return {name: tuple(shape[1:]) for name, shape in shapes.items()}


def count(model):
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(
    ("size", "widths"),
    [("s", (16, 16, 32, 32, 64)), ("m", (64, 64, 128, 128, 256))],
)
@pytest.mark.parametrize(("padding", "sides"), [("same", (32, 16)), ("valid", (30, 28, 12, 10))])
def test_table_1(size, widths, padding, sides):
    shapes = outputs(build("vanillaNet", size, padding=padding), 32)
    sides = sides if len(sides) == 4 else [side for side in sides for _ in range(2)]
    convolutions = zip(("conv1", "conv2", "conv3", "conv4"), widths, sides, strict=False)
    for name, channels, side in convolutions:
        assert shapes[name] == (channels, side, side)
    assert (shapes["fc1"], shapes["fc2"]) == ((widths[-1],), (100,))


@pytest.mark.parametrize(
    ("network", "kind"), [("dropNet", nn.Dropout), ("normNet", nn.BatchNorm2d)]
)
@pytest.mark.parametrize(
    ("placement", "names"),
    [
        ("block", ["block1", "block2"]),
        ("convolution", [f"conv{number}_extension" for number in range(1, 5)]),
    ],
)
def test_where_the_extension_stands(network, kind, placement, names):
    model = build(network, "s", placement=placement)
    assert [name for name, module in model.named_modules() if isinstance(module, kind)] == names
    shapes = outputs(model, 32)
    if placement == "block":  # after the pooling
        assert [shapes[name][1] for name in names] == [16, 8]
    plain = build("vanillaNet", "s")
    assert not any(isinstance(module, kind) for module in plain.modules())


def test_weights_are_glorot_uniform_and_biases_zero():
    torch.manual_seed(0)
    for model in (build("vanillaNet", "m"), build_classic("LeNet")):
        for module in model.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                window = math.prod(module.weight.shape[2:])
                limit = math.sqrt(6 / (sum(module.weight.shape[:2]) * window))
                largest = module.weight.abs().max().item()
                assert 0.95 * limit < largest <= limit
                assert not module.bias.any()
    assert build("vanillaNet", "s", initialisation="torch").conv1.bias.any()
    assert build_classic("LeNet", initialisation="torch").conv1.bias.any()


@pytest.mark.parametrize(
    ("network", "sparse", "decorrelated"),
    [
        ("vanillaNet", [], []),
        ("sr1Net", ["conv1", "conv2", *DEEP], []),
        ("sr2Net", DEEP, []),
        ("sr3Net", DEEP, ["conv1"]),
        ("LeNet", [], []),
        ("LeNet-sr", ["conv2", "fc1", "fc2"], ["conv1"]),
        ("AlexNet", [], []),
        ("AlexNet-sr", ["conv4", "conv5", "fc1", "fc2"], ["conv1"]),
    ],
)
@pytest.mark.parametrize("entropy_at", ["linear", "activation"])
def test_penalties_are_on_the_right_layers(network, sparse, decorrelated, entropy_at):
    cell = Cell(
        network,
        "s" if network in NETWORKS else "",
        "cifar-10",
        choices=Choices(entropy_at=entropy_at, lambda_=0.5, kappa=0.25),
    )
    model = build(network, "s") if network in NETWORKS else build_classic(network)
    found = penalties(cell, model)
    end = "_relu" if entropy_at == "activation" else ""
    wanted = {"sparsity": [name + end for name in sparse], "decorrelation": decorrelated}
    wanted = {name: layers for name, layers in wanted.items() if layers}
    assert {name: [t.name for t in penalty.targets] for name, penalty in found.items()} == wanted
    strengths = {"sparsity": 0.5, "decorrelation": 0.25}
    for name, penalty in found.items():
        assert {target.strength for target in penalty.targets} == {strengths[name]}


@pytest.mark.parametrize("data", SHAPES)
def test_lenet(data):
    side, classes = SHAPES[data]
    model = build_classic("LeNet-sr", side=side, classes=classes)
    shapes = outputs(model, side)
    after = {32: (28, 10, 5), 64: (60, 26, 13)}[side]
    assert shapes["conv1"] == (6, after[0], after[0])
    assert shapes["conv2"] == (16, after[1], after[1])
    assert [shapes[name] for name in ("fc1", "fc2", "fc3")] == [(120,), (84,), (classes,)]
    cells = after[2] ** 2
    dense = (16 * cells + 1) * 120 + 121 * 84 + 85 * classes
    assert count(model) == (3 * 25 + 1) * 6 + (6 * 25 + 1) * 16 + dense


@pytest.mark.parametrize("data", SHAPES)
def test_alexnet(data):
    side, classes = SHAPES[data]
    with torch.device("meta"):
        model = build_classic("AlexNet", side=side, classes=classes, initialisation="torch")
    shapes = {}
    for name, module in model.named_children():
        module.register_forward_hook(lambda _, __, out, name=name: shapes.update({name: out.shape}))
    logits = model(torch.rand(2, 3, side, side, device="meta"))
    assert logits.shape == (2, classes)
    assert shapes["conv1"][1:] == (64, 32, 32)
    assert shapes["conv2"][1:] == (192, 16, 16)
    assert [shapes[f"conv{number}"][1:] for number in (3, 4, 5)] == [
        (384, 8, 8),
        (256, 8, 8),
        (256, 8, 8),
    ]
    assert shapes["fc1"] == shapes["fc2"] == (2, 4096)
    convolutions = 76 * 64 + (64 * 25 + 1) * 192 + (192 * 9 + 1) * 384
    convolutions += (384 * 9 + 1) * 256 + (256 * 9 + 1) * 256
    assert count(model) == convolutions + 4097 * 4096 * 2 + 4097 * classes


def test_networks_of_other_images():
    with pytest.raises(UsageError, match="AlexNet is built for sides of 32 and 64"):
        build_classic("AlexNet", side=48)
    with pytest.raises(UsageError, match="did you mean 'LeNet'"):
        build_classic("Lenet")
    with pytest.raises(UsageError, match="expected a multiple of 4"):
        build("vanillaNet", "s", side=30)


@pytest.mark.parametrize("network", ["LeNet-sr", "AlexNet-sr"])
@pytest.mark.parametrize("side", [32, 64])
def test_a_step_lowers_the_penalised_loss(network, side):
    """Forward and backward: every weight has a gradient, and the penalties take part in it."""
    torch.manual_seed(0)
    model = build_classic(network, side=side).eval()  # dropout would hide what a step does
    found = penalties(Cell(network, "", "cifar-10", choices=Choices(kappa=0.01)), model)
    images, labels = torch.rand(4, 3, side, side), torch.arange(4)

    def loss():
        return F.cross_entropy(model(images), labels) + sum(p() for p in found.values())

    first = loss()
    first.backward()
    assert all(parameter.grad.any() for parameter in model.parameters())
    torch.optim.SGD(model.parameters(), lr=1e-3).step()
    assert loss().item() < first.item()
    total = sum(penalty.value for penalty in found.values())
    channels = {
        name: len(module.weight)
        for name, module in model.named_children()
        if hasattr(module, "weight")
    }
    sparsity = found["sparsity"].parts
    for name, value in sparsity.items():
        cells = outputs(model, side)[name][1:]
        densest = -1e-3 * math.prod(cells) * math.log(channels[name])
        assert densest <= value < 0.5 * densest
    assert total == pytest.approx(sum(sparsity.values()) + found["decorrelation"].value)


@pytest.mark.real_data
@pytest.mark.parametrize("network", ["LeNet", "LeNet-sr"])
@pytest.mark.parametrize("data", SHAPES)
def test_an_epoch_of_lenet_on_real_images(network, data, real, tmp_path):
    cell = Cell(network, "", data)
    result = Experiment(cell, FEW, tmp_path, real, Execution(threads=1)).run()
    for name in ("loss/training", "loss/validation"):
        (value,) = result["epochs"][name]
        assert 0 < value < 3 * math.log(SHAPES[data][1])
    assert ("penalty/sparsity" in result["epochs"]) == network.endswith("-sr")
    assert list(result["layers"]) == ["conv1", "conv2", "fc1", "fc2"]
    for name, curves in result["layers"].items():
        assert len(curves["relative_entropy"]) == 2, name
        assert all(0 < value <= 1 for value in curves["relative_entropy"]), name
        assert all(0 <= value <= 1 for value in curves["dead_fraction"]), name


@pytest.mark.real_data
@pytest.mark.parametrize("data", ["cifar-10", "tiny-imagenet"])
def test_an_epoch_of_alexnet_on_real_images(data, real):
    """Its dense layers are not measured: their 8 million correlations take seconds a time."""
    images = load_data(data, real, training=24, validation=8, probes=8)
    training = Training(Cell("AlexNet-sr", "", data), FEW, images, Execution())
    first = train_epoch(training)
    assert 0 < first["loss"] < 3 * math.log(SHAPES[data][1])
    assert first["sparsity"] < 0
    assert math.isfinite(validate(training.model, images)["loss"])
    measured = measure(training.model, scaled(images.probes), layers=["conv*"])
    assert [found.layer.name for found in measured] == [f"conv{number}" for number in range(1, 6)]
    assert all(0 < found.relative_entropy <= 1 for found in measured)
    assert all(0 <= found.statistics["dead_fraction"] < 1 for found in measured)

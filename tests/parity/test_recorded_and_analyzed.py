"""The same weights through both flows give the same measurement, and other weights do not."""

import itertools

import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F
from onnx import numpy_helper
from torch import Tensor, nn

import sparsight
from sparsight_paper.networks import NETWORKS, build
from sparsight_torch import OnnxExporter, SparsityReg, measure

# PyTorch's exporter warns of its own insides.
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")


class Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = nn.Sequential(
            nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
        )
        self.relu = nn.ReLU(inplace=True)

    def forward(self, images: Tensor) -> Tensor:
        inner = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(images)))))
        return self.relu(inner + self.downsample(images))


class ResNet18(nn.Module):
    """ResNet-18 at an eighth of its width."""

    def __init__(self) -> None:
        super().__init__()
        widths = (8, 8, 16, 32, 64)
        self.conv1 = nn.Conv2d(3, 8, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.layers = nn.Sequential(
            *(
                nn.Sequential(Block(a, b, 1 if a == b else 2), Block(b, b, 1))
                for a, b in itertools.pairwise(widths)
            )
        )
        self.fc = nn.Linear(64, 10)

    def forward(self, images: Tensor) -> Tensor:
        features = self.layers(F.relu(self.bn1(self.conv1(images))))
        return self.fc(features.mean((2, 3)))


class Transformer(nn.Module):
    """One block of a small vision transformer."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 24, 4, 4)
        self.norm1, self.norm2 = nn.LayerNorm(24), nn.LayerNorm(24)
        self.qkv, self.proj = nn.Linear(24, 72), nn.Linear(24, 24)
        self.fc1, self.fc2 = nn.Linear(24, 48), nn.Linear(48, 24)
        self.head = nn.Linear(24, 10)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.patches(images).flatten(2).transpose(1, 2)
        query, key, value = self.qkv(self.norm1(tokens)).chunk(3, -1)
        scores = (query @ key.transpose(1, 2) / 24**0.5).softmax(-1)
        tokens = tokens + self.proj(scores @ value)
        tokens = tokens + self.fc2(F.gelu(self.fc1(self.norm2(tokens))))
        return self.head(tokens.mean(1))


MODELS = {
    "vanillaNet": lambda: build("vanillaNet", "s", side=16, classes=10),
    "normNet": lambda: build("normNet", "s", side=16, classes=10),
    "dropNet": lambda: build("dropNet", "s", side=16, classes=10),
    "ResNet18": ResNet18,
    "Transformer": Transformer,
}


@pytest.mark.parametrize("tokens", [1, 5])
def test_a_relu_behind_the_conv1d_of_transformers(tokens, tmp_path):
    """It is exported as a Gemm of all positions in one axis, and a Reshape, before its ReLU."""
    Conv1D = pytest.importorskip("transformers.pytorch_utils").Conv1D
    torch.manual_seed(0)
    model = nn.Sequential(Conv1D(16, 8), nn.ReLU(), Conv1D(4, 16))
    with torch.no_grad():
        model[0].bias[:3] = -100
        model[0].weight.mul_(40)
    probes = torch.randn(9, tokens, 8)
    recorded = measure(model, probes)
    path = OnnxExporter(model, probes).export(tmp_path / "model.onnx")
    analyzed = sparsight.analyze(path, probes.numpy(), device="cpu")
    for ours, theirs in zip(recorded, analyzed, strict=True):
        for name in ("dead_fraction", "zero_fraction"):
            assert theirs.statistics[name] == pytest.approx(ours.statistics[name], abs=1e-9)
    assert analyzed[0].statistics["dead_fraction"] >= 3 / 16


def randomise(model: nn.Module, seed: int) -> None:
    """Weights, biases and running statistics as if trained: zero biases would hide a lost one."""
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                value += 0.1 * torch.randn(value.shape, generator=random)
                if "var" in name:
                    value.abs_().add_(0.5)


def compare(model, probes, path) -> None:
    recorded = measure(model, probes, shown=[0, 3])
    analyzed = sparsight.analyze(path, probes.numpy(), shown=[0, 3], device="cpu")
    assert [m.layer.name for m in analyzed] == [m.layer.name for m in recorded]
    for ours, theirs in zip(recorded, analyzed, strict=True):
        agree(ours, theirs)


def agree(ours, theirs) -> None:
    scale = 1e-4 * max(1.0, ours.statistics["rms"])
    for name, value in ours.statistics.items():
        tolerance = scale if name not in ("dead_fraction", "zero_fraction") else 2e-4
        if name.startswith("entropy_p"):  # percentiles jump by a bin of the histogram
            tolerance = scale + np.log(ours.layer.channels) / 4096
        assert theirs.statistics[name] == pytest.approx(value, abs=tolerance, nan_ok=True), name
    np.testing.assert_allclose(theirs.maps, ours.maps, atol=scale)
    np.testing.assert_allclose(theirs.mean_map, ours.mean_map, atol=scale)
    assert (ours.layer.channels, ours.layer.map_shape) == (
        theirs.layer.channels,
        theirs.layer.map_shape,
    )
    counts = ours.correlation.counts - theirs.correlation.counts
    assert np.abs(counts).sum() <= 5e-6 * ours.correlation.counts.sum()


@pytest.fixture
def probes():
    return torch.rand(9, 3, 16, 16, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", MODELS)
def test_both_flows_agree(name, probes, tmp_path):
    torch.manual_seed(0)
    model = MODELS[name]()
    exporter = OnnxExporter(model, probes)
    for epoch in range(2):  # the second file is the first one's graph with other weights
        randomise(model, epoch)
        compare(model, probes, exporter.export(tmp_path / f"epoch_{epoch}.onnx"))


@pytest.mark.parametrize("everywhere", [False, True])
def test_a_nan_says_nothing_of_a_channel_in_either_flow(everywhere, probes, tmp_path):
    """One dead otherwise stays dead; one without a number is not; the NaN share tells."""
    torch.manual_seed(0)
    model = MODELS["vanillaNet"]()
    with torch.no_grad():
        model.get_submodule("conv1").bias[:4] = -100
    path = OnnxExporter(model, probes).export(tmp_path / "model.onnx")
    others = torch.cat([probes[:4], probes[5:]])
    before = measure(model, others)[0].statistics
    assert before["dead_fraction"] >= 4 / 16
    probes = probes.clone()
    probes[slice(None) if everywhere else 4] = torch.nan
    recorded, analyzed = (
        measure(model, probes),
        sparsight.analyze(path, probes.numpy(), device="cpu"),
    )
    for ours, theirs in zip(recorded, analyzed, strict=True):
        for name in ("dead_fraction", "zero_fraction", "nan_share"):
            wanted = pytest.approx(ours.statistics[name], abs=1e-9, nan_ok=True)
            assert theirs.statistics[name] == wanted, name
    if everywhere:
        assert recorded[0].statistics["dead_fraction"] == 0
        assert np.isnan(recorded[0].statistics["zero_fraction"])
    else:
        for name in ("dead_fraction", "zero_fraction"):
            assert recorded[0].statistics[name] == pytest.approx(before[name], abs=1e-9), name
    assert recorded[0].statistics["nan_share"] > 0


def test_one_changed_weight_is_seen(probes, tmp_path):
    torch.manual_seed(0)
    model = MODELS["vanillaNet"]()
    path = OnnxExporter(model, probes).export(tmp_path / "model.onnx")
    compare(model, probes, path)
    proto = onnx.load(path)
    tensor = next(t for t in proto.graph.initializer if t.name == "conv3.weight")
    values = numpy_helper.to_array(tensor).copy()
    values[3, 2, 1, 1] += 1
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    onnx.save(proto, path)
    with pytest.raises(AssertionError):
        compare(model, probes, path)


def test_exporting_a_network_with_penalties_while_training(probes, tmp_path):
    model = MODELS["normNet"]().train()
    sparsity = SparsityReg(model, dict.fromkeys(NETWORKS["sr2Net"].sparsity, 1e-3))
    exporter = OnnxExporter(model, probes[:1])  # one sample does not fix the batch
    for epoch in range(2):
        (model(probes).sum() + sparsity()).backward()
        path = exporter.export(tmp_path / f"epoch_{epoch}.onnx")
        assert model.training
    compare(model, probes, path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["epoch_0.onnx", "epoch_1.onnx"]


class MaskedTokens(nn.Module):
    """Layers on tokens and a convolution over them; what is padding counts in none."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 16), nn.Linear(16, 8)
        self.over = nn.Conv1d(8, 12, 3, padding=1)
        self.pooled, self.head = nn.Linear(12, 6), nn.Linear(6, 2)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        inner = self.second(self.first(tokens).relu())
        over = self.over(inner.transpose(1, 2)).relu()
        mean = (over * mask[:, None]).sum(2) / mask.sum(1, keepdim=True)
        return self.head(self.pooled(mean).relu())


def test_both_flows_agree_on_padding(tmp_path):
    random = torch.Generator().manual_seed(0)
    tokens = torch.randn(9, 16, 4, generator=random)
    lengths = torch.randint(1, 17, (9,), generator=random)
    mask = (torch.arange(16) < lengths[:, None]).float()
    tokens[mask == 0] = 30
    torch.manual_seed(0)
    model = MaskedTokens()
    randomise(model, 1)
    inputs = {"tokens": tokens, "mask": mask}
    path = OnnxExporter(model, inputs).export(tmp_path / "tokens.onnx")
    arrays = {name: tensor.numpy() for name, tensor in inputs.items()}
    recorded = measure(model, inputs, shown=[0, 3], mask="mask")
    analyzed = sparsight.analyze(path, arrays, shown=[0, 3], device="cpu", mask="mask")
    assert [m.layer.name for m in recorded] == ["first", "second", "over", "pooled"]
    for ours, theirs in zip(recorded, analyzed, strict=True):
        agree(ours, theirs)
    padded = measure(model, inputs)
    assert padded[0].statistics["entropy"] != pytest.approx(recorded[0].statistics["entropy"], 0.1)

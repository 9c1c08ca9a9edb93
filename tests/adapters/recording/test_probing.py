import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tests.adapters.reference import entropy
from torch import Tensor, nn

from sparsight.errors import ProbeError, TargetError, UsageError
from sparsight.maths.correlation import correlation_summary
from sparsight_torch import SparsityReg, measure
from sparsight_torch.layers.relu import ReluTrace


class Net(nn.Module):
    """A layer each way: batch normalisation, a residual addition, a dense layer used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(2, 6, 3, padding=1)
        self.norm = nn.BatchNorm2d(6)
        self.conv2 = nn.Conv2d(6, 6, 3, padding=1)
        self.conv3 = nn.Conv2d(6, 5, 3, stride=2)
        self.tokens = nn.Linear(9, 9)
        self.out = nn.Linear(9, 3)

    def forward(self, images: Tensor) -> Tensor:
        first = F.relu(self.norm(self.conv1(images)), inplace=True)
        second = torch.relu(self.conv2(first) + first)
        third = F.gelu(self.conv3(second)).flatten(2)
        return self.out(self.tokens(F.relu6(self.tokens(third))).mean(1))


@pytest.fixture
def net() -> Net:
    torch.manual_seed(0)
    net = Net()
    nn.init.normal_(net.norm.running_mean)
    return net


@pytest.fixture
def probes() -> Tensor:
    return torch.randn(11, 2, 8, 8, generator=torch.Generator().manual_seed(1))


def by_hand(net: Net, probes: Tensor) -> dict[str, tuple[Tensor, Tensor | None]]:
    """Linear outputs and ReLU inputs, written out."""
    net.eval()
    with torch.no_grad():
        conv1 = net.conv1(probes)
        norm = net.norm(conv1)
        conv2 = net.conv2(norm.relu())
        added = conv2 + norm.relu()
        conv3 = net.conv3(added.relu())
        tokens = net.tokens(F.gelu(conv3).flatten(2))
        again = net.tokens(F.relu6(tokens))
    net.train()
    return {
        "conv1": (conv1, norm),
        "conv2": (conv2, added),
        "conv3": (conv3, None),
        "tokens": (tokens, tokens),
        "tokens#2": (again, None),
    }


@pytest.mark.parametrize("batch_size", [1, 4, 64])
def test_measurements_equal_the_obvious(net, probes, batch_size):
    expected = by_hand(net, probes)
    found = measure(net, probes, shown=[0, 10], batch_size=batch_size)
    assert [measurement.layer.name for measurement in found] == list(expected)
    for measurement in found:
        linear, relu = expected[measurement.layer.name]
        axis = -1 if "tokens" in measurement.layer.name else 1
        exact = entropy(linear, axis)
        values = measurement.statistics
        assert values["entropy"] == pytest.approx(float(exact.mean()), abs=1e-5)
        assert values["entropy_std"] == pytest.approx(float(exact.std(correction=0)), abs=1e-5)
        assert values["rms"] == pytest.approx(float(linear.double().square().mean().sqrt()), 1e-5)
        np.testing.assert_allclose(measurement.maps, exact[[0, 10]], atol=1e-5)
        np.testing.assert_allclose(measurement.mean_map, exact.mean(0), atol=1e-5)
        if relu is None:
            assert np.isnan(values["dead_fraction"])
            assert np.isnan(values["zero_fraction"])
        else:
            others = (0, 1) if axis == -1 else (0, 2, 3)
            assert values["dead_fraction"] == pytest.approx(
                float((relu.amax(others) <= 0).double().mean())
            )
            assert values["zero_fraction"] == pytest.approx(float((relu <= 0).double().mean()))
    weights = net.conv2.weight.detach().numpy()
    assert found[1].correlation is not None
    np.testing.assert_array_equal(found[1].correlation.counts, correlation_summary(weights).counts)


def test_the_model_is_as_it_was(net, probes):
    net.norm.eval()
    modes = {name: module.training for name, module in net.named_modules()}
    state = {name: value.clone() for name, value in net.state_dict().items()}
    before = torch.get_rng_state()
    measure(net, probes)
    assert torch.equal(torch.get_rng_state(), before)
    assert {name: module.training for name, module in net.named_modules()} == modes
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())
    assert not any(module._forward_hooks for module in net.modules())
    assert all(parameter.grad is None for parameter in net.parameters())


def test_it_does_not_disturb_a_penalty(net, probes):
    sparsity = SparsityReg(net, {"conv1": 1.0})
    net(probes)
    measure(net, probes)
    sparsity().backward()
    assert net.conv1.weight.grad is not None


def test_autocast_around_it_changes_nothing(net, probes):
    plain = measure(net, probes)
    with torch.autocast("cpu", torch.bfloat16):
        inside = measure(net, probes)
    assert [m.statistics["entropy"] for m in plain] == [m.statistics["entropy"] for m in inside]


def test_layers_are_chosen_by_name_and_glob(net, probes):
    found = measure(net, probes, layers=["out", "conv*"])
    assert [m.layer.name for m in found] == ["conv1", "conv2", "conv3", "out"]
    assert found[-1].layer.map_shape == (1, 1)


def test_entropy_alone(net, probes):
    (first, *_) = measure(net, probes, statistics="entropy")
    assert np.isnan(first.statistics["rms"])
    assert first.statistics["entropy"] == measure(net, probes)[0].statistics["entropy"]


def test_numbers_that_are_not_finite_are_counted(net, probes):
    probes[3, 0, 2, 2] = torch.nan
    first = measure(net, probes, shown=[3])[0]
    assert first.statistics["nan_share"] == pytest.approx(9 / (11 * 64))
    assert np.isnan(first.maps).sum() == 9
    assert np.isfinite(first.statistics["entropy"])
    assert np.isfinite(first.statistics["dead_fraction"])


def test_several_inputs_and_arrays():
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(3, 4), nn.Linear(4, 2)

        def forward(self, one: Tensor, two: Tensor) -> Tensor:
            return self.second(self.first(one) * two)

    torch.manual_seed(0)
    one, two = np.ones((5, 3), np.float32), torch.ones(5, 1)
    model = Two()
    for probes in ([one, two], {"two": two, "one": one}):
        (found,) = measure(model, probes)
        assert found.layer.name == "first"


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda n, p: measure(n, p[:0]), ProbeError, "empty"),
        (
            lambda n, p: measure(n, [p, p[:3]]),
            ProbeError,
            "11, 3 samples; expected the same number",
        ),
        (lambda n, p: measure(n, p[:, :1]), ProbeError, r"shape \(11, 1, 8, 8\)"),
        (lambda n, p: measure(n, p, layers=["conv9"]), TargetError, "did you mean 'conv"),
        (lambda n, p: measure(n, p, statistics="most"), UsageError, "'entropy' or 'all'"),
        (lambda n, p: measure(nn.ReLU(), p), TargetError, "no measurable layer"),
        (lambda n, p: measure(n, p, batch_size=0), UsageError, "batch_size=0: expected a number"),
        (lambda n, p: measure(n, p, shown=[0, 11]), UsageError, "positions below 11"),
        (lambda n, p: measure(n, "probes.npz"), ProbeError, "probes are a str"),
        (lambda n, p: measure(n, p, layers=3), UsageError, "layers=3: expected a list of names"),
        (lambda n, p: measure(n, None), ProbeError, "probes are a NoneType"),
        (lambda n, p: measure(n, iter(p)), ProbeError, "a Dataset or a DataLoader"),
    ],
)
def test_wrong_calls_get_a_sentence(net, probes, call, error, message):
    with pytest.raises(error, match=message):
        call(net, probes)


@pytest.mark.parametrize(
    ("function", "arrives"),
    [
        (torch.relu, True),
        (F.relu6, True),
        (lambda x: x.clamp(min=0), True),
        (lambda x: x.clamp_min(0.0), True),
        (lambda x: x.relu_(), True),
        (lambda x: (x + 0 * x).relu(), True),
        (lambda x: F.relu6(x + 3), False),  # a part of hard-swish
        (lambda x: x.clamp(-1, 1), False),
        (F.hardtanh, False),
        (lambda x: (2 * x).relu(), False),
        (lambda x: x.relu().relu(), True),
    ],
)
def test_what_counts_as_the_relu_of_a_layer(function, arrives):
    seen: list[str] = []
    with torch.no_grad(), ReluTrace(lambda name, values: seen.append(name)) as trace:
        output = torch.randn(4, 3) + 0
        trace.follow("layer", output)
        function(output)
    assert seen == ["layer"] * arrives


def _eagerly(values: Tensor) -> Tensor:
    return torch.relu(values)


def _by_a_condition(values: Tensor) -> Tensor:
    return torch.cond(values.sum() > 0, torch.sigmoid, torch.tanh, (values,))


@pytest.mark.parametrize("layers", [None, ["*"]])
@pytest.mark.parametrize("way", ["compiled", "condition"])
def test_parts_that_compilers_take_are_measured_in_every_batch(way, layers):
    class Parts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second, self.last = (nn.Linear(4, 4) for _ in range(3))
            compiled = torch.compile(_eagerly, backend="eager", fullgraph=True)
            self.activation = compiled if way == "compiled" else _by_a_condition

        def forward(self, values: Tensor) -> Tensor:
            return self.last(torch.relu(self.second(self.activation(self.first(values)))))

    parts, probes = Parts(), torch.randn(10, 4)
    first, second, *_ = measure(parts, probes, layers=layers, batch_size=4)
    with torch.no_grad():
        dead = (parts.second(parts.activation(parts.first(probes))) <= 0).all(0).float().mean()
    assert second.statistics["dead_fraction"] == pytest.approx(float(dead))
    assert np.isfinite(first.statistics["dead_fraction"]) == (way == "compiled")

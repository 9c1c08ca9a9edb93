"""Every way of training is compared with gradients that were computed without hooks."""

import copy
import io
import math
import warnings

import pytest
import torch
from tests.adapters.reference import entropy, gradients, penalised_gradients
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from torch.utils.checkpoint import checkpoint

from sparsight.errors import TargetError, UsageError
from sparsight_torch import DecorrReg, SparsityReg

STRENGTHS = {"conv1": 1e-2, "conv2": 2e-2, "fc": 3e-2}


# Dynamo hides this warning of its own making, unless warnings are errors.
COMPILING = pytest.mark.filterwarnings("default:The .grad attribute of a Tensor")


class Net(nn.Module):
    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3)
        self.conv2 = nn.Conv2d(8, 16, 3)
        self.relu = nn.ReLU(inplace)
        self.fc = nn.Linear(16 * 16, 12)
        self.out = nn.Linear(12, 4)

    def features(self, images: Tensor) -> Tensor:
        return self.relu(self.conv2(self.relu(self.conv1(images))))

    def forward(self, images: Tensor) -> Tensor:
        return self.out(self.relu(self.fc(self.features(images).flatten(1))))


def by_hand(model: Net, outputs: list[Tensor], images: Tensor) -> Tensor:
    first = model.conv1(images)
    second = model.conv2(first.relu())
    third = model.fc(second.relu().flatten(1))
    outputs += [first, second, third]
    return model.out(third.relu())


def make(inplace: bool = False, dtype: torch.dtype = torch.float64) -> tuple[Net, Tensor]:
    torch.manual_seed(0)
    model = Net(inplace).to(dtype)
    return model, torch.randn(5, 3, 8, 8, dtype=dtype)


def squares(output: Tensor) -> Tensor:
    return output.square().sum()


def expected(model: Net, images: Tensor) -> dict[str, Tensor]:
    doubled = images.double()
    return penalised_gradients(model, lambda m, o: by_hand(m, o, doubled), squares, STRENGTHS)


def assert_gradients(model: nn.Module, wanted: dict[str, Tensor], tolerance: float = 1e-10) -> None:
    found = gradients(model)
    assert found.keys() == wanted.keys()
    for name, gradient in found.items():
        scale = float(wanted[name].abs().max())
        torch.testing.assert_close(
            gradient.double(), wanted[name], atol=tolerance * scale, rtol=tolerance
        )


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("training", [False, True])
def test_eager(inplace, training):
    model, images = make(inplace)
    model.train(training)
    sparsity = SparsityReg(model, STRENGTHS)
    (squares(model(images)) + sparsity()).backward()
    assert_gradients(model, expected(model, images))


def test_the_penalty_is_not_inert_in_these_tests():
    model, images = make()
    squares(model(images)).backward()
    with pytest.raises(AssertionError):
        assert_gradients(model, expected(model, images))


@COMPILING
def test_compiled_in_one_graph():
    model, images = make()
    sparsity = SparsityReg(model, STRENGTHS)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    for _ in range(2):
        model.zero_grad()
        (squares(compiled(images)) + sparsity()).backward()
        assert_gradients(model, expected(model, images))


@COMPILING
def test_compiled_with_the_penalties_in_one_graph():
    model, images = make()
    sparsity, decorrelation = SparsityReg(model, STRENGTHS), DecorrReg(model, {"conv1": 1.0})

    def loss() -> Tensor:
        return squares(model(images)) + sparsity() + decorrelation()

    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    for _ in range(2):
        torch.testing.assert_close(compiled(), loss())


@COMPILING
def test_made_from_a_compiled_model():
    model, images = make()
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    sparsity = SparsityReg(compiled, STRENGTHS)
    (squares(compiled(images)) + sparsity()).backward()
    assert_gradients(model, expected(model, images))


@COMPILING
def test_compiled_networks_of_one_class_with_and_without_a_penalty():
    """By default, code that was compiled for the one would run the other, without the hooks."""
    torch._dynamo.reset()
    torch._dynamo.config.skip_nnmodule_hook_guards = True  # the default; SparsityReg changes it
    (plain, images), (penalised, _) = make(), make()
    compiled = torch.compile(plain, backend="aot_eager")
    compiled(images)
    sparsity = SparsityReg(penalised, STRENGTHS)
    other = torch.compile(penalised, backend="aot_eager")
    for _ in range(2):
        penalised.zero_grad()
        (squares(other(images)) + sparsity()).backward()
        assert_gradients(penalised, expected(penalised, images))
        compiled(images)
    sparsity.detach()
    other(images)
    assert not sparsity._pending


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast(dtype):
    """The layers run in half precision; the entropy of what they return is exact."""
    model, images = make(dtype=torch.float32)
    seen: list[Tensor] = []
    model.conv1.register_forward_hook(lambda *args: seen.append(args[2]))
    sparsity = SparsityReg(model, {"conv1": 1e-2})
    with torch.autocast("cpu", dtype):
        model(images)
        value = sparsity()
    assert seen[0].dtype == dtype
    assert value.dtype == torch.float32
    exact = -1e-2 * entropy(seen[0]).sum() / len(images)
    torch.testing.assert_close(value.double(), exact, rtol=1e-6, atol=1e-6)


def test_gradient_scaler():
    model, images = make(dtype=torch.float32)
    sparsity = SparsityReg(model, STRENGTHS)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    wanted = expected(model, images)
    scaler.scale(squares(model(images)) + sparsity()).backward()
    scaler.unscale_(optimizer)
    assert_gradients(model, wanted, 1e-4)


def test_channels_last():
    model, images = make(dtype=torch.float32)
    wanted = expected(model, images)
    model = model.to(memory_format=torch.channels_last)
    sparsity = SparsityReg(model, STRENGTHS)
    output = model(images.to(memory_format=torch.channels_last))
    (squares(output) + sparsity()).backward()
    assert_gradients(model, wanted, 1e-4)


class Checkpointed(Net):
    reentrant = False

    def forward(self, images: Tensor) -> Tensor:
        features = checkpoint(self.features, images, use_reentrant=self.reentrant)
        return self.out(self.relu(self.fc(features.flatten(1))))


def test_checkpointing():
    model, images = make()
    wanted = expected(model, images)
    model.__class__ = Checkpointed
    sparsity = SparsityReg(model, STRENGTHS)
    for _ in range(2):  # what a checkpoint computes again must not leak into the next step
        model.zero_grad()
        (squares(model(images)) + sparsity()).backward()
        assert_gradients(model, wanted)


def test_reentrant_checkpointing_is_refused(monkeypatch):
    model, images = make()
    monkeypatch.setattr(Checkpointed, "reentrant", True)
    model.__class__ = Checkpointed
    sparsity = SparsityReg(model, STRENGTHS)
    with pytest.raises(UsageError, match="use_reentrant=False"):
        model(images.requires_grad_())
    sparsity.detach()


def test_gradient_accumulation_and_two_models():
    """Micro-batches and networks do not see each other."""
    (first, images), (second, _) = make(), make()
    wanted = expected(first, images)
    penalties = [SparsityReg(first, STRENGTHS), SparsityReg(second, STRENGTHS)]
    outputs = [first(images), second(images)]
    (squares(outputs[0]) + penalties[0]()).backward()
    assert_gradients(first, wanted)
    (squares(outputs[1]) + penalties[1]()).backward()
    assert_gradients(second, wanted)
    (squares(first(images)) + penalties[0]()).backward()
    assert_gradients(first, {name: 2 * gradient for name, gradient in wanted.items()})


def test_a_module_used_twice_contributes_twice():
    layer = nn.Linear(6, 6).double()
    model = nn.Sequential(layer, nn.Tanh(), layer)
    images = torch.randn(3, 6, dtype=torch.float64)
    sparsity = SparsityReg(model, {"0": 1.0})
    model(images)
    with torch.no_grad():
        once = model[0](images)
        twice = model[0](once.tanh())
        exact = -(entropy(once) + entropy(twice)).mean()
    torch.testing.assert_close(sparsity().detach(), exact)


def test_forwards_without_gradients_change_nothing():
    model, images = make()
    sparsity = SparsityReg(model, STRENGTHS)
    output = model(images)
    with torch.no_grad():
        model(images * 100)
    (squares(output) + sparsity()).backward()
    assert_gradients(model, expected(model, images))
    with torch.no_grad():
        model(images)
    with pytest.raises(UsageError, match="without a forward"):
        sparsity()


def test_a_forgotten_call_leaves_nothing_behind():
    model, images = make()
    sparsity = SparsityReg(model, STRENGTHS)
    model(images)
    with pytest.warns(UserWarning, match="accumulate"):
        model(images)
    output = model(images)
    (squares(output) + sparsity()).backward()
    assert_gradients(model, expected(model, images))


def test_accumulate_sums_forwards():
    model, images = make()
    sparsity = SparsityReg(model, STRENGTHS)
    model(images)
    single = sparsity().item()
    with sparsity.accumulate():
        model(images)
        model(images)
    assert sparsity().item() == pytest.approx(2 * single)


def test_parts_of_a_model_called_apart():
    model, images = make()
    sparsity = SparsityReg(model, {"conv1": 1.0})
    with pytest.raises(UsageError, match="accumulate"):
        model.features(images)
    with sparsity.accumulate():
        model.features(images)
    assert sparsity().requires_grad


def test_calling_twice_is_an_error():
    model, images = make()
    sparsity = SparsityReg(model, STRENGTHS)
    model(images)
    sparsity()
    with pytest.raises(UsageError, match="without a forward"):
        sparsity()


def test_a_target_that_did_not_run_is_an_error():
    model, images = make()
    model.spare = nn.Linear(2, 2)
    sparsity = SparsityReg(model, {"conv1": 1.0, "spare": 1.0})
    model(images)
    with pytest.raises(UsageError, match="did not run 'spare'"):
        sparsity()


def test_a_frozen_target_is_refused():
    model, images = make()
    model.conv1.requires_grad_(False)
    sparsity = SparsityReg(model, {"conv1": 1.0})
    with pytest.raises(UsageError, match="frozen"):
        model(images)
    sparsity.detach()
    with pytest.raises(TargetError, match="frozen"):
        DecorrReg(model, {"conv1": 1.0})


def test_an_unexpected_overwriting_gets_a_sentence():
    class Overwriting(Net):
        def forward(self, images: Tensor) -> Tensor:
            return self.conv1(images).relu_()

    torch.manual_seed(0)
    model = Overwriting()
    sparsity = SparsityReg(model, {"conv1": 1.0})
    model(torch.randn(2, 3, 8, 8))
    with pytest.raises(UsageError, match="copy=True"):
        sparsity()
    sparsity.detach()
    with SparsityReg(model, {"conv1": 1.0}, copy=True) as copied:
        (model(torch.randn(2, 3, 8, 8)).sum() + copied()).backward()


def test_data_parallel_replicas_are_refused():
    model, images = make()
    sparsity = SparsityReg(model, STRENGTHS)
    replica = model._replicate_for_data_parallel()
    with pytest.raises(UsageError, match="DistributedDataParallel"):
        replica(images)
    sparsity.detach()


def test_detaching_leaves_the_model_as_it_was():
    model, _ = make()
    before = [dict(module._forward_hooks) for module in model.modules()]
    with pytest.raises(RuntimeError, match="on purpose"), SparsityReg(model, STRENGTHS) as sparsity:
        raise RuntimeError("on purpose")
    assert [dict(module._forward_hooks) for module in model.modules()] == before
    assert not model._forward_pre_hooks
    with pytest.raises(UsageError, match="detached"):
        sparsity()


@pytest.mark.parametrize("kind", [SparsityReg, DecorrReg])
def test_what_is_detached_holds_no_values(kind):
    model, images = make()
    penalty = kind(model, STRENGTHS)
    model(images)
    penalty()
    assert penalty.parts.keys() == STRENGTHS.keys()
    penalty.detach()
    penalty.detach()
    assert penalty.parts == {}
    assert math.isnan(penalty.value)


def test_what_came_before_accumulating_does_not_count():
    model, images = make()
    sparsity = SparsityReg(model, STRENGTHS)
    model(images)
    alone = sparsity().item()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is dropped may be said
        model(images)
        with sparsity.accumulate():
            model(images)
    assert sparsity().item() == pytest.approx(alone)


def test_only_layers_have_a_linear_output():
    model, _ = make()
    with pytest.raises(TargetError):
        SparsityReg(model, {"relu": 1.0})
    SparsityReg(model, {"relu": 1.0}, at="activation").detach()


@pytest.mark.parametrize("option", [{"at": "output"}, {"at": "relu"}, {"reduction": "median"}])
def test_unknown_options_get_a_sentence(option):
    model, _ = make()
    (value,) = option.values()
    with pytest.raises(UsageError, match=f"{value!r}: '.*' or '.*' was wanted"):
        SparsityReg(model, STRENGTHS, **option)
    assert not any(module._forward_hooks for module in model.modules())


def test_copies_and_pickles_of_the_model_do_not_feed_the_penalty():
    model, images = make()
    sparsity = SparsityReg(model, STRENGTHS)
    model(images)
    average = copy.deepcopy(model)
    average(images)
    torch.save(model, io.BytesIO())
    alone = sparsity().item()
    model(images)
    assert sparsity().item() == alone


def test_values_schedules_and_state():
    model, images = make()
    sparsity = SparsityReg(model, {"conv1": lambda step: 0.5**step, "conv2": 1.0})
    assert sparsity.value != sparsity.value  # nothing yet
    values = []
    for _ in range(3):
        model(images)
        total = sparsity()
        assert total.item() == pytest.approx(sparsity.value)
        values.append(sparsity.parts)
    assert values[1]["conv1"] == pytest.approx(values[0]["conv1"] / 2)
    assert values[1]["conv2"] == values[0]["conv2"]
    sparsity.detach()
    resumed = SparsityReg(model, {"conv1": lambda step: 0.5**step, "conv2": 1.0})
    resumed.load_state_dict(sparsity.state_dict())
    model(images)
    resumed()
    assert resumed.parts["conv1"] == pytest.approx(values[0]["conv1"] / 8)
    for state in ({}, None, {"step": True}, {"step": -1}):
        with pytest.raises(UsageError, match="no state"):
            resumed.load_state_dict(state)


def test_reductions_and_activations():
    model, images = make()
    for at, name in (("linear", "conv1"), ("activation", "relu")):
        total = SparsityReg(model, {name: 1.0}, at=at)
        mean = SparsityReg(model, {name: 1.0}, at=at, reduction="mean")
        model(images)
        if name == "conv1":
            assert total().item() == pytest.approx(36 * mean().item())
        else:
            assert total().item() < mean().item() < 0


def test_tokens_of_a_dense_layer_are_positions():
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2))
    tokens = torch.randn(3, 7, 4)
    sparsity = SparsityReg(model, {"0": 1.0})
    model(tokens)
    total = sparsity().detach().double()
    with torch.no_grad():
        exact = -entropy(model[0](tokens), -1)
    torch.testing.assert_close(total, exact.sum() / 3)


def test_decorrelation_trains_filters_apart():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 6, 3))
    with torch.no_grad():
        model[0].weight[1] = model[0].weight[0] + 0.01 * torch.randn(3, 3, 3)
    decorrelation = DecorrReg(model, {"0": 1.0})
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    before = decorrelation().item()
    for _ in range(50):
        optimizer.zero_grad()
        decorrelation().backward()
        optimizer.step()
    assert decorrelation().item() < before - 1
    assert decorrelation.step == 52


def test_lazy_layers():
    model = nn.Sequential(nn.LazyConv2d(4, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(5))
    sparsity = SparsityReg(model, {"0": 1.0, "3": 1.0})
    model(torch.randn(2, 3, 8, 8))
    sparsity().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize(
    "parametrise", [parametrizations.weight_norm, parametrizations.spectral_norm]
)
def test_parametrised_layers(parametrise):
    torch.manual_seed(0)
    layer = parametrise(nn.Conv2d(3, 6, 3))
    model = nn.Sequential(layer, nn.ReLU()).eval()  # spectral norm moves in training mode
    images = torch.randn(2, 3, 6, 6)
    sparsity, decorrelation = SparsityReg(model, {"0": 1.0}), DecorrReg(model, {"0": 1.0})
    model(images)
    total = sparsity()
    with torch.no_grad():
        exact = -entropy(model[0](images)).sum() / 2
    torch.testing.assert_close(total.detach().double(), exact)
    (total + decorrelation()).backward()
    assert all(parameter.grad is not None for parameter in layer.parameters())


def test_quantisation_aware_layers():
    """They compute with rounded weights; what they return is what is measured."""
    qat = pytest.importorskip("torch.ao.nn.qat")
    from torch.ao.quantization import get_default_qat_qconfig

    torch.manual_seed(0)
    layer = qat.Conv2d(3, 4, 3, qconfig=get_default_qat_qconfig())
    model = nn.Sequential(layer, nn.ReLU())
    sparsity = SparsityReg(model, {"0": 1.0})
    images = torch.randn(2, 3, 6, 6)
    seen: list[Tensor] = []
    layer.register_forward_hook(lambda *args: seen.append(args[2].detach()))
    model(images)
    total = sparsity()
    torch.testing.assert_close(total.detach().double(), -entropy(seen[0]).sum() / 2)
    total.backward()
    assert layer.weight.grad.abs().sum() > 0


def test_a_layer_whose_weights_are_used_without_it():
    """Attention takes its output projection's weights and never calls it."""
    attention = nn.MultiheadAttention(8, 2, batch_first=True)
    sparsity = SparsityReg(attention, {"out_proj": 1.0})
    tokens = torch.randn(2, 5, 8)
    attention(tokens, tokens, tokens)
    with pytest.raises(UsageError, match="without a forward"):
        sparsity()

"""Every way of training is compared with gradients that were computed without hooks."""

import copy
import io
import math
import warnings

import pytest
import torch
from tests.adapters.reference import gradients, penalised_gradients
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from torch.utils.checkpoint import checkpoint

from sparsight.errors import TargetError, UsageError
from sparsight_torch import ActivationPenalty, DecorrReg, SparsityReg

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


@pytest.fixture
def expected(term):
    """Gradients by parameter name, computed by hand."""

    def gradients(model: Net, images: Tensor) -> dict[str, Tensor]:
        doubled = images.double()

        def forward(model: Net, outputs: list[Tensor]) -> Tensor:
            return by_hand(model, outputs, doubled)

        return penalised_gradients(model, forward, squares, STRENGTHS, term)

    return gradients


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
def test_eager(inplace, training, kind, expected):
    model, images = make(inplace)
    model.train(training)
    penalty = kind(model, STRENGTHS)
    (squares(model(images)) + penalty()).backward()
    assert_gradients(model, expected(model, images))


def test_the_penalty_is_not_inert_in_these_tests(expected):
    model, images = make()
    squares(model(images)).backward()
    with pytest.raises(AssertionError):
        assert_gradients(model, expected(model, images))


@COMPILING
def test_compiled_in_one_graph(kind, expected):
    model, images = make()
    penalty = kind(model, STRENGTHS)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    for _ in range(2):
        model.zero_grad()
        (squares(compiled(images)) + penalty()).backward()
        assert_gradients(model, expected(model, images))


@COMPILING
def test_compiled_with_the_penalties_in_one_graph(kind):
    model, images = make()
    penalty, decorrelation = kind(model, STRENGTHS), DecorrReg(model, {"conv1": 1.0})

    def loss() -> Tensor:
        return squares(model(images)) + penalty() + decorrelation()

    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    for _ in range(2):
        torch.testing.assert_close(compiled(), loss())


@COMPILING
def test_made_from_a_compiled_model(kind, expected):
    model, images = make()
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    penalty = kind(compiled, STRENGTHS)
    (squares(compiled(images)) + penalty()).backward()
    assert_gradients(model, expected(model, images))


@COMPILING
def test_compiled_networks_of_one_class_with_and_without_a_penalty(kind, expected):
    """By default, code that was compiled for the one would run the other, without the hooks."""
    torch._dynamo.reset()
    torch._dynamo.config.skip_nnmodule_hook_guards = True  # the default; SparsityReg changes it
    (plain, images), (penalised, _) = make(), make()
    compiled = torch.compile(plain, backend="aot_eager")
    compiled(images)
    penalty = kind(penalised, STRENGTHS)
    other = torch.compile(penalised, backend="aot_eager")
    for _ in range(2):
        penalised.zero_grad()
        (squares(other(images)) + penalty()).backward()
        assert_gradients(penalised, expected(penalised, images))
        compiled(images)
    penalty.detach()
    other(images)
    assert not penalty._pending


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast(dtype, kind, term):
    """The layers run in half precision; what is computed of their outputs is exact."""
    model, images = make(dtype=torch.float32)
    seen: list[Tensor] = []
    model.conv1.register_forward_hook(lambda *args: seen.append(args[2]))
    penalty = kind(model, {"conv1": 1e-2})
    with torch.autocast("cpu", dtype):
        model(images)
        value = penalty()
    assert seen[0].dtype == dtype
    assert value.dtype == torch.float32
    exact = 1e-2 * term(seen[0]).sum() / len(images)
    torch.testing.assert_close(value.double(), exact, rtol=1e-6, atol=1e-6)


def test_gradient_scaler(kind, expected):
    model, images = make(dtype=torch.float32)
    penalty = kind(model, STRENGTHS)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    wanted = expected(model, images)
    scaler.scale(squares(model(images)) + penalty()).backward()
    scaler.unscale_(optimizer)
    assert_gradients(model, wanted, 1e-4)


def test_channels_last(kind, expected):
    model, images = make(dtype=torch.float32)
    wanted = expected(model, images)
    model = model.to(memory_format=torch.channels_last)
    penalty = kind(model, STRENGTHS)
    output = model(images.to(memory_format=torch.channels_last))
    (squares(output) + penalty()).backward()
    assert_gradients(model, wanted, 1e-4)


class Checkpointed(Net):
    reentrant = False

    def forward(self, images: Tensor) -> Tensor:
        features = checkpoint(self.features, images, use_reentrant=self.reentrant)
        return self.out(self.relu(self.fc(features.flatten(1))))


def test_checkpointing(kind, expected):
    model, images = make()
    wanted = expected(model, images)
    model.__class__ = Checkpointed
    penalty = kind(model, STRENGTHS)
    for _ in range(2):  # what a checkpoint computes again must not leak into the next step
        model.zero_grad()
        (squares(model(images)) + penalty()).backward()
        assert_gradients(model, wanted)


def test_reentrant_checkpointing_is_refused(monkeypatch, kind):
    model, images = make()
    monkeypatch.setattr(Checkpointed, "reentrant", True)
    model.__class__ = Checkpointed
    penalty = kind(model, STRENGTHS)
    with pytest.raises(UsageError, match="use_reentrant=False"):
        model(images.requires_grad_())
    penalty.detach()


def test_gradient_accumulation_and_two_models(kind, expected):
    """Micro-batches and networks do not see each other."""
    (first, images), (second, _) = make(), make()
    wanted = expected(first, images)
    penalties = [kind(first, STRENGTHS), kind(second, STRENGTHS)]
    outputs = [first(images), second(images)]
    (squares(outputs[0]) + penalties[0]()).backward()
    assert_gradients(first, wanted)
    (squares(outputs[1]) + penalties[1]()).backward()
    assert_gradients(second, wanted)
    (squares(first(images)) + penalties[0]()).backward()
    assert_gradients(first, {name: 2 * gradient for name, gradient in wanted.items()})


def test_a_module_used_twice_contributes_twice(kind, term):
    layer = nn.Linear(6, 6).double()
    model = nn.Sequential(layer, nn.Tanh(), layer)
    images = torch.randn(3, 6, dtype=torch.float64)
    penalty = kind(model, {"0": 1.0})
    model(images)
    with torch.no_grad():
        once = model[0](images)
        twice = model[0](once.tanh())
        exact = (term(once) + term(twice)).mean()
    torch.testing.assert_close(penalty().detach(), exact)


def test_forwards_without_gradients_change_nothing(kind, expected):
    model, images = make()
    penalty = kind(model, STRENGTHS)
    output = model(images)
    with torch.no_grad():
        model(images * 100)
    (squares(output) + penalty()).backward()
    assert_gradients(model, expected(model, images))
    with torch.no_grad():
        model(images)
    with pytest.raises(UsageError, match="has nothing to penalise"):
        penalty()


def test_a_forgotten_call_leaves_nothing_behind(kind, expected):
    model, images = make()
    penalty = kind(model, STRENGTHS)
    model(images)
    with pytest.warns(UserWarning, match="accumulate"):
        model(images)
    output = model(images)
    (squares(output) + penalty()).backward()
    assert_gradients(model, expected(model, images))


def test_accumulate_sums_forwards(kind):
    model, images = make()
    penalty = kind(model, STRENGTHS)
    model(images)
    single = penalty().item()
    with penalty.accumulate():
        model(images)
        model(images)
    assert penalty().item() == pytest.approx(2 * single)


def test_parts_of_a_model_called_apart(kind):
    model, images = make()
    penalty = kind(model, {"conv1": 1.0})
    with pytest.raises(UsageError, match="accumulate"):
        model.features(images)
    with penalty.accumulate():
        model.features(images)
    assert penalty().requires_grad


def test_calling_twice_is_an_error(kind):
    model, images = make()
    penalty = kind(model, STRENGTHS)
    model(images)
    penalty()
    with pytest.raises(UsageError, match="has nothing to penalise"):
        penalty()


def test_a_target_that_did_not_run_is_an_error(kind):
    model, images = make()
    model.spare = nn.Linear(2, 2)
    penalty = kind(model, {"conv1": 1.0, "spare": 1.0})
    model(images)
    with pytest.raises(UsageError, match="did not run all targets: 'spare'"):
        penalty()


def test_a_frozen_target_is_refused(kind):
    model, images = make()
    model.conv1.requires_grad_(False)
    penalty = kind(model, {"conv1": 1.0})
    with pytest.raises(UsageError, match="frozen"):
        model(images)
    penalty.detach()
    with pytest.raises(TargetError, match="frozen"):
        DecorrReg(model, {"conv1": 1.0})


def test_an_unexpected_overwriting_gets_a_sentence(kind):
    class Overwriting(Net):
        def forward(self, images: Tensor) -> Tensor:
            return self.conv1(images).relu_()

    torch.manual_seed(0)
    model = Overwriting()
    penalty = kind(model, {"conv1": 1.0})
    model(torch.randn(2, 3, 8, 8))
    with pytest.raises(UsageError, match=f"copy=True to {kind.__name__}"):
        penalty()
    penalty.detach()
    with kind(model, {"conv1": 1.0}, copy=True) as copied:
        (model(torch.randn(2, 3, 8, 8)).sum() + copied()).backward()


def test_data_parallel_replicas_are_refused(kind):
    model, images = make()
    penalty = kind(model, STRENGTHS)
    replica = model._replicate_for_data_parallel()
    with pytest.raises(UsageError, match="DistributedDataParallel"):
        replica(images)
    penalty.detach()


def test_detaching_leaves_the_model_as_it_was(kind):
    model, _ = make()
    before = [dict(module._forward_hooks) for module in model.modules()]
    with pytest.raises(RuntimeError, match="on purpose"), kind(model, STRENGTHS) as penalty:
        raise RuntimeError("on purpose")
    assert [dict(module._forward_hooks) for module in model.modules()] == before
    assert not model._forward_pre_hooks
    with pytest.raises(UsageError, match="detached"):
        penalty()


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


def test_what_came_before_accumulating_does_not_count(kind):
    model, images = make()
    penalty = kind(model, STRENGTHS)
    model(images)
    alone = penalty().item()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is dropped may be said
        model(images)
        with penalty.accumulate():
            model(images)
    assert penalty().item() == pytest.approx(alone)


def test_only_layers_have_a_linear_output(kind):
    model, _ = make()
    with pytest.raises(TargetError):
        kind(model, {"relu": 1.0})
    kind(model, {"relu": 1.0}, at="activation").detach()


@pytest.mark.parametrize("option", [{"at": "output"}, {"at": "relu"}, {"reduction": "median"}])
def test_unknown_options_get_a_sentence(option, kind):
    model, _ = make()
    (value,) = option.values()
    with pytest.raises(UsageError, match=f"{value!r}: expected '.*' or '.*'"):
        kind(model, STRENGTHS, **option)
    assert not any(module._forward_hooks for module in model.modules())


def test_copies_and_pickles_of_the_model_do_not_feed_the_penalty(kind):
    model, images = make()
    penalty = kind(model, STRENGTHS)
    model(images)
    average = copy.deepcopy(model)
    average(images)
    torch.save(model, io.BytesIO())
    alone = penalty().item()
    model(images)
    assert penalty().item() == alone


def test_values_schedules_and_state(kind):
    model, images = make()
    penalty = kind(model, {"conv1": lambda step: 0.5**step, "conv2": 1.0})
    assert penalty.value != penalty.value  # nothing yet
    values = []
    for _ in range(3):
        model(images)
        total = penalty()
        assert total.item() == pytest.approx(penalty.value)
        values.append(penalty.parts)
    assert values[1]["conv1"] == pytest.approx(values[0]["conv1"] / 2)
    assert values[1]["conv2"] == values[0]["conv2"]
    penalty.detach()
    resumed = kind(model, {"conv1": lambda step: 0.5**step, "conv2": 1.0})
    resumed.load_state_dict(penalty.state_dict())
    model(images)
    resumed()
    assert resumed.parts["conv1"] == pytest.approx(values[0]["conv1"] / 8)
    for state in ({}, None, {"step": True}, {"step": -1}):
        with pytest.raises(UsageError, match="cannot load the state"):
            resumed.load_state_dict(state)


def test_reductions_and_activations(kind):
    model, images = make()
    for at, name in (("linear", "conv1"), ("activation", "relu")):
        total = kind(model, {name: 1.0}, at=at)
        mean = kind(model, {name: 1.0}, at=at, reduction="mean")
        model(images)
        if name == "conv1":
            assert total().item() == pytest.approx(36 * mean().item())
        else:
            assert abs(total().item()) > abs(mean().item()) > 0


def test_tokens_of_a_dense_layer_are_positions(kind, term):
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2))
    tokens = torch.randn(3, 7, 4)
    penalty = kind(model, {"0": 1.0})
    model(tokens)
    total = penalty().detach().double()
    with torch.no_grad():
        exact = term(model[0](tokens), -1)
    torch.testing.assert_close(total, exact.sum() / 3)


def test_lazy_layers(kind):
    model = nn.Sequential(nn.LazyConv2d(4, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(5))
    penalty = kind(model, {"0": 1.0, "3": 1.0})
    model(torch.randn(2, 3, 8, 8))
    penalty().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize(
    "parametrise", [parametrizations.weight_norm, parametrizations.spectral_norm]
)
def test_parametrised_layers(parametrise, kind, term):
    torch.manual_seed(0)
    layer = parametrise(nn.Conv2d(3, 6, 3))
    model = nn.Sequential(layer, nn.ReLU()).eval()  # spectral norm moves in training mode
    images = torch.randn(2, 3, 6, 6)
    penalty, decorrelation = kind(model, {"0": 1.0}), DecorrReg(model, {"0": 1.0})
    model(images)
    total = penalty()
    with torch.no_grad():
        exact = term(model[0](images)).sum() / 2
    torch.testing.assert_close(total.detach().double(), exact)
    (total + decorrelation()).backward()
    assert all(parameter.grad is not None for parameter in layer.parameters())


def test_quantisation_aware_layers(kind, term):
    """They compute with rounded weights; what they return is what is measured."""
    qat = pytest.importorskip("torch.ao.nn.qat")
    from torch.ao.quantization import get_default_qat_qconfig

    torch.manual_seed(0)
    layer = qat.Conv2d(3, 4, 3, qconfig=get_default_qat_qconfig())
    model = nn.Sequential(layer, nn.ReLU())
    penalty = kind(model, {"0": 1.0})
    images = torch.randn(2, 3, 6, 6)
    seen: list[Tensor] = []
    layer.register_forward_hook(lambda *args: seen.append(args[2].detach()))
    model(images)
    total = penalty()
    torch.testing.assert_close(total.detach().double(), term(seen[0]).sum() / 2)
    total.backward()
    assert layer.weight.grad.abs().sum() > 0


def test_a_layer_whose_weights_are_used_without_it(kind):
    """Attention takes its output projection's weights and never calls it."""
    attention = nn.MultiheadAttention(8, 2, batch_first=True)
    penalty = kind(attention, {"out_proj": 1.0})
    tokens = torch.randn(2, 5, 8)
    attention(tokens, tokens, tokens)
    with pytest.raises(UsageError, match="has nothing to penalise"):
        penalty()


# ---- penalties of one's own


class Power(ActivationPenalty):
    """Strength times the mean over channels of |a|^p."""

    kind = "power"
    strength_name = "mu"

    def __init__(self, model: nn.Module, targets, *, p: float = 1.0, **options) -> None:
        self.p = p
        super().__init__(model, targets, **options)

    @property
    def options(self) -> tuple[object, ...]:
        return (*super().options, self.p)

    def term(self, activation: Tensor, axis: int) -> Tensor:
        return activation.abs().pow(self.p).mean(axis)

    def without_effect(self, name: str, channels: int) -> str | None:
        return f"{name!r} has only 12" if channels == 12 else None


def test_a_penalty_of_ones_own(tmp_path):
    (tmp_path / "targets.toml").write_text("[conv1]\nmu = 0.1\nlambda = 5\n[conv2]\nkappa = 1\n")
    model, images = make()
    own = Power(model, tmp_path / "targets.toml")
    other = SparsityReg(model, tmp_path / "targets.toml")
    (target,) = own.targets
    assert (target.name, target.strength) == ("conv1", 0.1)
    assert other.targets[0].strength == 5
    cubic = Power(model, {"conv1": 0.1}, p=3)  # another option: both stay
    model(images)
    absolute = nn.functional.conv2d(images, model.conv1.weight, model.conv1.bias).abs()
    for penalty, power in ((own, 1), (cubic, 3)):
        torch.testing.assert_close(penalty(), 0.1 * absolute.pow(power).mean(1).sum() / 5)
    with pytest.warns(UserWarning, match="older Power on 'conv1' is detached"):
        Power(model, {"conv1": 0.1}, p=3)
    with pytest.raises(TargetError, match="do nothing: 'fc' has only 12"):
        Power(model, {"fc": 1.0})
    (tmp_path / "targets.toml").write_text("[conv1]\nnu = 0.1\n")
    with pytest.raises(TargetError, match="may hold only kappa and lambda and mu, not 'nu'"):
        Power(model, tmp_path / "targets.toml")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_its_term_gets_float32_also_under_autocast(dtype):
    class Product(ActivationPenalty):
        def term(self, activation: Tensor, axis: int) -> Tensor:
            rows = activation.movedim(axis, -1)
            return (rows[..., None, :] @ rows[..., None])[..., 0, 0]  # autocast would round it

    model, images = make(dtype=torch.float32)
    seen: list[Tensor] = []
    model.conv1.register_forward_hook(lambda *args: seen.append(args[2]))
    penalty = Product(model, {"conv1": 1.0})
    with torch.autocast("cpu", dtype):
        model(images)
        value = penalty()
    assert seen[0].dtype == dtype
    exact = seen[0].double().square().sum() / len(images)
    torch.testing.assert_close(value.double(), exact, rtol=1e-6, atol=0)


@COMPILING
def test_its_term_is_compiled_too():
    model, images = make()
    penalty = Power(model, {"conv1": 0.1})
    model(images)
    value = penalty()
    torch.compile(model, fullgraph=True, backend="aot_eager")(images)
    torch.testing.assert_close(penalty(), value)


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (lambda a, axis: a, r"Own\.term returned \(5, 8, 6, 6\) .* per position, \(5, 6, 6\)"),
        (lambda a, axis: a.sum(), r"returned \(\) for the output of 'conv1', \(5, 8, 6, 6\)"),
        (lambda a, axis: None, "returned NoneType"),
        (lambda a, axis: a.argmax(axis).double(), "without gradient for the output of"),
    ],
)
def test_terms_that_are_none_get_a_sentence(result, message):
    class Own(ActivationPenalty):
        def term(self, activation: Tensor, axis: int) -> Tensor:
            return result(activation, axis)

    model, images = make()
    penalty = Own(model, {"conv1": 1.0})
    with pytest.raises(UsageError, match=message):
        model(images)
    penalty.detach()


def test_without_a_term_it_is_no_penalty():
    class Forgetful(ActivationPenalty):
        pass

    with pytest.raises(TypeError, match=r"abstract method .*term"):
        Forgetful(make()[0], {"conv1": 1.0})


@pytest.mark.parametrize("axis", [0, -4, 4, -5])
def test_an_axis_of_no_channels_gets_a_sentence(kind, axis):
    model, images = make()
    penalty = kind(model, {"conv1": 1.0}, axis=axis)
    with pytest.raises(
        UsageError, match=f"axis={axis} cannot be the channel axis of the output of 'conv1"
    ):
        model(images)
    penalty.detach()


def test_messages_name_the_class(kind):
    model, images = make()
    penalty = kind(model, {"conv1": 1.0})
    with pytest.raises(UsageError, match=f"^{kind.__name__} has nothing to penalise"):
        penalty()
    with penalty.accumulate():
        model(images)
        model(images)
    with pytest.raises(
        UsageError, match=rf"{kind.__name__}\(model, targets, mask='attention_mask'"
    ):
        penalty(mask=torch.ones(5, 6, 6))
    with pytest.warns(UserWarning, match=f"ran again before {kind.__name__} was called"):
        model(images)
    penalty.detach()
    with pytest.raises(UsageError, match=f"this {kind.__name__} is detached"):
        penalty()

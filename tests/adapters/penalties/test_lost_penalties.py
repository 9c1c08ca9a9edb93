"""A penalty that would be lost is said, and one that has had its day leaves nothing behind."""

import gc
import weakref

import pytest
import torch
from torch import Tensor, nn
from torch.optim import optimizer as optimizers
from torch.utils.checkpoint import checkpoint

from sparsight.errors import TargetError, UsageError
from sparsight_torch import DecorrReg, SparsityReg, measure
from sparsight_torch.functional import decorrelation_penalty

COMPILING = pytest.mark.filterwarnings("default:The .grad attribute of a Tensor")


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 4))


@pytest.fixture
def images() -> Tensor:
    return torch.randn(5, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def hooks(model: nn.Module) -> list[int]:
    return [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()]


def sgd(model: nn.Module) -> torch.optim.SGD:
    return torch.optim.SGD(model.parameters(), lr=0.01)


def test_two_forwards_in_one_loss_warn_once(images):
    """Siamese networks, a GAN's two passes."""
    model = network()
    sparsity = SparsityReg(model, {"0": 1e-3})
    model(images)
    with pytest.warns(UserWarning, match=r"is lost: .*`with sparsity\.accumulate\(\):`") as caught:
        model(images)
    assert caught[0].filename == __file__  # at the user's own line, not in PyTorch's hooks
    sparsity()
    for _ in range(2):  # a second warning would be an error here
        model(images)
        model(images)
        sparsity()


def test_sharpness_aware_steps_warn(images):
    model = network()
    sparsity = SparsityReg(model, {"0": 1e-3})
    optimizer = sgd(model)
    model(images).sum().backward()  # the ascent, whose penalty nobody asked for
    with pytest.warns(UserWarning, match="is lost"):
        loss = model(images).sum()
    (loss + sparsity()).backward()
    optimizer.step()


def test_what_was_pending_before_accumulate_warns(images):
    model = network()
    sparsity = SparsityReg(model, {"0": 1e-3})
    model(images)
    with pytest.warns(UserWarning, match="is lost"), sparsity.accumulate():
        model(images)
    sparsity()


def test_forwards_that_are_not_trained_on_do_not_warn(images):
    model = network()
    sparsity = SparsityReg(model, {"0": 1e-3})
    for _ in range(2):
        model.eval()
        for _ in range(2):  # validation by somebody who forgot torch.no_grad()
            model(images)
        model.train()
        with torch.no_grad():
            model(images)
        loss = model(images).sum()
        measure(model, images)
        (loss + sparsity()).backward()


def test_forwards_that_are_forgotten_do_not_warn(images):
    """A generator that is trained through the discriminator, whose passes alone are penalised."""
    discriminator, alone = network(), network()
    sparsity = SparsityReg(discriminator, {"0": 1e-3})
    for _ in range(2):
        with sparsity.accumulate():
            discriminator(images)
            discriminator(-images)
        both = sparsity()
        discriminator(images.clone().requires_grad_()).sum().backward()
        sparsity.forget()
    expected = SparsityReg(alone, {"0": 1e-3})
    alone.load_state_dict(discriminator.state_dict())
    total = 0
    for sign in (1, -1):
        alone(sign * images)
        total = total + expected()
    assert torch.allclose(both, total)
    with pytest.raises(UsageError, match="without a forward"):
        sparsity()


def test_the_usual_loops_do_not_warn(images):
    model = network()
    sparsity, decorrelation = SparsityReg(model, {"0": 1e-3}), DecorrReg(model, {"0": 1e-3})

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = model(images).square().mean() + sparsity() + decorrelation()
        loss.backward()
        return loss

    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=4)
    optimizer.step(closure)
    optimizer = sgd(model)
    for index in range(4):  # gradients of two micro-batches
        (model(images).square().mean() + sparsity() + decorrelation()).backward()
        if index % 2:
            optimizer.step()


def test_a_checkpointed_network_does_not_warn(images):
    model = network()
    sparsity = SparsityReg(model, {"0": 1e-3})
    optimizer = sgd(model)
    for _ in range(2):
        output = checkpoint(model, images, use_reentrant=False)
        (output.sum() + sparsity()).backward()
        optimizer.step()


def test_the_forward_that_gives_lazy_layers_their_weights_does_not_warn(images):
    model = nn.Sequential(nn.LazyConv2d(8, 3), nn.ReLU())
    sparsity = SparsityReg(model, {"0": 1e-3})
    model(images)
    model(images)
    sparsity()


@COMPILING
def test_two_forwards_of_a_compiled_network_warn_at_the_call(images):
    model = network()
    sparsity = SparsityReg(model, {"0": 1e-3})
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    compiled(images)
    compiled(images)
    with pytest.warns(UserWarning, match="is lost"):
        sparsity()


def test_an_optimiser_that_steps_without_the_penalty_warns_once(images):
    model = network()
    penalties = SparsityReg(model, {"0": 1e-3}), DecorrReg(model, {"0": 1e-3})
    optimizer = sgd(model)
    model(images).sum().backward()
    with pytest.warns(UserWarning, match="was never called") as caught:
        optimizer.step()
    assert sorted(str(w.message).split(" on ")[0].split()[-1] for w in caught) == [
        "DecorrReg",
        "SparsityReg",
    ]
    assert all("was never called" in str(warning.message) for warning in caught)
    optimizer.step()
    for penalty in penalties:
        penalty.detach()


def test_steps_of_other_optimisers_do_not_warn(images):
    model, other = network(), network()
    penalties = SparsityReg(model, {"0": 1e-3}), DecorrReg(model, {"0": 1e-3})
    model(images)
    other(images).sum().backward()
    sgd(other).step()  # another network's, as in a GAN
    last = DecorrReg(other, {"0": 1e-3})
    torch.optim.SGD(other[3].parameters(), lr=0.1).step()  # it leaves the target alone
    for penalty in (*penalties, last):
        penalty.detach()


def test_no_hook_of_optimisers_stays_behind(images):
    gc.collect()  # what other tests left to wait
    model = network()
    called, detached = SparsityReg(model, {"0": 1e-3}), DecorrReg(model, {"0": 1e-3})
    assert len(optimizers._global_optimizer_post_hooks) == 1
    detached.detach()
    model(images)
    called()
    assert len(optimizers._global_optimizer_post_hooks) == 0


def test_a_penalty_that_nobody_holds_is_gone(images):
    model = network()
    before = hooks(model)
    sparsity = SparsityReg(model, {"0": 1e-3})
    model(images)
    assert hooks(model) != before
    freed = weakref.ref(sparsity)
    del sparsity
    gc.collect()
    assert freed() is None
    assert hooks(model) == before


@pytest.mark.parametrize("kind", [SparsityReg, DecorrReg])
def test_a_notebook_cell_run_again_detaches_the_older_penalty(images, kind):
    model = network()
    cells = [kind(model, {"0": 1e-3, "3": 1e-3})]
    before = hooks(model)
    with pytest.warns(UserWarning, match=f"older {kind.__name__} on '0', '3' is detached"):
        cells.append(kind(model, {"0": 2e-3}))
    assert hooks(model)[1] <= before[1]
    model(images)
    cells[1]()
    with pytest.raises(UsageError, match="detached"):
        cells[0]()


def test_penalties_that_are_no_repetition_stay(images):
    """Other layers, another place, another kind, another network."""
    model, other = network(), network()
    penalties = [
        SparsityReg(model, {"0": 1e-3}),
        SparsityReg(model, {"3": 1e-3}),
        SparsityReg(model, {"0": 1e-3}, at="activation"),
        SparsityReg(model, {"0": 1e-3}, reduction="mean"),
        DecorrReg(model, {"0": 1e-3}),
        DecorrReg(model, {"0": 1e-3}, form="squared"),
        SparsityReg(other, {"0": 1e-3}),
    ]
    model(images)
    other(images)
    assert all(penalty().requires_grad for penalty in penalties)


def test_decorrelation_after_detaching_is_an_error():
    decorrelation = DecorrReg(network(), {"0": 1e-3})
    decorrelation.detach()
    with pytest.raises(UsageError, match="DecorrReg is detached"):
        decorrelation()


class Failing(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)
        self.fails = True

    def forward(self, images: Tensor) -> Tensor:
        output = self.conv(images)
        if self.fails:
            raise RuntimeError("out of memory, say")
        return output


@pytest.mark.filterwarnings("error")
def test_a_forward_that_raised_leaves_nothing(images):
    model = Failing()
    sparsity = SparsityReg(model, {"conv": 1e-3})
    with pytest.raises(RuntimeError, match="say"):
        model(images)
    assert not sparsity._pending
    with pytest.raises(UsageError, match="without a forward"):
        sparsity()
    with pytest.raises(UsageError, match="outside a forward"):
        model.conv(images)
    model.fails = False
    model(images)
    alone = sparsity().item()
    with sparsity.accumulate():
        model(images)
        model.fails = True
        with pytest.raises(RuntimeError, match="say"):
            model(images)
        model.fails = False
        model(images)
    assert sparsity().item() == pytest.approx(2 * alone)
    model.fails = True
    with pytest.raises(RuntimeError, match="say"), sparsity.accumulate():
        model(images)
    assert not sparsity._pending


def test_a_forward_inside_an_exceptions_handling_counts(images):
    model = network()
    sparsity = SparsityReg(model, {"0": 1e-3})
    try:
        raise RuntimeError
    except RuntimeError:
        model(images)
    assert sparsity().requires_grad


@pytest.mark.parametrize("strict", [False, True])
def test_exporting_and_tracing_in_training_mode_do_not_concern_the_penalty(images, strict):
    model = network()
    sparsity = SparsityReg(model, {"0": 1e-3})
    loss = model(images).sum()
    plain = network()
    program = torch.export.export(model, (images,), strict=strict)
    assert len(program.graph.nodes) == len(
        torch.export.export(plain, (images,), strict=strict).graph.nodes
    )
    (loss + sparsity()).backward()
    assert model[0].weight.grad is not None


@pytest.mark.filterwarnings("ignore:.torch.jit.*:DeprecationWarning")
def test_tracing_by_jit_does_not_concern_the_penalty(images):
    model = network()
    sparsity = SparsityReg(model, {"0": 1e-3})
    traced = torch.jit.trace(model, images)
    assert "softmax" not in str(traced.inlined_graph)
    model(images)
    sparsity()


def test_an_empty_batch_is_an_error():
    model = network()
    sparsity = SparsityReg(model, {"0": 1e-3})
    with pytest.raises(UsageError, match=r"\(0, 8, 6, 6\), an empty batch"):
        model(torch.empty(0, 3, 8, 8))
    sparsity.detach()


# ---- penalties that could do nothing


def test_a_layer_of_one_channel_has_no_entropy(images):
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 1, 3), nn.ReLU())
    with pytest.raises(TargetError, match="'1' has one channel, whose entropy is always 0"):
        SparsityReg(model, {nn.Conv2d: 1e-3})
    with pytest.raises(TargetError, match="nothing at any of the targets"):
        SparsityReg(model, {"1": 0.0})
    chosen = SparsityReg(model, {nn.Conv2d: 1e-3, "1": 0})
    assert [target.name for target in chosen.targets] == ["0"]
    late = SparsityReg(model, {"2": 1e-3}, at="activation")
    with pytest.raises(UsageError, match="'2' has one channel"):
        model(images)
    late.detach()


@pytest.mark.parametrize("centre", ["own", "filters"])
@pytest.mark.parametrize("number", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_filters_are_refused_where_their_correlations_have_no_gradient(centre, number, size):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(size, number).double())
    weights = model[0].weight
    total = decorrelation_penalty(weights, 1.0, "squared", centre)
    total = total + decorrelation_penalty(weights, 1.0, "signed", centre)
    (gradient,) = torch.autograd.grad(total, weights)
    if gradient.abs().max() > 1e-10:
        DecorrReg(model, {"0": 1.0}, centre=centre)()
    else:
        with pytest.raises(TargetError, match=f"'0' has {number} filters of {size} weights"):
            DecorrReg(model, {"0": 1.0}, centre=centre)


def test_a_depthwise_layer_of_single_weights_is_refused():
    with pytest.raises(TargetError, match="8 filters of 1 weights"):
        DecorrReg(nn.Sequential(nn.Conv2d(8, 8, 1, groups=8)), {"0": 1.0})


def test_lazy_layers_are_checked_when_they_have_weights(images):
    model = nn.Sequential(nn.LazyConv2d(4, 1))
    decorrelation = DecorrReg(model, {"0": 1.0})
    model(images[:, :1])
    with pytest.raises(UsageError, match="4 filters of 1 weights"):
        decorrelation()


def test_frozen_weights_with_a_trainable_bias_are_frozen():
    model = network()
    model[0].weight.requires_grad_(False)
    with pytest.raises(TargetError, match="weights of '0' are frozen"):
        DecorrReg(model, {"0": 1.0})
    normed = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(4, 4)))
    DecorrReg(normed, {"0": 1.0})()
    for parameter in normed[0].parametrizations.parameters():
        parameter.requires_grad_(False)
    with pytest.raises(TargetError, match="weights of '0' are frozen"):
        DecorrReg(normed, {"0": 1.0})


def test_a_check_does_not_move_spectral_norm():
    """Asking for its weight is a step of the power iteration."""
    model = nn.Sequential(nn.utils.parametrizations.spectral_norm(nn.Linear(4, 4)))
    before = model.state_dict()["0.parametrizations.weight.0._u"].clone()
    DecorrReg(model, {"0": 1.0})
    assert torch.equal(before, model.state_dict()["0.parametrizations.weight.0._u"])


def test_frozen_after_attaching(images):
    model = network()
    sparsity, decorrelation = SparsityReg(model, {"0": 1e-3}), DecorrReg(model, {"0": 1.0})
    model[0].requires_grad_(False)
    with pytest.raises(UsageError, match="weights of '0' are frozen"):
        decorrelation()
    with pytest.raises(UsageError, match="frozen"):
        model(images)
    sparsity.detach()


def test_replaced_after_attaching(images):
    model = network()
    penalties = SparsityReg(model, {"0": 1e-3, "3": 1e-3}), DecorrReg(model, {"0": 1.0})
    model[0] = nn.Conv2d(3, 8, 3)
    model(images)
    for penalty in penalties:
        with pytest.raises(UsageError, match="'0' was replaced in the network"):
            penalty()


def test_a_target_that_was_wrapped_is_not_replaced():
    model = network()
    decorrelation = DecorrReg(model, {"0": 1.0})
    model[0] = torch.compile(model[0], backend="eager")
    assert decorrelation().requires_grad

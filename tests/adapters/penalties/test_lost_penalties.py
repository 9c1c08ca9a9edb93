"""A penalty that would be lost is said, and one that has had its day leaves nothing behind."""

import gc
import weakref

import pytest
import torch
from torch import Tensor, nn
from torch.optim import optimizer as optimizers
from torch.utils.checkpoint import checkpoint

from sparsight.errors import UsageError
from sparsight_torch import DecorrReg, measure

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


def test_two_forwards_in_one_loss_warn_once(images, kind):
    """Siamese networks, a GAN's two passes."""
    model = network()
    penalty = kind(model, {"0": 1e-3})
    model(images)
    with pytest.warns(UserWarning, match=r"is lost\. .*`with penalty\.accumulate\(\):`") as caught:
        model(images)
    assert caught[0].filename == __file__  # at the user's own line, not in PyTorch's hooks
    penalty()
    for _ in range(2):  # a second warning would be an error here
        model(images)
        model(images)
        penalty()


def test_sharpness_aware_steps_warn(images, kind):
    model = network()
    penalty = kind(model, {"0": 1e-3})
    optimizer = sgd(model)
    model(images).sum().backward()  # the ascent, whose penalty nobody asked for
    with pytest.warns(UserWarning, match="is lost"):
        loss = model(images).sum()
    (loss + penalty()).backward()
    optimizer.step()


def test_what_was_pending_before_accumulate_warns(images, kind):
    model = network()
    penalty = kind(model, {"0": 1e-3})
    model(images)
    with pytest.warns(UserWarning, match="is lost"), penalty.accumulate():
        model(images)
    penalty()


def test_forwards_that_are_not_trained_on_do_not_warn(images, kind):
    model = network()
    penalty = kind(model, {"0": 1e-3})
    for _ in range(2):
        model.eval()
        for _ in range(2):  # validation by somebody who forgot torch.no_grad()
            model(images)
        model.train()
        with torch.no_grad():
            model(images)
        loss = model(images).sum()
        measure(model, images)
        (loss + penalty()).backward()


def test_forwards_that_are_forgotten_do_not_warn(images, kind):
    """A generator that is trained through the discriminator, whose passes alone are penalised."""
    discriminator, alone = network(), network()
    penalty = kind(discriminator, {"0": 1e-3})
    for _ in range(2):
        with penalty.accumulate():
            discriminator(images)
            discriminator(-images)
        both = penalty()
        discriminator(images.clone().requires_grad_()).sum().backward()
        penalty.forget()
    expected = kind(alone, {"0": 1e-3})
    alone.load_state_dict(discriminator.state_dict())
    total = 0
    for sign in (1, -1):
        alone(sign * images)
        total = total + expected()
    assert torch.allclose(both, total)
    with pytest.raises(UsageError, match="has nothing to penalise"):
        penalty()


def test_the_usual_loops_do_not_warn(images, kind):
    model = network()
    penalty, decorrelation = kind(model, {"0": 1e-3}), DecorrReg(model, {"0": 1e-3})

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = model(images).square().mean() + penalty() + decorrelation()
        loss.backward()
        return loss

    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=4)
    optimizer.step(closure)
    optimizer = sgd(model)
    for index in range(4):  # gradients of two micro-batches
        (model(images).square().mean() + penalty() + decorrelation()).backward()
        if index % 2:
            optimizer.step()


def test_a_checkpointed_network_does_not_warn(images, kind):
    model = network()
    penalty = kind(model, {"0": 1e-3})
    optimizer = sgd(model)
    for _ in range(2):
        output = checkpoint(model, images, use_reentrant=False)
        (output.sum() + penalty()).backward()
        optimizer.step()


def test_the_forward_that_gives_lazy_layers_their_weights_does_not_warn(images, kind):
    model = nn.Sequential(nn.LazyConv2d(8, 3), nn.ReLU())
    penalty = kind(model, {"0": 1e-3})
    model(images)
    model(images)
    penalty()


@COMPILING
def test_two_forwards_of_a_compiled_network_warn_at_the_call(images, kind):
    model = network()
    penalty = kind(model, {"0": 1e-3})
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    compiled(images)
    compiled(images)
    with pytest.warns(UserWarning, match="is lost"):
        penalty()


def test_an_optimiser_that_steps_without_the_penalty_warns_once(images, kind):
    model = network()
    penalties = kind(model, {"0": 1e-3}), DecorrReg(model, {"0": 1e-3})
    optimizer = sgd(model)
    model(images).sum().backward()
    with pytest.warns(UserWarning, match="was never called") as caught:
        optimizer.step()
    named = {str(warning.message).split(" on ")[0].split()[-1] for warning in caught}
    assert named == {kind.__name__, "DecorrReg"}
    assert len(caught) == 2
    assert all("was never called" in str(warning.message) for warning in caught)
    optimizer.step()
    for penalty in penalties:
        penalty.detach()


def test_steps_of_other_optimisers_do_not_warn(images, kind):
    model, other = network(), network()
    penalties = kind(model, {"0": 1e-3}), DecorrReg(model, {"0": 1e-3})
    model(images)
    other(images).sum().backward()
    sgd(other).step()  # another network's, as in a GAN
    last = DecorrReg(other, {"0": 1e-3})
    torch.optim.SGD(other[3].parameters(), lr=0.1).step()  # it leaves the target alone
    for penalty in (*penalties, last):
        penalty.detach()


def test_no_hook_of_optimisers_stays_behind(images, kind):
    gc.collect()  # what other tests left to wait
    model = network()
    called, detached = kind(model, {"0": 1e-3}), DecorrReg(model, {"0": 1e-3})
    assert len(optimizers._global_optimizer_post_hooks) == 1
    detached.detach()
    model(images)
    called()
    assert len(optimizers._global_optimizer_post_hooks) == 0


def test_a_penalty_that_nobody_holds_is_gone(images, kind):
    model = network()
    before = hooks(model)
    penalty = kind(model, {"0": 1e-3})
    model(images)
    assert hooks(model) != before
    freed = weakref.ref(penalty)
    del penalty
    gc.collect()
    assert freed() is None
    assert hooks(model) == before


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


def test_penalties_that_are_no_repetition_stay(images, kind):
    """Other layers, another place, another kind, another network."""
    model, other = network(), network()
    penalties = [
        kind(model, {"0": 1e-3}),
        kind(model, {"3": 1e-3}),
        kind(model, {"0": 1e-3}, at="activation"),
        kind(model, {"0": 1e-3}, reduction="mean"),
        DecorrReg(model, {"0": 1e-3}),
        DecorrReg(model, {"0": 1e-3}, form="squared"),
        kind(other, {"0": 1e-3}),
    ]
    model(images)
    other(images)
    assert all(penalty().requires_grad for penalty in penalties)


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
def test_a_forward_that_raised_leaves_nothing(images, kind):
    model = Failing()
    penalty = kind(model, {"conv": 1e-3})
    with pytest.raises(RuntimeError, match="say"):
        model(images)
    assert not penalty._pending
    with pytest.raises(UsageError, match="has nothing to penalise"):
        penalty()
    with pytest.raises(UsageError, match="outside a forward"):
        model.conv(images)
    model.fails = False
    model(images)
    alone = penalty().item()
    with penalty.accumulate():
        model(images)
        model.fails = True
        with pytest.raises(RuntimeError, match="say"):
            model(images)
        model.fails = False
        model(images)
    assert penalty().item() == pytest.approx(2 * alone)
    model.fails = True
    with pytest.raises(RuntimeError, match="say"), penalty.accumulate():
        model(images)
    assert not penalty._pending


def test_a_forward_inside_an_exceptions_handling_counts(images, kind):
    model = network()
    penalty = kind(model, {"0": 1e-3})
    try:
        raise RuntimeError
    except RuntimeError:
        model(images)
    assert penalty().requires_grad


@pytest.mark.parametrize("strict", [False, True])
def test_exporting_and_tracing_in_training_mode_do_not_concern_the_penalty(images, strict, kind):
    model = network()
    penalty = kind(model, {"0": 1e-3})
    loss = model(images).sum()
    plain = network()
    program = torch.export.export(model, (images,), strict=strict)
    assert len(program.graph.nodes) == len(
        torch.export.export(plain, (images,), strict=strict).graph.nodes
    )
    (loss + penalty()).backward()
    assert model[0].weight.grad is not None


@pytest.mark.filterwarnings("ignore:.torch.jit.*:DeprecationWarning")
def test_tracing_by_jit_does_not_concern_the_penalty(images, kind):
    model = network()
    penalty = kind(model, {"0": 1e-3})
    traced = torch.jit.trace(model, images)
    assert "softmax" not in str(traced.inlined_graph)
    model(images)
    penalty()


@pytest.mark.filterwarnings("ignore:.torch.jit.*:DeprecationWarning")
def test_scripting_by_jit_gets_a_sentence(images, kind):
    model = network()
    penalty = kind(model, {"0": 1e-3})
    with pytest.raises(
        UsageError, match="cannot compile a network with a penalty attached: detach"
    ):
        torch.jit.script(model)
    hooks = [*model[0]._forward_hooks.values(), *model._forward_pre_hooks.values()]
    assert not any(hasattr(hook, "__name__") for hook in hooks)
    penalty.detach()
    torch.testing.assert_close(torch.jit.script(model)(images), model(images))


def test_an_empty_batch_is_an_error(kind):
    model = network()
    penalty = kind(model, {"0": 1e-3})
    with pytest.raises(UsageError, match=r"\(0, 8, 6, 6\), an empty batch"):
        model(torch.empty(0, 3, 8, 8))
    penalty.detach()


def test_frozen_after_attaching(images, kind):
    model = network()
    penalty, decorrelation = kind(model, {"0": 1e-3}), DecorrReg(model, {"0": 1.0})
    model[0].requires_grad_(False)
    with pytest.raises(UsageError, match="weights of '0' are frozen"):
        decorrelation()
    with pytest.raises(UsageError, match="frozen"):
        model(images)
    penalty.detach()


def test_replaced_after_attaching(images, kind):
    model = network()
    penalties = kind(model, {"0": 1e-3, "3": 1e-3}), DecorrReg(model, {"0": 1.0})
    model[0] = nn.Conv2d(3, 8, 3)
    model(images)
    for penalty in penalties:
        with pytest.raises(UsageError, match=r"'0' of this .* is no longer in the network"):
            penalty()

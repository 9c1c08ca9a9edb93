"""At activations, the channels are found where the layers before left them."""

import pytest
import torch
from tests.adapters.reference import entropy
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from sparsight.errors import UsageError
from sparsight_torch import SparsityReg

COMPILING = pytest.mark.filterwarnings("default:The .grad attribute of a Tensor")


class Transposed(nn.Module):
    def forward(self, values: Tensor) -> Tensor:
        return values.transpose(1, 2)


TOKENS, SERIES, IMAGES = (5, 7, 6), (5, 6, 9), (5, 6, 8, 8)


def cases() -> dict[str, tuple[nn.Sequential, tuple[int, ...], int]]:
    """Network, whose last module is the target; shape of its input; channel axis."""
    return {
        "dense": (nn.Sequential(nn.Linear(6, 4), nn.GELU()), TOKENS, -1),
        "dense, vectors": (nn.Sequential(nn.Linear(6, 4), nn.ReLU()), (5, 6), 1),
        "normalised tokens": (nn.Sequential(nn.Linear(6, 4), nn.LayerNorm(4)), TOKENS, -1),
        "dropped tokens": (
            nn.Sequential(nn.Linear(6, 4), nn.GELU(), nn.Dropout(0.0)),
            TOKENS,
            -1,
        ),
        "series": (nn.Sequential(nn.Conv1d(6, 4, 3), nn.ReLU()), SERIES, 1),
        "normalised series": (
            nn.Sequential(nn.Conv1d(6, 4, 3), nn.BatchNorm1d(4), nn.ReLU()),
            SERIES,
            1,
        ),
        "pooled series": (
            nn.Sequential(nn.Conv1d(6, 4, 3), nn.MaxPool1d(2), nn.ReLU()),
            SERIES,
            1,
        ),
        "images": (nn.Sequential(nn.Conv2d(6, 4, 3), nn.GroupNorm(2, 4), nn.SiLU()), IMAGES, 1),
        "images, channels last": (nn.Sequential(nn.Linear(8, 4), nn.GELU()), IMAGES, -1),
        "series, then tokens": (
            nn.Sequential(nn.Conv1d(6, 4, 3), Transposed(), nn.Linear(4, 3), nn.GELU()),
            SERIES,
            -1,
        ),
        "tokens, then series": (
            nn.Sequential(nn.Linear(9, 8), nn.Conv1d(6, 4, 3), nn.ReLU()),
            SERIES,
            1,
        ),
    }


@pytest.mark.parametrize("case", cases())
@pytest.mark.parametrize("way", ["eager", "checkpoint", "compiled"])
@COMPILING
def test_the_axis_is_that_of_the_layer_before(case, way):
    torch._dynamo.reset()
    torch.manual_seed(0)
    model, shape, axis = cases()[case]
    inputs = torch.randn(shape)
    sparsity = SparsityReg(model, {str(len(model) - 1): 1.0}, at="activation")
    if way == "compiled":
        output = torch.compile(model, fullgraph=True, backend="aot_eager")(inputs)
    elif way == "checkpoint":
        output = checkpoint(model, inputs, use_reentrant=False)
    else:
        output = model(inputs)
    total = sparsity()
    exact = -entropy(output.detach(), axis).sum() / len(inputs)
    assert total.item() == pytest.approx(exact.item(), rel=1e-6)
    (output.sum() + total).backward()


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (nn.Sequential(nn.Conv1d(6, 4, 3), Transposed(), nn.ReLU()), SERIES),
        (nn.Sequential(nn.Flatten(2), nn.ReLU(), nn.Conv1d(6, 2, 1)), IMAGES),
        (nn.Sequential(nn.Flatten(), nn.Linear(42, 8), nn.Unflatten(1, (2, 4)), nn.ReLU()), TOKENS),
    ],
)
def test_where_it_cannot_be_told_the_axis_is_asked_for(model, shape):
    (relu,) = [name for name, module in model.named_children() if isinstance(module, nn.ReLU)]
    inputs = torch.randn(shape, requires_grad=True)
    sparsity = SparsityReg(model, {relu: 1.0}, at="activation")
    for _ in range(2):  # what ran in the forward before tells nothing
        with pytest.raises(UsageError, match=f"cannot tell the channel axis of target '{relu}'"):
            model(inputs)
    sparsity.detach()
    given = SparsityReg(model, {relu: 1.0}, at="activation", axis=-1)
    model(inputs)
    assert given().requires_grad


def test_a_shared_activation_has_the_axis_of_each_of_its_uses():
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.dense, self.act = nn.Conv1d(6, 4, 3), nn.Linear(4, 3), nn.ReLU()

        def forward(self, series: Tensor) -> Tensor:
            seen.append(self.act(self.conv(series)))
            seen.append(self.act(self.dense(seen[0].transpose(1, 2))))
            return seen[-1]

    torch.manual_seed(0)
    seen: list[Tensor] = []
    model = Shared()
    sparsity = SparsityReg(model, {"act": 1.0}, at="activation")
    model(torch.randn(SERIES))
    exact = -(entropy(seen[0].detach(), 1).sum() + entropy(seen[1].detach(), -1).sum()) / 5
    assert sparsity().item() == pytest.approx(exact.item(), rel=1e-6)


def small_networks() -> dict[str, tuple[nn.Module, str]]:
    transformers = pytest.importorskip("transformers")
    sizes = {"num_hidden_layers": 2, "num_attention_heads": 2, "hidden_size": 16}
    bert = transformers.BertConfig(**sizes, intermediate_size=24, vocab_size=50)
    gpt2 = transformers.GPT2Config(n_layer=2, n_head=2, n_embd=16, n_inner=24, vocab_size=50)
    llama = transformers.LlamaConfig(**sizes, intermediate_size=24, vocab_size=50)
    return {
        "bert": (transformers.BertModel(bert), "*.intermediate.intermediate_act_fn"),
        "gpt2": (transformers.GPT2Model(gpt2), "h.*.mlp.act"),
        "llama": (transformers.LlamaModel(llama), "layers.*.mlp.act_fn"),
    }


@pytest.mark.parametrize("name", ["bert", "gpt2", "llama"])
def test_activations_of_transformers(name):
    torch.manual_seed(0)
    model, target = small_networks()[name]
    sparsity = SparsityReg(model, {target: 1.0}, at="activation")
    seen: list[Tensor] = []
    for module in sparsity.targets:
        module.module.register_forward_hook(lambda *args: seen.append(args[2].detach()))
    model(torch.randint(0, 50, (3, 9)))
    assert [tuple(output.shape) for output in seen] == [(3, 9, 24)] * 2
    exact = -sum(entropy(output, -1).sum() for output in seen) / 3
    assert sparsity().item() == pytest.approx(exact.item(), rel=1e-6)


def test_one_sample_without_a_batch_is_an_error():
    model = nn.Sequential(nn.Conv2d(6, 4, 3))
    sparsity = SparsityReg(model, {"0": 1.0})
    with pytest.raises(UsageError, match=r"\(4, 6, 6\), which is one sample without a batch"):
        model(torch.randn(6, 8, 8))
    sparsity.detach()

"""Padding counts for nothing: in the penalty, the measurements, and all that passes them on."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.adapters.reference import entropy, gradients
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from sparsight.errors import UsageError
from sparsight.runs.reader import read_run
from sparsight_torch import Recorder, measure, sparsity_penalty

Term = Callable[[Tensor, int], Tensor]

LENGTHS = [8, 64, 200]
COMPILING = pytest.mark.filterwarnings("default:The .grad attribute of a Tensor")


class Tokens(nn.Module):
    """Layers on each token, one on the mean of those that count; padding is made loud."""

    checkpointed = False

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Linear(4, 16), nn.Linear(16, 8)
        self.pooled, self.head = nn.Linear(8, 6), nn.Linear(6, 2)
        self.double()

    def inner(self, tokens: Tensor) -> Tensor:
        return self.second(self.first(tokens).relu())

    def forward(self, tokens: Tensor, scale: float = 1.0, mask: Tensor | None = None) -> Tensor:
        if self.checkpointed:
            inner = checkpoint(self.inner, tokens, use_reentrant=False)
        else:
            inner = self.inner(tokens)
        weights = torch.ones(tokens.shape[:2]).double() if mask is None else mask.double()
        mean = (inner * weights[..., None]).sum(1) / weights.sum(1, keepdim=True)
        return scale * self.head(self.pooled(mean).relu())


TARGETS = {"first": 1.0, "second": 0.5, "pooled": 0.1}


def batch(length: int, lengths: tuple[int, ...] = (8, 3, 5)) -> tuple[Tensor, Tensor]:
    """The same sequences of tokens, padded to a length with something loud; and their mask."""
    random = torch.Generator().manual_seed(1)
    tokens = torch.full((len(lengths), length, 4), 100.0, dtype=torch.float64)
    mask = torch.zeros(len(lengths), length, dtype=torch.int64)
    for row, own in enumerate(lengths):
        tokens[row, :own] = torch.randn(own, 4, generator=random, dtype=torch.float64)
        mask[row, :own] = 1
    return tokens, mask


def by_hand(model: Tokens, term: Term, reduction: str = "sum") -> Tensor:
    """One sequence after the other, unpadded."""
    tokens, mask = batch(8)
    rows = [row[kept == 1] for row, kept in zip(tokens, mask, strict=True)]
    first = [model.first(row) for row in rows]
    second = [model.second(f.relu()) for f in first]
    pooled = [model.pooled(s.mean(0)) for s in second]
    total = torch.zeros((), dtype=torch.float64)
    for outputs, strength in zip((first, second, pooled), TARGETS.values(), strict=True):
        terms = torch.cat([term(o, -1).reshape(-1) for o in outputs])
        number = len(terms) if reduction == "mean" else len(rows)
        total = total + strength * terms.sum() / number
    return total


CALLS = {
    "by keyword": lambda model, penalty, x, m: (model(x, mask=m), penalty())[1],
    "by position": lambda model, penalty, x, m: (model(x, 1.0, m), penalty())[1],
}


@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("checkpointed", [False, True])
def test_the_penalty_of_any_padding_is_that_of_none(
    length, call, reduction, checkpointed, kind, term
):
    model = Tokens()
    expected = by_hand(model, term, reduction)
    expected.backward()
    wanted = gradients(model)
    model.zero_grad()
    model.checkpointed = checkpointed
    penalty = kind(model, TARGETS, reduction=reduction, mask="mask")
    value = CALLS[call](model, penalty, *batch(length))
    value.backward()
    torch.testing.assert_close(value, expected)
    found = gradients(model)
    assert found.keys() == wanted.keys()
    for name, gradient in wanted.items():
        torch.testing.assert_close(found[name], gradient)


@pytest.mark.parametrize("length", LENGTHS)
def test_a_mask_at_the_call(length, kind, term):
    """For a model that takes none; a mean over all tokens would depend on the padding."""
    model = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 8)).double()
    with torch.no_grad():
        for parameter, theirs in zip(model.parameters(), Tokens().parameters(), strict=False):
            parameter.copy_(theirs)
    tokens, mask = batch(length)
    penalty = kind(model, {"0": 1.0, "2": 0.5})
    model(tokens)
    reference = by_hand(Tokens(), term) - by_hand_pooled(Tokens(), term)
    torch.testing.assert_close(penalty(mask=mask), reference)


def by_hand_pooled(model: Tokens, term: Term) -> Tensor:
    tokens, mask = batch(8)
    rows = [row[kept == 1] for row, kept in zip(tokens, mask, strict=True)]
    means = torch.stack([model.inner(row).mean(0) for row in rows])
    return TARGETS["pooled"] * term(model.pooled(means), -1).mean()


@given(
    st.integers(1, 4).flatmap(lambda n: st.lists(st.integers(0, 6), min_size=n, max_size=n)),
    st.integers(0, 5),
    st.sampled_from(["sum", "mean"]),
    st.sampled_from([bool, torch.float32, torch.int64]),
    st.sampled_from([100.0, float("nan")]),
)
@settings(max_examples=60, deadline=None)
def test_padding_is_a_law_of_the_function(lengths, more, reduction, dtype, padding):
    """Any lengths, more padding, any type of mask: the value stays, padding has no gradient."""
    length = max(lengths) + 1
    values = torch.randn(len(lengths), length, 7, dtype=torch.float64)
    counts = torch.arange(length + more) < torch.tensor(lengths)[:, None]
    values = nn.functional.pad(values, (0, 0, 0, more))
    values = torch.where(counts[..., None], values, padding).requires_grad_()
    mask = counts if dtype is bool else counts.to(dtype)
    found = sparsity_penalty(values, 0.3, -1, reduction, mask)
    kept = entropy(values.detach()[counts], -1)
    number = max(1, len(kept)) if reduction == "mean" else len(lengths)
    torch.testing.assert_close(found.detach(), -0.3 * kept.sum() / number)
    if padding == padding:  # autograd multiplies what the network made of NaN by a gradient of 0
        found.backward()
        assert (values.grad[~counts] == 0).all()
        assert values.grad.isfinite().all()


def test_channels_before_the_positions():
    values, counts = torch.randn(3, 5, 9), torch.rand(3, 9) < 0.5
    found = sparsity_penalty(values, 1.0, mask=counts)
    kept = entropy(values.movedim(1, -1)[counts], -1)
    torch.testing.assert_close(found.double(), -kept.sum() / 3, rtol=1e-6, atol=0)
    assert sparsity_penalty(values, 1.0, mask=counts.numpy()) == found
    with pytest.raises(
        UsageError, match=r"mask of shape \(3, 5\) does not match positions of shape \(3, 9\)"
    ):
        sparsity_penalty(values, 1.0, mask=torch.ones(3, 5))


def test_a_forward_without_a_mask_counts_all(kind):
    masking, counting = Tokens(), Tokens()
    masked, plain = kind(masking, TARGETS, mask="mask"), kind(counting, TARGETS)
    tokens, mask = batch(8)
    for _ in range(2):
        masking(tokens)
        counting(tokens)
        assert masked().item() == plain().item()
        masking(tokens, mask=mask)
        counting(tokens, mask=mask)
        assert abs(masked().item()) < abs(plain().item())


def test_each_forward_has_its_own_mask(kind, term):
    model = Tokens()
    penalty = kind(model, TARGETS, mask="mask")
    with penalty.accumulate():
        for length in LENGTHS:
            tokens, mask = batch(length)
            model(tokens, mask=mask)
    torch.testing.assert_close(penalty(), 3 * by_hand(Tokens(), term))


@COMPILING
def test_compiled_in_one_graph(kind, term):
    model = Tokens()
    penalty = kind(model, TARGETS, mask="mask")
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    for length in (8, 64):
        tokens, mask = batch(length)
        compiled(tokens, mask=mask)
        torch.testing.assert_close(penalty(), by_hand(Tokens(), term))


def test_masks_that_would_do_nothing_are_errors(kind):
    model, (tokens, mask) = Tokens(), batch(8)
    with pytest.raises(
        UsageError, match="forward has no input 'masks' to use as the mask; did you m"
    ):
        kind(model, TARGETS, mask="masks")
    alone = kind(model, {"pooled": 1.0}, mask="mask")
    model(tokens, mask=mask)
    with pytest.raises(UsageError, match=r"shape \(3, 8\) matches no layer.*pooled \(3,\)"):
        alone()
    alone.detach()
    penalty = kind(model, TARGETS)
    model(tokens)
    with pytest.raises(UsageError, match=r"shape \(8, 3\) matches no layer"):
        penalty(mask=mask.T)
    with pytest.raises(
        UsageError, match="the mask is a str; expected a tensor or array of 0 and 1"
    ):
        penalty(mask="mask")
    with pytest.raises(UsageError, match="the mask is a Tensor; expected the name of an input"):
        kind(model, TARGETS, mask=mask)
    with penalty.accumulate():
        model(tokens)
        model(tokens)
    with pytest.raises(UsageError, match="one mask was given for several forwards"):
        penalty(mask=mask)
    penalty.detach()
    with kind(model, TARGETS, mask="mask") as named:
        model(tokens, mask=mask)
        with pytest.raises(UsageError, match="the model's input 'mask' is the mask already"):
            named(mask=mask)
        named()
        with pytest.raises(UsageError, match="so its mask, the input 'mask'"), named.accumulate():
            model.inner(tokens)
    message = "the mask 'scale' is a float; expected a tensor"
    with kind(model, {"first": 1.0}, mask="scale"), pytest.raises(UsageError, match=message):
        model(tokens, 2.0)


def test_a_misspelt_keyword_among_others_is_an_error(kind, term):
    class Keywords(Tokens):
        def forward(self, tokens: Tensor, **kwargs) -> Tensor:
            return super().forward(tokens, mask=kwargs.get("mask"))

    model, (tokens, mask) = Keywords(), batch(8)
    penalty = kind(model, TARGETS, mask="mask")
    model(tokens, mask=mask)
    torch.testing.assert_close(penalty(), by_hand(Tokens(), term))
    penalty.detach()
    message = r"was called without the input 'attention_mask'.*: mask"
    misspelt = kind(model, TARGETS, mask="attention_mask")
    with misspelt, pytest.raises(UsageError, match=message):
        model(tokens, mask=mask)


# -- measuring and recording


def table(measurements) -> dict[str, dict[str, float]]:
    return {m.layer.name: dict(m.statistics) for m in measurements}


@pytest.mark.parametrize("statistics", ["all", "entropy"])
@pytest.mark.parametrize("length", LENGTHS)
def test_measurements_of_any_padding_are_those_of_none(length, statistics):
    model = Tokens()
    tokens, mask = batch(length)
    found = measure(
        model,
        {"tokens": tokens, "mask": mask},
        mask="mask",
        statistics=statistics,
        batch_size=2,
        shown=[1],
    )
    # the tokens that count, each as a sequence of its own
    single = [row[kept == 1] for row, kept in zip(tokens, mask, strict=True)]
    alone = measure(model, torch.cat(single)[:, None], statistics=statistics)
    for name in ("first", "second"):
        assert table(found)[name] == pytest.approx(table(alone)[name], rel=1e-6, nan_ok=True)
    assert [m.layer.name for m in found] == ["first", "second", "pooled"]
    assert found[2].statistics["nan_share"] == 0
    np.testing.assert_array_equal(np.isnan(found[0].maps[0]), mask[1] == 0)


def test_a_mask_of_the_probes_own():
    model, (tokens, mask) = Tokens(), batch(64)
    named = measure(model, {"tokens": tokens, "mask": mask}, mask="mask", layers=["first"])
    for given_mask in (mask, mask.numpy(), mask.bool()):
        given = measure(model, tokens, mask=given_mask, layers=["first"])
        assert table(given) == table(named)


def test_the_recorder_passes_the_mask_on(tmp_path):
    model, (tokens, mask) = Tokens(), batch(64)
    probes = {"tokens": tokens, "mask": mask}
    with Recorder(model, probes, tmp_path, mask="mask") as recorder:
        (first, *_) = recorder.record(0)
    assert table([first]) == table(measure(model, probes, mask="mask", layers=["first"]))
    codes = read_run(tmp_path).maps["first"][0].codes
    np.testing.assert_array_equal(np.asarray(codes)[:3].reshape(3, -1) == 255, mask == 0)


def test_a_batch_of_nothing_but_padding():
    model, (tokens, mask) = Tokens(), batch(8)
    mask = mask.clone()
    mask[2] = 0
    found = measure(model, tokens, mask=mask, layers=["first"], batch_size=1)
    wanted = measure(model, tokens[:2], mask=mask[:2], layers=["first"])
    assert table(found)["first"] == pytest.approx(table(wanted)["first"], rel=1e-12)


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        ("masks", "forward has no input 'masks'"),
        ("mask", "the probes have no input 'mask'"),
        (torch.ones(2, 8), r"mask has shape \(2, 8\), but there are 3 probes"),
        (torch.ones(3, 9), r"shape \(3, 9\) matches no layer.*first \(3, 8\)"),
    ],
)
def test_wrong_masks_of_probes_get_a_sentence(mask, message):
    with pytest.raises(UsageError, match=message):
        measure(Tokens(), batch(8)[0], mask=mask)

"""Which layers feed others, whatever way the values go."""

import gc
import weakref

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sparsight_torch import measure
from sparsight_torch.layers.output_layers import FeedTrace

SERIES = torch.rand(3, 6, 4, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    """A layer `first`, a layer `other` beside it, and a way from their outputs to a result."""

    def __init__(self, way) -> None:
        super().__init__()
        self.first, self.other = nn.Linear(4, 4), nn.Linear(4, 4)
        self.second = nn.Linear(4, 4)
        self.weight = nn.Parameter(torch.randn(4, 4))
        self.convolution = nn.Conv1d(6, 2, 1)
        self.lstm = nn.LSTM(4, 4, batch_first=True)
        self.register_buffer("cache", torch.zeros(3, 6, 4))
        self.way = way

    def forward(self, series: Tensor) -> object:
        return self.way(self, self.first(series), self.other(series))


def output_layers(network: nn.Module, statistics="entropy") -> set[str]:
    everything = measure(network, SERIES, layers=["*"], statistics="entropy")
    every = {part.layer.name for part in everything}
    return every - {part.layer.name for part in measure(network, SERIES, statistics=statistics)}


def through_a_view(net, first, other):
    gathered = torch.empty_like(first)
    gathered.view(-1)[:] = first.flatten()
    return net.second(gathered), other


def through_a_cache(net, first, other):
    net.cache.index_copy_(1, torch.arange(6), first)
    return net.second(net.cache), other


def through_out(net, first, other):
    result = torch.empty_like(first)
    torch.mul(first, 2, out=result)
    return net.second(result), other


def through_a_sparse_tensor(net, first, other):
    return net.second(first.to_sparse().to_dense()), other


@torch.inference_mode()
def in_inference_mode(net, first, other):
    return F.linear(first, net.weight), net.second(first * 2), other


def with_a_branch(net, first, other):
    branch = torch.compile(lambda x: x.sin() + 1, backend="eager", fullgraph=True)
    return net.second(branch(first)), other


WAYS = {
    "alone": lambda net, first, other: (first, net.second(other)),
    "a view": through_a_view,
    "a cache": through_a_cache,
    "out=": through_out,
    "a sparse tensor": through_a_sparse_tensor,
    "inference mode": in_inference_mode,
    "a function": lambda net, first, other: (F.linear(first, net.weight), other),
    "einsum": lambda net, first, other: (torch.einsum("ntd,de->nte", first, net.weight), other),
    "weights first": lambda net, first, other: (net.weight @ first.mT, other),
    "an LSTM": lambda net, first, other: (net.lstm(first), other),
    "a convolution": lambda net, first, other: (net.convolution(first), other),
    "attention": lambda net, first, other: F.scaled_dot_product_attention(first, first, other),
    "a residual": lambda net, first, other: torch.addmm(first[0], other[0], net.weight),
    "attention to learned queries": lambda net, first, other: (
        F.scaled_dot_product_attention(net.weight.expand(3, 4, 4), first, first),
        other,
    ),
    "a shape": lambda net, first, other: (net.second(first.new_ones(3, 4)), first, other),
    "ones": lambda net, first, other: (net.second(torch.ones_like(first) * other), first),
    "compiled": with_a_branch,
}
HIDDEN = {
    "alone": {"other"},
    "attention": set(),
    "a residual": {"other"},
    "a shape": set(),
    "ones": {"other"},
}
UNUSED = {"attention", "a residual"}


@pytest.mark.parametrize("name", WAYS)
def test_the_way_of_a_layers_values(name):
    net = Net(WAYS[name])
    everything = measure(net, SERIES, layers=["*"], statistics="entropy")
    ran = {part.layer.name for part in everything}
    hidden = HIDDEN.get(name, {"first"})
    assert output_layers(net) == (ran - hidden if hidden else set())


def test_the_same_beside_the_other_statistics():
    net = Net(through_a_cache)
    assert output_layers(net, "all") == output_layers(net) == {"second", "other"}


def test_a_layer_whose_product_is_not_known():
    """Its weights multiply out of sight, as those of packages that quantise do."""

    class Packed(nn.Linear):
        def forward(self, values: Tensor) -> Tensor:
            return (values.unsqueeze(-2) * self.weight).sum(-1)

    assert output_layers(nn.Sequential(nn.Linear(4, 4), Packed(4, 4))) == {"1"}


def test_layers_that_are_the_same_for_all_probes_are_left_out():
    class Table(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Parameter(torch.randn(6, 4))
            self.position, self.first, self.last = (nn.Linear(4, 4) for _ in range(3))

        def forward(self, series: Tensor) -> Tensor:
            return self.last(self.first(series) + self.position(self.table).unsqueeze(0))

    table = Table()
    assert [part.layer.name for part in measure(table, SERIES[:1])] == ["first"]


def test_a_layer_that_the_first_batch_did_not_run_stays():
    class Sometimes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second, self.seldom = (nn.Linear(4, 4) for _ in range(3))

        def forward(self, series: Tensor) -> Tensor:
            result = self.second(self.first(series))
            return self.seldom(series) if bool(series[0, 0, 0] > 0.5) else result

    series = torch.zeros(2, 6, 4)
    series[1] = 1
    names = [part.layer.name for part in measure(Sometimes(), series, batch_size=1)]
    assert names == ["first", "seldom"]


def test_activations_live_no_longer_than_without_us():
    trace, seen = FeedTrace(), []
    with torch.no_grad(), trace.watching([SERIES]):
        for _ in range(3):
            values = SERIES * 2
            seen.append(weakref.ref(values.untyped_storage()))
            trace.follow("layer", values)
            del values
            gc.collect()
            assert seen[-1]() is None


def test_a_storage_at_the_address_of_another_is_not_taken_for_it():
    trace = FeedTrace()
    with torch.no_grad(), trace.watching([SERIES]):
        trace.follow("layer", SERIES * 2)
        for _ in range(100):
            fresh = torch.ones(3, 6, 4)
            assert trace._sources.get(fresh) is None

"""The accumulator: how probes are cut into batches or ranks changes nothing."""

from __future__ import annotations

import copy
import dataclasses
import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from tests.core import reference

from sparsight.errors import UsageError
from sparsight.maths.correlation import correlation_summary
from sparsight.measure.accumulator import LayerAccumulator
from sparsight.measure.batch import BatchStatistics
from sparsight.measure.measurement import LayerMeasurement
from sparsight.schema import COLUMNS, LayerInfo
from sparsight.schema.statistics import recorded

CHANNELS = 7
LAYER = LayerInfo("conv1", "Conv", CHANNELS, (), 1, "linear output")
HIGHEST = math.log(CHANNELS)

entropies = arrays(
    np.float32,
    st.tuples(st.integers(1, 8), st.just(2), st.just(3)),
    elements=st.one_of(
        st.floats(0, 1, width=32).map(lambda part: np.float32(part * HIGHEST)),
        st.sampled_from([np.nan, 0.0, np.float32(HIGHEST)]),
    ),
)


def batch(entropy: np.ndarray) -> BatchStatistics:
    """What a backend would compute along with these entropies."""
    broken = np.isnan(entropy)
    probes = len(entropy)
    seeds = (np.nan_to_num(entropy[:, 0, 0]) * 1000).astype(int)
    inputs = np.stack([np.random.default_rng(s).normal(-1, 1, (CHANNELS, 6)) for s in seeds])
    return BatchStatistics(
        entropy=entropy,
        companions={
            "scale_free_entropy": np.where(broken, np.nan, entropy / HIGHEST / 2),
            "rms": np.where(broken, np.nan, entropy * 3).astype(np.float32),
        },
        relu_maximum=inputs.max(axis=(0, 2)).astype(np.float32) if probes else None,
        relu_zeros=int((inputs <= 0).sum()),
    )


def accumulated(
    entropy: np.ndarray, cuts: Sequence[int] = (), shown: tuple[int, ...] = (0, 2)
) -> LayerAccumulator:
    """All probes, in batches that end at `cuts`."""
    accumulator = LayerAccumulator(LAYER, shown)
    first = 0
    for last in [*sorted({cut for cut in cuts if 0 < cut < len(entropy)}), len(entropy)]:
        accumulator.update(batch(entropy[first:last]), first)
        first = last
    return accumulator


def assert_same(one: LayerMeasurement, other: LayerMeasurement) -> None:
    assert list(one.statistics) == list(other.statistics)
    for name, value in one.statistics.items():
        rounding = 1e-6 if name == "entropy_std" else 1e-9  # the root of a difference of sums
        expected = pytest.approx(other.statistics[name], rel=1e-9, abs=rounding, nan_ok=True)
        assert value == expected, name
    assert one.layer == other.layer
    assert one.shown == other.shown
    np.testing.assert_array_equal(one.maps, other.maps)
    np.testing.assert_allclose(one.mean_map, other.mean_map, rtol=1e-6)


def test_the_columns_are_those_of_the_schema() -> None:
    result = accumulated(np.ones((2, 2, 3), np.float32)).result()
    assert list(result.statistics) == [column.name for column in COLUMNS]


@given(entropies, st.lists(st.integers(1, 7)))
def test_splitting_batches_changes_nothing(entropy: np.ndarray, cuts: list[int]) -> None:
    assert_same(accumulated(entropy, cuts).result(), accumulated(entropy).result())


@given(entropies, st.integers(0, 8), st.integers(0, 8))
def test_merging_is_associative_and_the_same_as_one_rank(
    entropy: np.ndarray, one: int, two: int
) -> None:
    low, high = sorted((min(one, len(entropy)), min(two, len(entropy))))

    def ranks() -> list[LayerAccumulator]:
        parts = []
        for first, last in ((0, low), (low, high), (high, len(entropy))):
            part = LayerAccumulator(LAYER, (0, 2))
            if first < last:
                part.update(batch(entropy[first:last]), first)
            parts.append(part)
        return parts

    left, middle, right = ranks()
    left.merge(middle)
    left.merge(right)
    first, second, third = ranks()
    second.merge(third)
    first.merge(second)
    assert_same(left.result(), first.result())
    assert_same(left.result(), accumulated(entropy).result())


@given(entropies)
def test_statistics_are_numpys_and_nan_is_never_averaged_in(entropy: np.ndarray) -> None:
    found = accumulated(entropy).result().statistics
    finite = entropy[np.isfinite(entropy)].astype(np.float64)
    assert found["nan_share"] == pytest.approx(np.isnan(entropy).mean())
    if not finite.size:
        names = ["entropy", "entropy_std", "entropy_p5", "scale_free_entropy", "rms"]
        assert np.isnan([found[name] for name in names]).all()
        return
    assert found["entropy"] == pytest.approx(finite.mean(), abs=1e-6)
    assert found["entropy_std"] == pytest.approx(finite.std(), abs=1e-4)
    assert found["scale_free_entropy"] == pytest.approx(finite.mean() / HIGHEST / 2, abs=1e-6)
    rms = np.float32(finite.astype(np.float32) * 3).astype(np.float64)
    assert found["rms"] == pytest.approx(np.sqrt(np.square(rms).mean()), rel=1e-6)
    for percent in (5, 50, 95):
        exact = np.percentile(finite, percent, method="inverted_cdf")
        assert abs(found[f"entropy_p{percent}"] - exact) <= HIGHEST / 4096 + 1e-6


@dataclasses.dataclass(frozen=True)
class Probes:
    """All that a backend may tell of a layer on a probe set; each part but the first may lack."""

    entropy: np.ndarray
    relu_inputs: np.ndarray | None
    """[N, *map, D]"""
    by_position: bool
    """Whether its ReLU inputs are told position by position, or as a maximum and a number."""
    counted: np.ndarray | None
    companions: bool
    """Whether there are scale-free entropy, RMS and sums of channels."""

    def batch(self, first: int, last: int) -> BatchStatistics:
        """What the backend tells of these probes."""
        entropy = self.entropy[first:last]
        told: dict[str, Any] = {}
        if self.companions:
            rfavs = self.rfavs[first:last]
            rms = np.sqrt(np.square(rfavs).mean(axis=-1))
            told["companions"] = {"scale_free_entropy": entropy / 3, "rms": rms}
            if self.by_position:
                told["rfavs"] = rfavs
            else:
                told["channel_sums"] = rfavs[np.isfinite(entropy)].sum(axis=0)
        if self.counted is not None:
            told["counted"] = self.counted[first:last]
        if self.relu_inputs is not None:
            told |= self.relu(self.relu_inputs[first:last])
        return BatchStatistics(entropy, **told)

    @property
    def rfavs(self) -> np.ndarray:
        """[N, *map, D]: some numbers for each position, NaN where there is no entropy."""
        waves = np.cos(np.arange(CHANNELS) * (1 + np.arange(self.entropy.size)[:, None]) + 1) + 0.5
        return waves.reshape(*self.entropy.shape, CHANNELS) + 0 * self.entropy[..., None]

    def relu(self, inputs: np.ndarray) -> dict[str, Any]:
        if self.by_position:
            return {"relu_at_most_zero": inputs <= 0, "relu_above_zero": inputs > 0}
        highest = np.fmax.reduce(inputs.reshape(-1, CHANNELS))  # NaN where all are
        return {
            "relu_maximum": highest,
            "relu_zeros": int((inputs <= 0).sum()),
            "relu_numbers": int((~np.isnan(inputs)).sum()),
        }

    def expected(self) -> dict[str, float]:
        """The statistics, slowly, of all positions that count, at once."""
        counted = np.ones(self.entropy.shape, bool) if self.counted is None else self.counted
        values = self.entropy[counted].astype(np.float64)
        finite = values[np.isfinite(values)]
        found = dict.fromkeys((column.name for column in COLUMNS), math.nan)
        if values.size:
            found["nan_share"] = np.isnan(values).mean()
        if finite.size:
            found |= {"entropy": finite.mean(), "entropy_std": finite.std()}
            found |= {f"entropy_p{p}": percentile(finite, p) for p in (5, 50, 95)}
        if finite.size and self.companions:
            found["scale_free_entropy"] = finite.mean() / 3
            rows = self.rfavs[counted & np.isfinite(self.entropy)]
            found["rms"] = np.sqrt(np.square(rows).mean())
            found["channel_mean_share"] = reference.channel_mean_share(rows)
        if self.relu_inputs is not None:
            inputs = self.relu_inputs[counted]
            zeros, numbers = inputs <= 0, ~np.isnan(inputs)
            dead = (zeros | ~numbers).all(axis=0) & numbers.any(axis=0)
            found["dead_fraction"] = dead.mean()
            if numbers.any():
                found["zero_fraction"] = zeros.sum() / numbers.sum()
        return found


def percentile(values: np.ndarray, percent: int) -> float:
    """Where so many percent of the values lie below, were those of each of 4,096 bins spread evenly
    over it."""
    bins = [min(int(value / HIGHEST * 4096), 4095) for value in values]
    below = 0
    for level in sorted(set(bins)):
        inside = bins.count(level)
        if below + inside >= percent / 100 * len(bins):
            return (level + (percent / 100 * len(bins) - below) / inside) / 4096 * HIGHEST
        below += inside
    raise AssertionError("is recorded for layer")


@st.composite
def probe_sets(draw: st.DrawFn) -> Probes:
    entropy = draw(entropies)
    signs = arrays(
        np.float32, (*entropy.shape, CHANNELS), elements=st.sampled_from([-1, 0, 1, 2, np.nan])
    )
    if draw(st.booleans()):  # else hardly a channel is dead
        signs = signs.map(lambda inputs: inputs - np.float32([3, 3, 0, 1, 1, 0, 2]))
    mask = draw(st.none() | arrays(np.bool_, entropy.shape))
    relu_inputs = draw(st.none() | signs)
    # The maximum of all positions says nothing of those that count.
    return Probes(
        entropy, relu_inputs, mask is not None or draw(st.booleans()), mask, draw(st.booleans())
    )


ONLY_NAN = Probes(np.full((3, 2, 3), np.nan, np.float32), None, False, None, True)
NONE_COUNTS = dataclasses.replace(ONLY_NAN, counted=np.zeros((3, 2, 3), bool))


@given(probe_sets())
@example(ONLY_NAN)
@example(NONE_COUNTS)
def test_one_pass_is_what_the_slow_version_says(probes: Probes) -> None:
    accumulator = LayerAccumulator(LAYER)
    accumulator.update(probes.batch(0, len(probes.entropy)), 0)
    found = accumulator.result().statistics
    for name, value in probes.expected().items():
        # float32 values are the input; the deviation is a difference of sums
        assert found[name] == pytest.approx(value, rel=1e-6, abs=1e-6, nan_ok=True), name


@given(probe_sets(), st.data())
@example(ONLY_NAN, None)
@example(NONE_COUNTS, None)
def test_any_split_over_ranks_and_batches_merges_to_one_pass(
    probes: Probes, data: st.DataObject | None
) -> None:
    """Every state of the accumulator, by whatever way it is told, merged in any order."""
    number, shown = len(probes.entropy), tuple(range(0, len(probes.entropy), 2))
    whole = LayerAccumulator(LAYER, shown)
    whole.update(probes.batch(0, number), 0)
    ends = data.draw(st.sets(st.integers(1, number - 1))) if data and number > 1 else set()
    parts = [*zip([0, *sorted(ends)], [*sorted(ends), number], strict=True)]
    owners = [data.draw(st.integers(0, 2)) if data else 0 for _ in parts]
    ranks = [LayerAccumulator(LAYER, shown) for _ in range(3)]  # one may get nothing
    for (first, last), owner in zip(parts, owners, strict=True):
        ranks[owner].update(probes.batch(first, last), first)
    while len(ranks) > 1:
        other = ranks.pop(data.draw(st.integers(0, len(ranks) - 1)) if data else 0)
        before = copy.deepcopy(other)
        ranks[0].merge(other)
        for field in dataclasses.fields(other):  # what is merged stays as it was
            np.testing.assert_equal(getattr(other, field.name), getattr(before, field.name))
    assert_same(ranks[0].result(), whole.result())


def test_what_was_given_or_merged_is_not_changed_later() -> None:
    """A backend may use its buffers again, and a rank that was merged goes on."""
    ones, maximum = np.ones((1, 2, 3), np.float32), np.float32([1, -1, 0, 2, -3, 0, 5])
    one, other = LayerAccumulator(LAYER, (0,)), LayerAccumulator(LAYER, (0,))
    one.update(BatchStatistics(ones, relu_maximum=maximum), 0)
    maximum[:] = 9
    other.merge(one)
    before = other.result()
    one.update(BatchStatistics(2 * ones, relu_maximum=np.full(CHANNELS, 7, np.float32)), 0)
    assert_same(other.result(), before)
    assert before.statistics["dead_fraction"] == pytest.approx(4 / 7)


def test_entropies_that_rounding_left_outside_count_at_the_ends() -> None:
    for wrong, percent, expected in ((-0.01, 5, 0), (HIGHEST + 0.01, 95, HIGHEST)):
        accumulator = LayerAccumulator(LAYER)
        accumulator.update(BatchStatistics(np.full((1, 2, 3), wrong, np.float32)), 0)
        found = accumulator.result().statistics[f"entropy_p{percent}"]
        assert found == pytest.approx(expected, abs=HIGHEST / 4096)


def test_a_measurement_is_a_value() -> None:
    for value in (accumulated(np.ones((1, 2, 3), np.float32)).result(), batch(np.ones((1, 2, 3)))):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(value, dataclasses.fields(value)[0].name, None)


def test_percentiles_of_many_values() -> None:
    entropy = np.random.default_rng(0).beta(8, 2, (50, 20, 20)) * HIGHEST
    accumulator = LayerAccumulator(LAYER)
    accumulator.update(BatchStatistics(entropy.astype(np.float32)), 0)
    found = accumulator.result().statistics
    for percent in (5, 50, 95):
        expected = np.percentile(entropy, percent)
        assert abs(found[f"entropy_p{percent}"] - expected) <= HIGHEST / 4096


def test_maps_and_mean_map() -> None:
    entropy = np.random.default_rng(0).uniform(0, HIGHEST, (4, 2, 3)).astype(np.float32)
    entropy[1, 0, 0] = np.nan
    entropy[:, 1, 1] = np.nan
    result = accumulated(entropy, [1, 3]).result()
    assert result.layer.map_shape == (2, 3)
    assert result.shown == (0, 2)
    np.testing.assert_array_equal(result.maps, entropy[[0, 2]])
    assert np.isnan(result.mean_map[1, 1])
    assert result.mean_map[0, 0] == pytest.approx(entropy[[0, 2, 3], 0, 0].mean())


def test_no_probe_is_shown() -> None:
    assert accumulated(np.ones((2, 2, 3), np.float32), shown=()).result().maps.shape == (0, 2, 3)


def test_what_no_backend_computed_is_unknown() -> None:
    accumulator = LayerAccumulator(LAYER)
    accumulator.update(BatchStatistics(np.ones((1, 2, 3), np.float32)), 0)
    found = accumulator.result().statistics
    unknown = {s.name for s in recorded() if s.measured != "entropy"}
    assert {name for name, value in found.items() if math.isnan(value)} == unknown


def test_dead_channels_are_dead_in_every_batch() -> None:
    accumulator = LayerAccumulator(LAYER)
    ones = np.ones((1, 2, 3), np.float32)
    nan = np.nan
    for maximum in ([1, -1, 0, -1, nan, nan, nan], [-1, -1, -1, 2, nan, -3, 4]):
        accumulator.update(BatchStatistics(ones, relu_maximum=np.array(maximum), relu_zeros=21), 0)
    found = accumulator.result().statistics
    assert found["dead_fraction"] == pytest.approx(3 / 7)  # not the 5th, which has no number
    assert found["zero_fraction"] == pytest.approx(42 / (2 * 6 * 7))


relu_inputs = arrays(
    np.float32,
    st.tuples(st.integers(1, 6), st.just(2), st.just(3)),
    elements=st.sampled_from([np.nan, -1.0, 0.0, 1.0]),
)


@given(relu_inputs, st.lists(st.integers(1, 5)), st.booleans(), st.booleans())
def test_a_nan_says_nothing_of_a_channel(
    inputs: np.ndarray, cuts: list[int], by_position: bool, merged: bool
) -> None:
    """Three channels at two positions of each probe, in any batches and ranks, against a loop."""
    layer = LayerInfo("conv1", "Conv", 3, (), 1, "linear output")
    total = LayerAccumulator(layer)
    first = 0
    for last in [*sorted({cut for cut in cuts if cut < len(inputs)}), len(inputs)]:
        part = inputs[first:last]
        rank = LayerAccumulator(layer) if merged else total
        rank.update(with_relu(part, by_position), first)
        if merged:
            total.merge(rank)
        first = last
    channels = [[float(v) for v in row if v == v] for row in inputs.reshape(-1, 3).T]
    dead = sum(bool(row) and max(row) <= 0 for row in channels)
    numbers = [value for row in channels for value in row]
    found = total.result().statistics
    assert found["dead_fraction"] == pytest.approx(dead / 3)
    share = sum(value <= 0 for value in numbers) / len(numbers) if numbers else math.nan
    assert found["zero_fraction"] == pytest.approx(share, nan_ok=True)


def with_relu(inputs: np.ndarray, by_position: bool) -> BatchStatistics:
    """What a backend tells of ReLU inputs [N, positions, D], in either of its two ways."""
    entropy = np.zeros(inputs.shape[:2], np.float32)
    if by_position:
        return BatchStatistics(entropy, relu_at_most_zero=inputs <= 0, relu_above_zero=inputs > 0)
    rows = inputs.reshape(-1, inputs.shape[-1])
    highest = np.where(np.isnan(rows), -np.inf, rows).max(axis=0)
    return BatchStatistics(
        entropy,
        relu_maximum=np.where(np.isnan(rows).all(axis=0), np.nan, highest),
        relu_zeros=int((rows <= 0).sum()),
        relu_numbers=int((~np.isnan(rows)).sum()),
    )


def test_one_channel() -> None:
    accumulator = LayerAccumulator(LayerInfo("depthwise", "Conv", 1, (), 1, "linear output"))
    accumulator.update(BatchStatistics(np.zeros((3, 2, 2), np.float32)), 0)
    result = accumulator.result()
    assert result.statistics["entropy"] == 0
    assert result.statistics["entropy_p95"] == 0
    assert math.isnan(result.relative_entropy)


def test_relative_entropy_is_that_of_the_mean() -> None:
    result = accumulated(np.full((1, 2, 3), HIGHEST / 4, np.float32)).result()
    assert result.relative_entropy == pytest.approx(0.25)


def test_correlations_are_recorded() -> None:
    summary = correlation_summary(np.random.default_rng(0).normal(size=(7, 9)))
    result = accumulated(np.ones((1, 2, 3), np.float32)).result(summary)
    assert result.correlation is summary
    assert result.statistics["correlation_mean"] == summary.mean
    assert result.statistics["correlation_mean_absolute"] == summary.mean_absolute
    assert result.statistics["correlation_largest"] == summary.largest
    assert result.statistics["constant_filters"] == 0


def test_slips_get_a_sentence() -> None:
    with pytest.raises(UsageError, match="'conv1' was not measured on any probe"):
        LayerAccumulator(LAYER).result()
    accumulator = accumulated(np.ones((1, 2, 3), np.float32))
    for shape in ((4, 4), (1, 1)):
        expected = re.escape(f"got a map of shape {shape} after one of shape (2, 3)")
        with pytest.raises(UsageError, match=expected):
            accumulator.update(BatchStatistics(np.ones((1, *shape), np.float32)), 1)
    other = LayerInfo("conv2", "Conv", CHANNELS, (), 1, "linear output")
    with pytest.raises(UsageError, match="cannot merge layer 'conv2' into 'conv1'"):
        accumulator.merge(LayerAccumulator(other))

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsight import schema
from sparsight.maths.onset import smooth
from sparsight_tensorboard.losses import aligned, curve_names, find_validation_loss, turn_of
from sparsight_tensorboard.records import Record, Tag
from sparsight_tensorboard.tables import Tables, merged

METADATA = schema.encode_layers([schema.LayerInfo("conv1", "Conv", 8, (2, 2), 1, "linear output")])


def recorded(
    steps: Sequence[int], wall_times: Sequence[float], global_steps: Sequence[int] | None = None
) -> Tables:
    table = np.zeros((1, len(schema.COLUMNS)), np.float32)
    events = list(zip(steps, wall_times, strict=True))
    tags = [Tag("sparsity/layers/x", METADATA, [Record(s, w, table) for s, w in events])]
    if global_steps is not None:
        counts = [Record(s, w, np.array(g)) for (s, w), g in zip(events, global_steps, strict=True)]
        tags.append(Tag(schema.GLOBAL_STEP_TAG, schema.encode_metadata(), counts))
    return merged(tags)


def guess(tags: list[str], run: str = "run") -> str | None:
    return find_validation_loss(run, curve_names(run, {run: tags}), ())


@pytest.mark.parametrize(
    "tag",
    [
        *("loss/validation", "validation/loss_epoch", "val_loss", "valid_loss", "valLoss"),
        *("VAL/LOSS", "eval/loss", "Loss/test", "test.loss", "epoch/val/nll"),
    ],
)
def test_usual_names_of_a_validation_loss(tag: str) -> None:
    assert guess(["accuracy/validation", "loss/train", "lr", tag, "val_acc"]) == tag


@pytest.mark.parametrize("tag", ["loss", "train/loss", "value_loss", "interval_loss", "val/acc"])
def test_other_names_are_not_taken(tag: str) -> None:
    assert guess([tag]) is None


def test_the_best_of_several_names() -> None:
    assert guess(["test_loss", "val_loss", "eval_loss"]) == "val_loss"
    assert guess(["val/loss/sparsity", "val/loss/total", "val/loss"]) == "val/loss"
    assert guess(["val_loss_step", "val_loss"]) == "val_loss"
    assert guess(["val/loss/total"]) == "val/loss/total"


def test_runs_that_share_a_directory() -> None:
    scalars = {
        "exp/sparsity": ["lr"],
        "exp/train": ["epoch_loss"],
        "exp/validation": ["epoch_loss"],
        "exp": ["seconds"],
        "exp/sparsity/deep": ["depth"],
        "other/validation": ["epoch_loss"],
    }
    names = curve_names("exp/sparsity", scalars)
    assert list(names) == [
        "lr",
        "seconds (exp)",
        "depth (exp/sparsity/deep)",
        "epoch_loss (exp/train)",
        "epoch_loss (exp/validation)",
    ]
    assert names["epoch_loss (exp/train)"] == ("exp/train", "epoch_loss")
    assert find_validation_loss("exp/sparsity", names, ()) == "epoch_loss (exp/validation)"


def test_runs_at_the_top_are_strangers() -> None:
    assert list(curve_names("a", {"a": ["x"], "b": ["y"], "a/eval": ["z"]})) == ["x", "z (a/eval)"]


def test_the_loss_of_another_experiment_is_never_guessed() -> None:
    names = curve_names("exp/a", {"exp/a": ["lr"], "exp/b": ["val_loss"]})
    assert find_validation_loss("exp/a", names, ["exp/a", "exp/b"]) is None
    assert find_validation_loss("exp/a", names, ["exp/a"]) == "val_loss (exp/b)"


def points(steps: Sequence[int], wall_times: Sequence[float]) -> list[Record]:
    return [Record(s, w, float(s)) for s, w in zip(steps, wall_times, strict=True)]


def test_steps_that_are_epochs() -> None:
    ours = recorded(range(-1, 5), np.arange(6.0), [0, 10, 20, 30, 40, 50])
    curve = aligned(points(range(6), np.arange(6.0) + 99), ours)
    assert (curve.aligned_by, curve.epochs.tolist()) == ("step", [0, 1, 2, 3, 4, 5])


def test_steps_by_batch_are_lined_up_by_the_recorded_global_steps() -> None:
    ours = recorded(range(-1, 5), np.arange(6.0), [0, 10, 20, 30, 40, 50])
    curve = aligned(points([0, 5, 10, 35, 50, 55], np.arange(6.0) + 99), ours)
    assert curve.aligned_by == "global_step"
    assert curve.epochs.tolist() == [-1, -0.5, 0, 2.5, 4, 4.5]


def test_else_by_wall_time() -> None:
    ours = recorded(range(-1, 5), np.arange(6.0) * 60)
    curve = aligned(points([0, 500, 1000, 9999], [30.0, 60.0, 90.0, 330.0]), ours)
    assert curve.aligned_by == "wall_time"
    assert curve.epochs.tolist() == [-0.5, 0, 0.5, 4.5]


def test_a_curve_from_another_time_cannot_be_lined_up() -> None:
    ours = recorded(range(-1, 5), np.arange(6.0) * 60)
    curve = aligned(points([0, 500, 1000], [1e6, 2e6, 3e6]), ours)
    assert curve.aligned_by is None
    assert np.isnan(curve.epochs).all()
    assert curve.onset is None
    assert curve.values.tolist() == [0, 500, 1000]


def test_what_is_written_in_our_own_events_is_by_epoch() -> None:
    ours = recorded([-1, 0], [10.0, 20.0])
    assert aligned(points([0, 40, 50], [20.0, 30.0, 40.0]), ours).aligned_by == "step"


def test_a_resumed_curve_is_one_line() -> None:
    ours = recorded(range(10), np.arange(10.0))
    curve = aligned(points([0, 1, 2, 3, 1, 2], range(6)), ours)
    assert curve.steps == (0, 1, 2)


def test_nothing_to_line_up() -> None:
    assert aligned([], recorded(range(3), range(3))).aligned_by is None
    assert aligned(points([1], [1.0]), recorded([], [])).aligned_by is None


def test_the_onset_follows_the_smoothing() -> None:
    losses = [3.0, 2.0, 1.4, 1.0, 1.3, 1.2, 1.25, 1.2, 1.3, 1.6, 2.0, 2.4]
    curve = [Record(step, float(step), loss) for step, loss in enumerate(losses)]
    ours = recorded(range(12), np.arange(12.0))
    epochs = [aligned(curve, ours, sigma).onset for sigma in (0, 2)]
    assert [turn.epoch for turn in epochs if turn] == [3, 5]


def test_scores_have_no_onset() -> None:
    climbing = points(range(12), np.arange(12.0))
    curve = [Record(p.step, p.wall_time, 0.2 + p.step / 20) for p in climbing]
    ours = recorded(range(12), np.arange(12.0))
    for name in ("accuracy/validation", "val_acc", "eval/f1", "lr", "top5", "val/miou"):
        assert aligned(curve, ours, name=name).onset is None, name
    for name in ("val_loss", "accuracy_loss", "perplexity", "eval/mse"):
        assert aligned(curve, ours, name=name).onset is not None, name


@given(
    st.lists(st.floats(0.1, 10) | st.just(np.nan), min_size=1, max_size=30),
    st.sampled_from([0.0, 1.0, 3.0]),
)
def test_the_interval_holds_the_onset_and_nothing_worse(losses: list[float], sigma: float) -> None:
    epochs, values = np.arange(len(losses)) * 2.0, np.array(losses)
    turn = turn_of(epochs, values, sigma)
    if turn is None:
        return
    heights = dict(zip(epochs, smooth(epochs, values, sigma), strict=True))
    known = [epoch for epoch, height in heights.items() if np.isfinite(height)]
    good = {epoch for epoch in known if heights[epoch] <= turn.loss * 1.02}
    reached = [turn.epoch]  # epoch by epoch, in both directions
    for way in (1, -1):
        place = known.index(turn.epoch) + way
        while 0 <= place < len(known) and known[place] in good:
            reached.append(int(known[place]))
            place += way
    assert (turn.first, turn.last) == (min(reached), max(reached))

"""Synthetic runs of every kind; the paper's central case among them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sparsight.diagnosis.diagnose import diagnose
from sparsight.errors import RunError
from sparsight.maths.entropy import centred_rms, entropy_ladder, rfav_entropy, rfav_rms
from sparsight.maths.onset import find_onset, smooth
from sparsight.maths.scale_pattern import FACTORS
from sparsight.runs.logdir import Loss, NamedRun, Scalar
from sparsight.runs.reader import Run, Table
from sparsight.schema import Column, LayerInfo
from sparsight.schema.evaluation import CALIBRATED_LOSS, TEMPERATURE

EPOCHS = np.arange(-1, 40)
LAYER = LayerInfo("conv1", "Conv", 32, (4, 4), 1, "linear output")
NAMES = ["entropy", "rms", "dead_fraction", "centred_rms"]
LADDER = [f"entropy_ladder_{factor}" for factor in FACTORS]

falling = 2 - EPOCHS / 50
turning = 1 + np.abs(EPOCHS - 12) / 20


def activations(scale: float, tail: float):
    normal = np.random.default_rng(0).normal(size=(50, 32))
    values = np.sign(normal) * np.abs(normal) ** tail
    return values * scale / centred_rms(values).mean()


def table(values, dead: float, ladder: bool) -> Table:
    row = [float(x.mean()) for x in (rfav_entropy(values), rfav_rms(values))]
    row += [dead, float(centred_rms(values).mean())]
    names = NAMES + (LADDER if ladder else [])
    row += entropy_ladder(values, FACTORS).mean(axis=1).tolist() if ladder else []
    columns = tuple(Column(name, "", "") for name in names)
    return Table((LAYER,), columns, np.array([row], np.float32))


def made(
    losses, *, calibrated=None, accuracy=None, scale=(1, 1), tail=(1, 1), dead=0.0, ladder=True
):
    share = np.linspace(0, 1, len(EPOCHS))
    tables = {
        int(epoch): table(
            activations(scale[0] + (scale[1] - scale[0]) * at, tail[0] + (tail[1] - tail[0]) * at),
            dead * at,
            ladder,
        )
        for epoch, at in zip(EPOCHS, share, strict=True)
    }
    scalars = {}
    if calibrated is not None:
        scalars[CALIBRATED_LOSS] = dict(zip(EPOCHS.tolist(), calibrated, strict=True))
        scalars[TEMPERATURE] = dict.fromkeys(EPOCHS.tolist(), 3.0)
    loss = (
        losses
        if losses is None
        else Loss(
            "loss/validation", EPOCHS, losses, smooth(EPOCHS, losses), find_onset(EPOCHS, losses)
        )
    )
    right = None if accuracy is None else Scalar("accuracy/validation", EPOCHS, accuracy)
    return NamedRun("net", Run(tables, scalars=scalars), (LAYER,), loss, None, right)


RISING = np.linspace(0.1, 0.5, len(EPOCHS))
FALLING_LATE = np.minimum(RISING, 0.6 - RISING)


@pytest.mark.parametrize(
    ("losses", "calibrated", "accuracy", "kind"),
    [
        (falling, falling, RISING, "none"),
        (turning, falling, RISING, "overconfidence"),
        (turning, turning, RISING, "both"),
        (falling, falling, FALLING_LATE, "memorising"),
        (turning, None, RISING, "cannot tell"),
        (turning, None, FALLING_LATE, "memorising"),
        (None, None, None, "cannot tell"),
        (np.full(len(EPOCHS), np.nan), None, None, "cannot tell"),
    ],
)
def test_kinds(losses, calibrated, accuracy, kind: str) -> None:
    assert diagnose(made(losses, calibrated=calibrated, accuracy=accuracy)).kind == kind


@pytest.mark.parametrize(
    ("scale", "tail", "dead", "ladder", "cause"),
    [
        ((1, 1), (1, 1), 0.0, True, "none"),
        ((0.5, 8), (1, 1), 0.0, True, "scale"),
        ((2, 2), (1, 4), 0.0, True, "pattern"),  # the paper's central case
        ((0.5, 8), (1, 1), 0.0, False, "cannot tell"),
        ((1, 1), (1, 1), 0.9, True, "dead"),
        ((0.01, 100), (1, 1), 0.0, True, "cannot tell"),
    ],
)
def test_causes(scale, tail, dead: float, ladder: bool, cause: str) -> None:
    found = diagnose(made(turning, scale=scale, tail=tail, dead=dead, ladder=ladder)).layers[0]
    assert found.cause == cause


def test_sentences() -> None:
    found = diagnose(made(turning, calibrated=falling, accuracy=RISING))
    assert found.sentences[0].startswith("Validation loss turned at epoch 12 (")
    assert found.sentences[1] == "At the best temperature the loss has not turned: 1.22."
    assert found.confidence == "usual"
    missing = diagnose(made(None))
    assert missing.sentences[0] == (
        "Cannot tell whether it overfits: 0 validation losses are recorded; 4 are the least that "
        "can show a turn."
    )
    assert missing.confidence == "low"


def test_scale_is_never_called_a_pattern_that_thins_out() -> None:
    found = diagnose(made(turning, scale=(0.5, 8))).layers[0]
    assert found.split is not None
    assert found.split.pattern == pytest.approx(0, abs=0.04)
    assert math.isclose(found.split.ratio, 16, rel_tol=1e-3)


def test_an_empty_directory_is_an_error(tmp_path) -> None:
    with pytest.raises(RunError, match="holds no event file"):
        diagnose(tmp_path)


def test_what_was_never_learned_did_not_turn() -> None:
    found = diagnose(made(falling, accuracy=np.linspace(0.35, 0.2, len(EPOCHS))))
    assert found.kind == "none"

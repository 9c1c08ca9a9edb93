"""The demo's data: few samples, some of them wrongly labelled, so that overfitting is plain."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sparsight.errors import MissingExtraError

__all__ = ["SIDE", "Digits", "load_digits"]

SIDE = 16
TRAINING, PROBES = 500, 200
WRONG_LABELS = 0.2


@dataclass(frozen=True)
class Digits:
    """Images [N, 1, 16, 16] in [0, 1] and labels; the training labels are partly wrong."""

    images: Tensor
    labels: Tensor
    probes: Tensor
    validation_images: Tensor
    validation_labels: Tensor


def load_digits() -> Digits:
    """scikit-learn's digits, enlarged: 500 for training, 200 probes, the rest for validation."""
    try:
        from sklearn.datasets import load_digits as load
    except ImportError:
        raise MissingExtraError("scikit-learn", "demo", "The demo") from None
    data = load()
    random = np.random.default_rng(0)
    order = random.permutation(len(data.images))
    small = torch.from_numpy(data.images[order]).float()[:, None] / 16
    images = F.interpolate(small, size=(SIDE, SIDE), mode="bilinear")
    labels = torch.from_numpy(data.target[order])
    validation = slice(TRAINING + PROBES, None)
    given = labels[:TRAINING].clone()
    wrong = torch.from_numpy(random.random(TRAINING) < WRONG_LABELS)
    given[wrong] = torch.from_numpy(random.integers(0, 10, int(wrong.sum())))
    return Digits(
        images=images[:TRAINING],
        labels=given,
        probes=images[TRAINING : TRAINING + PROBES],
        validation_images=images[validation],
        validation_labels=labels[validation],
    )

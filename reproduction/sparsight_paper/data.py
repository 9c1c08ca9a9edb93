"""The data of one experiment: decoded once, kept as bytes on its device, probes held out."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .formats import DATASETS, DataError, folder_of, read_split

__all__ = ["ExperimentData", "data_folder", "load_data", "scaled"]

_PROBE_SEED = 2020  # which images are probes is the same for every network and seed


@dataclass(frozen=True)
class ExperimentData:
    """Images uint8 [N, 3, side, side] and labels int64 [N], all on one device."""

    images: Tensor
    labels: Tensor
    validation_images: Tensor
    validation_labels: Tensor
    probes: Tensor
    probe_indices: tuple[int, ...]
    """Positions of the probes in the published training split; none of them is in `images`."""
    classes: int
    probe_labels: Tensor | None = None
    """Labels of the probes; None where they are not known."""

    @property
    def side(self) -> int:
        """Height and width of the images."""
        return int(self.images.shape[-1])


def scaled(images: Tensor) -> Tensor:
    """Images as networks take them: float32 in [0, 1]."""
    return images.float().div_(255)


def data_folder(given: Path | None = None) -> Path:
    """Where data sets are: what was given, else SPARSIGHT_DATA, else the user's cache."""
    named = os.environ.get("SPARSIGHT_DATA")
    if given is not None or named:
        return given or Path(named or "")
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "sparsight" / "data"


def load_data(
    name: str,
    root: Path,
    *,
    training: int | None = None,
    validation: int | None = None,
    probes: int = 1000,
    device: torch.device | str = "cpu",
) -> ExperimentData:
    """Read a data set from its folder within `root`, and hold `probes` images out of training.

    `training` images are trained on: those of the first `training + probes` published ones that
    are no probes; None: all that are. `validation`: the first images of the validation split.
    Raises DataError where the data set is not there or incomplete.
    """
    folder = folder_of(name, root)
    if folder is None:
        wanted = " or ".join(DATASETS[name].folders)
        raise DataError(f"{root} holds no {DATASETS[name].title}: expected a folder {wanted}")
    limit = None if training is None else training + probes
    images, labels = read_split(name, folder, "training", limit)
    others, other_labels = read_split(name, folder, "validation", validation)
    held_out = np.random.default_rng(_PROBE_SEED).permutation(len(images))[:probes]
    held_out.sort()
    trained = np.setdiff1d(np.arange(len(images)), held_out)
    if not len(trained) or len(held_out) < probes:
        raise DataError(f"{probes} probes out of {len(images)} images leave nothing to train on")
    return ExperimentData(
        images=torch.from_numpy(images[trained]).to(device),
        labels=torch.from_numpy(labels[trained]).to(device),
        validation_images=torch.from_numpy(others).to(device),
        validation_labels=torch.from_numpy(other_labels).to(device),
        probes=torch.from_numpy(images[held_out]).to(device),
        probe_indices=tuple(int(index) for index in held_out),
        classes=DATASETS[name].classes,
        probe_labels=torch.from_numpy(labels[held_out]).to(device),
    )

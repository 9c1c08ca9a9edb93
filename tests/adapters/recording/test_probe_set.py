"""Probes from what people have: tensors, data sets, loaders."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset
from torch.utils.data.distributed import DistributedSampler

from sparsight.errors import ProbeError
from sparsight_torch import Recorder, measure
from sparsight_torch.recording.probe_set import ProbeSet


def samples(number: int = 10) -> tuple[Tensor, Tensor]:
    return torch.arange(float(3 * number)).reshape(number, 3), torch.arange(number)


class Items(Dataset):
    """Samples made by a function of their index."""

    def __init__(self, make, number: int = 10) -> None:
        self.make, self.number = make, number

    def __len__(self) -> int:
        return self.number

    def __getitem__(self, index: int):
        return self.make(index)


class Stream(IterableDataset):
    def __iter__(self):
        yield from zip(*samples(3000), strict=True)


class Duck:
    """Neither torch's, nor a sequence: as the data sets of Hugging Face are."""

    def __len__(self) -> int:
        return 10

    def __getitem__(self, index: int) -> dict:
        return {"x": samples()[0][index], "label": 3}


IMAGES, LABELS = samples()


@pytest.mark.parametrize(
    "probes",
    [
        TensorDataset(IMAGES),
        TensorDataset(IMAGES, LABELS),
        Items(lambda index: IMAGES[index]),
        Items(lambda index: (IMAGES[index].numpy(), 3)),
        Items(lambda index: ((IMAGES[index],), "a label")),
        DataLoader(TensorDataset(IMAGES, LABELS), batch_size=4),
        DataLoader(TensorDataset(IMAGES, LABELS), batch_size=4, sampler=range(10)),
        DataLoader(TensorDataset(IMAGES, LABELS), batch_size=None),
        DataLoader(IMAGES, batch_size=3, collate_fn=torch.stack),
    ],
)
def test_inputs_are_taken_and_labels_left(probes):
    if isinstance(probes, DataLoader) and probes.batch_size is None:
        probes = DataLoader([(IMAGES[:4], LABELS[:4]), (IMAGES[4:], LABELS[4:])], batch_size=None)
    probe_set = ProbeSet.of(probes)
    assert probe_set.names is None
    assert len(probe_set.tensors) == 1
    assert torch.equal(probe_set.tensors[0], IMAGES)


@pytest.mark.parametrize(
    "probes",
    [
        Duck(),
        DataLoader(Duck(), batch_size=3),
        Items(lambda index: {"x": IMAGES[index], "labels": index}),
        Items(lambda index: ({"x": IMAGES[index]}, index)),
    ],
)
def test_dictionaries_are_inputs_by_keyword(probes):
    probe_set = ProbeSet.of(probes)
    assert probe_set.names == ("x",)
    assert torch.equal(probe_set.tensors[0], IMAGES)


def test_several_inputs():
    pair = Items(lambda index: ((IMAGES[index], LABELS[index]), 0))
    assert [len(tensor) for tensor in ProbeSet.of(pair).tensors] == [10, 10]


@pytest.mark.parametrize("loader", [False, True])
def test_at_most_1000_spread_over_a_data_set(loader):
    """Which may be sorted by class."""
    data = TensorDataset(*samples(2500))
    probe_set = ProbeSet.of(DataLoader(data, batch_size=64) if loader else data)
    indices = probe_set.tensors[0][:, 0] / 3
    assert len(indices) == 1000
    assert (indices[0], indices[1], indices[2], indices[-1]) == (0, 2, 5, 2497)


@pytest.mark.parametrize("loader", [False, True])
def test_the_first_1000_of_a_stream(loader):
    probe_set = ProbeSet.of(DataLoader(Stream(), batch_size=64) if loader else Stream())
    assert torch.equal(probe_set.tensors[0], samples(1000)[0])


@pytest.mark.parametrize(
    ("probes", "message"),
    [
        (DataLoader(TensorDataset(IMAGES), shuffle=True), "shuffles"),
        (
            DataLoader(
                TensorDataset(IMAGES),
                sampler=DistributedSampler(TensorDataset(IMAGES), 2, 0),
            ),
            "each process different samples",
        ),
        (TensorDataset(IMAGES, IMAGES, LABELS), "list of 3 parts; .* Pass the inputs"),
        (Items(lambda index: IMAGES[: index + 1]), "cannot take probes from this Items: .*size"),
        (Items(lambda index: object()), "cannot take probes from this Items"),
        (Items(lambda index: {"x": "text"}), "probes are a list"),
        (Items(lambda index: {"label": index}), "is empty"),
        (Items(lambda index: IMAGES[index], 0), "is empty"),
        (
            DataLoader([torch.ones(2, 3), torch.ones(2, 5)], batch_size=None),
            r"input 0 have different shapes, such as \(3,\) and \(5,\)",
        ),
    ],
)
def test_what_gives_no_probes_gets_a_sentence(probes, message):
    with pytest.raises(ProbeError, match=message):
        ProbeSet.of(probes)


def test_probes_are_drawn_once_and_random_numbers_are_as_before(tmp_path):
    """A Dataset that augments gives other samples each time; a run measures the same ones."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    augmented = Items(lambda index: (torch.randn(3), index))
    before = torch.get_rng_state()
    with Recorder(model, augmented, tmp_path) as recorder:
        first, second = recorder.record(0), recorder.record(1)
        assert torch.equal(before, torch.get_rng_state())
    np.testing.assert_array_equal(first[0].maps, second[0].maps)
    again = measure(model, augmented)  # and the same whenever the run goes on
    assert again[0].statistics["entropy"] == first[0].statistics["entropy"]

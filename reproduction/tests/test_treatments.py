"""What is done against overfitting: each treatment does what its name says, and nothing else."""

import json
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from sparsight.errors import UsageError
from sparsight_paper.cells import PRESETS, Cell, Protocol
from sparsight_paper.data import ExperimentData, scaled
from sparsight_paper.execution import Execution
from sparsight_paper.networks import NETWORKS
from sparsight_paper.training import Training, train_epoch
from sparsight_paper.treatments import (
    TREATMENTS,
    OutputPenalty,
    Treatment,
    flipped_and_shifted,
)

WEAKEST = {name: Treatment(name, spec.strengths[0]) for name, spec in TREATMENTS.items()}
PROTOCOL = Protocol("test", sgd_rate=0.05)


@pytest.fixture(scope="module")
def data():
    random = torch.Generator().manual_seed(1)
    images = torch.randint(256, (16, 3, 32, 32), generator=random).to(torch.uint8)
    labels = torch.arange(16) % 10
    return ExperimentData(images, labels, images, labels, images, (), 10, labels)


def training_of(treatment, data, protocol=PROTOCOL, seed=0):
    cell = Cell("vanillaNet", "s", "cifar-10", seed=seed, treatment=treatment)
    return Training(cell, protocol, data, Execution())


def weights_of(training):
    return {name: value.clone() for name, value in training.model.state_dict().items()}


@pytest.mark.parametrize("name", [name for name in TREATMENTS if name != "none"])
def test_a_treatment_changes_the_training_and_not_what_it_begins_with(name, data):
    plain, treated = training_of(WEAKEST["none"], data), training_of(WEAKEST[name], data)
    mine, theirs = weights_of(plain), weights_of(treated)
    assert all(torch.equal(value, theirs[key]) for key, value in mine.items())
    for training in (plain, treated):
        train_epoch(training)
    assert not torch.equal(weights_of(plain)["fc1.weight"], weights_of(treated)["fc1.weight"])
    assert torch.equal(plain.order.get_state(), treated.order.get_state())


def test_no_treatment_is_the_papers_network(data):
    mine = training_of(WEAKEST["none"], data)
    papers = Training(Cell("vanillaNet", "s", "cifar-10"), PROTOCOL, data, Execution())
    assert train_epoch(mine) == train_epoch(papers)
    ours, theirs = weights_of(mine), weights_of(papers)
    assert all(torch.equal(value, theirs[key]) for key, value in ours.items())


@pytest.mark.parametrize("name", TREATMENTS)
def test_every_strength_is_another_training(name, data):
    found = []
    for strength in TREATMENTS[name].strengths:
        training = training_of(Treatment(name, strength), data)
        train_epoch(training)
        found.append(weights_of(training)["fc1.weight"])
    assert all(not torch.equal(found[0], other) for other in found[1:])


def outputs_of(training, data, layers):
    kept = {}
    hooks = [
        training.model.get_submodule(layer).register_forward_hook(
            lambda module, inputs, output, layer=layer: kept.update({layer: output})
        )
        for layer in layers
    ]
    training.model.train()
    training.model(scaled(data.images))
    for hook in hooks:
        hook.remove()
    return {layer: output.detach().double() for layer, output in kept.items()}


def positions(output):
    """[N, positions, D]."""
    return output.flatten(2).transpose(1, 2) if output.ndim > 2 else output[:, None]


def half_mean_square(row):
    return float((row**2).mean() / 2)


def minus_scale_free_entropy(row):
    chances = torch.softmax(row / (row**2).mean().sqrt(), 0)
    return float((chances * chances.log()).sum())


@pytest.mark.parametrize(
    ("name", "of"), [("activation", half_mean_square), ("pattern", minus_scale_free_entropy)]
)
def test_penalties_on_outputs_row_by_row(name, of, data):
    training = training_of(Treatment(name, 0.003), data)
    outputs = outputs_of(training, data, NETWORKS["sr2Net"].sparsity)
    slow = sum(
        of(row) / len(output)
        for output in outputs.values()
        for sample in positions(output)
        for row in sample
    )
    (penalty,) = training.penalties.values()
    assert float(penalty().detach()) == pytest.approx(0.003 * slow, rel=1e-4)


def test_logit_l2(data):
    training = training_of(Treatment("logit-l2", 0.03), data)
    training.model.train()
    logits = training.model(scaled(data.images))
    (penalty,) = training.penalties.values()
    assert float(penalty().detach()) == pytest.approx(
        0.03 * float((logits**2).mean().detach()), rel=1e-5
    )


def test_small_activations_are_pulled_alike_by_sparsity_and_activation_penalties():
    """H = ln D - Var / 2: what the comparison of equal lambdas rests on."""
    rows = torch.randn(6, 32, 3, 3, generator=torch.Generator().manual_seed(0))
    rows = 0.01 * (rows - rows.mean(1, keepdim=True))
    model = nn.Identity()
    gradients = []
    for name in ("sparsity", "activation"):
        values = rows.clone().requires_grad_()
        if name == "activation":
            holder = nn.Sequential(model)
            penalty = OutputPenalty(
                holder, {"0": 1.0}, lambda a: a.square().mean(1).sum() / (2 * len(a))
            )
            holder(values)
            penalty().backward()
        else:
            chances = torch.softmax(values, 1)
            (chances * chances.log()).sum().div(len(values)).backward()
        gradients.append(values.grad)
    assert torch.allclose(gradients[0], gradients[1], rtol=0.1, atol=2e-6)


def test_a_penalty_on_outputs_needs_a_forward_with_gradients():
    model = nn.Sequential(nn.Linear(2, 3))
    penalty = OutputPenalty(model, {"0": 2.0}, lambda output: output.sum())
    with torch.no_grad():
        model(torch.ones(1, 2))
    with pytest.raises(UsageError, match="without a forward"):
        penalty()
    output = model(torch.ones(1, 2))
    assert float(penalty().detach()) == pytest.approx(2 * float(output.detach().sum()))
    with pytest.raises(UsageError, match="without a forward"):
        penalty()


def test_each_image_is_flipped_and_shifted_on_its_own():
    images = torch.rand(40, 2, 7, 6, generator=torch.Generator().manual_seed(3))
    torch.manual_seed(5)
    moved = flipped_and_shifted(images, 2)
    torch.manual_seed(5)
    flips = torch.rand(40) < 0.5
    down, right = torch.randint(0, 5, (2, 40))
    for at, image in enumerate(images.numpy()):
        padded = np.pad(image, ((0, 0), (2, 2), (2, 2)))
        slow = padded[:, down[at] : down[at] + 7, right[at] : right[at] + 6]
        slow = slow[:, :, ::-1] if flips[at] else slow
        assert np.array_equal(moved[at].numpy(), slow)
    assert 8 < flips.sum() < 32
    assert {*down.tolist()} == {*right.tolist()} == {0, 1, 2, 3, 4}


def test_mixup_mixes_images_and_labels_by_the_same_share(data):
    treatment = Treatment("mixup", 1.0)
    images = scaled(data.images)
    torch.manual_seed(0)
    mixed, partners, share = treatment.mix(images)
    assert 0 < share < 1
    assert sorted(partners.tolist()) == list(range(16))
    assert torch.allclose(mixed[3], share * images[3] + (1 - share) * images[partners[3]])

    training = training_of(treatment, data)
    torch.manual_seed(0)
    seen = []
    training.forward = lambda given: seen.append(given) or training.model(given)
    recorded = train_epoch(training)["loss"]
    again = training_of(treatment, data)
    order = torch.randperm(16, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(seen[0], treatment_of(images[order], partners, share), atol=1e-6)
    logits = again.model(seen[0])
    labels = data.labels[order]
    slow = share * F.cross_entropy(logits, labels)
    slow += (1 - share) * F.cross_entropy(logits, labels[partners])
    assert recorded == pytest.approx(float(slow.detach()), rel=1e-5)


def treatment_of(images, partners, share):
    return share * images + (1 - share) * images[partners]


def test_label_smoothing_is_trained_on_and_not_recorded(data):
    logits = torch.randn(4, 10, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([1, 2, 3, 4])
    chances = torch.log_softmax(logits, 1)
    target = torch.full((4, 10), 0.2 / 10)
    target[torch.arange(4), labels] += 0.8
    smoothed = Treatment("label-smoothing", 0.2).loss(logits, labels)
    assert float(smoothed) == pytest.approx(float(-(target * chances).sum(1).mean()), rel=1e-6)
    plain, treated = (training_of(x, data) for x in (None, Treatment("label-smoothing", 0.4)))
    assert train_epoch(plain)["loss"] == train_epoch(treated)["loss"]  # before the first step


def test_weight_decay_pulls_every_weight(data):
    plain, treated = (training_of(x, data) for x in (None, Treatment("weight-decay", 0.01)))
    before = weights_of(plain)["conv3.weight"]
    for training in (plain, treated):
        train_epoch(training)
    difference = weights_of(treated)["conv3.weight"] - weights_of(plain)["conv3.weight"]
    assert torch.allclose(difference, -0.05 * 0.01 * before, atol=1e-7)


def test_dropout_and_batch_normalisation_stand_where_the_strength_says(data):
    def kinds(treatment, kind):
        model = training_of(treatment, data).model
        return [name for name, module in model.named_modules() if isinstance(module, kind)]

    half = training_of(Treatment("dropout", 0.5), data).model
    assert [m.p for m in half.modules() if isinstance(m, nn.Dropout)] == [0.5, 0.5]
    one, two = (Treatment("batch-normalisation", strength) for strength in (1, 2))
    assert kinds(one, nn.BatchNorm2d) == ["block1", "block2"]
    assert len(kinds(two, nn.BatchNorm2d)) == 4


@pytest.mark.parametrize(
    ("name", "strength", "augmented", "message"),
    [
        ("weight-decy", 0.003, False, "did you mean 'weight-decay'"),
        ("weight-decay", 0.5, False, r"expected one of 0.001, 0.003, 0.01"),
        ("none", 0, True, "takes no flip and shift beside it"),
    ],
)
def test_no_such_treatment(name, strength, augmented, message):
    with pytest.raises(UsageError, match=message):
        Treatment(name, strength, augmented)


def test_only_the_plain_network_is_treated():
    with pytest.raises(UsageError, match="sr2Net takes no treatment"):
        Cell("sr2Net", "s", "cifar-10", treatment=WEAKEST["none"])


def test_cells_of_the_studies_are_told_apart_and_can_be_read_back():
    cells = [cell for name in PRESETS if name.startswith("rivals") for cell in PRESETS[name].cells]
    assert len({cell.name for cell in cells}) == len(cells) == len(set(cells))
    for cell in cells:
        assert Cell.from_settings(json.loads(json.dumps(cell.settings()))) == cell
    assert "treatment" not in Cell("vanillaNet", "s", "cifar-10").settings()


def test_the_six_that_matter_come_first_seed_by_seed():
    cells = PRESETS["rivals"].cells
    matters = [TREATMENTS[cell.treatment.name].matters for cell in cells]
    assert matters == sorted(matters, reverse=True)
    assert sum(spec.matters for spec in TREATMENTS.values()) == 6
    first = [cell.seed for cell in cells if TREATMENTS[cell.treatment.name].matters]
    assert first == sorted(first)
    assert {spec.strengths for spec in TREATMENTS.values() if len(spec.strengths) > 3} == set()
    assert math.prod(len(spec.strengths) for spec in TREATMENTS.values()) == 2 * 3**11

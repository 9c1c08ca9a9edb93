import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from sparsight.errors import TargetError, UsageError
from sparsight_torch.targets import filters, measurable_layers, select_targets


def network() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 8, 3), nn.Flatten(), nn.Linear(8, 2)
    )


def chosen(selection, **options) -> dict:
    targets = select_targets(network(), selection, "lambda", **options)
    return {target.name: target.strength for target in targets}


def test_names_globs_and_types():
    assert chosen({"4": 1.0, "0": 2}) == {"0": 2, "4": 1.0}  # in order of definition
    assert chosen({"*": 1.0, "2": 3.0}) == {"0": 1.0, "2": 3.0, "4": 1.0}
    assert chosen({nn.Conv2d: 1.0}) == {"0": 1.0, "2": 1.0}
    assert chosen({"1": 1.0}, any_module=True) == {"1": 1.0}


def test_the_model_itself_may_be_the_layer():
    assert list(measurable_layers(nn.Linear(2, 3))) == ["model"]


def test_a_file_of_targets(tmp_path):
    path = tmp_path / "targets.toml"
    path.write_text('[0]\nlambda = 1e-3\nkappa = 1.0\n["2"]\nlambda = 2e-3\n')
    assert chosen(path) == {"0": 1e-3, "2": 2e-3}
    assert [t.name for t in select_targets(network(), str(path), "kappa")] == ["0"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[0\n", "no TOML file"),
        ("[0]\nkappa = 1\n", "gives no layer a lambda"),
        ("[0]\nlamda = 1\n", "not 'lamda'"),
        ("lambda = 1\n", "not 'lambda'"),
    ],
)
def test_wrong_files_get_a_sentence(tmp_path, content, message):
    path = tmp_path / "targets.toml"
    path.write_text(content)
    with pytest.raises(TargetError, match=message):
        chosen(path)


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        ({}, "there are: 0, 2, 4"),
        ({"conv1": 1.0}, "no layer 'conv1'; there are: 0, 2, 4"),
        ({"1": 1.0}, "'1' is a ReLU"),
        ({nn.Conv1d: 1.0}, "of type Conv1d"),
        ({"0": "much"}, "a number was wanted"),
        ("missing.toml", "cannot read"),
    ],
)
def test_wrong_targets_get_a_sentence(selection, message):
    with pytest.raises(TargetError, match=message):
        chosen(selection)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize(
    "kind", [nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d]
)
def test_filters_are_what_an_output_channel_sees(kind, groups):
    """Perturb one filter: only its own channel may change, whatever the layout of the weights."""
    torch.manual_seed(0)
    layer = kind(4, 6, 3, groups=groups, bias=False)
    dims = 1 if "1d" in kind.__name__ else 2 if "2d" in kind.__name__ else 3
    inputs = torch.randn(1, 4, *[5] * dims)
    for channel in range(6):
        rows = filters(layer)
        assert rows.shape == (6, 4 // groups * 3**dims)
        (gradient,) = torch.autograd.grad(rows[channel].sum(), layer.weight)
        layer.zero_grad()
        output = layer(inputs)
        (used,) = torch.autograd.grad(output[:, channel].sum(), layer.weight)
        assert ((used != 0) <= (gradient != 0)).all()


def test_parametrised_layers_have_the_filters_they_compute_with():
    layer = parametrizations.weight_norm(nn.Linear(4, 3))
    torch.testing.assert_close(filters(layer), layer.weight)


def test_lazy_layers_before_their_first_forward():
    with pytest.raises(UsageError, match="before the first forward"):
        filters(nn.LazyConv2d(4, 3))

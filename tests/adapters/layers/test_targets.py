import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.utils import parametrizations

from sparsight.errors import TargetError, UsageError
from sparsight_torch import DecorrReg, OnnxExporter, SparsityReg, measure
from sparsight_torch.layers.targets import channel_axis, filters, measurable_layers, select_targets


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
        ("[0\n", "as TOML"),
        ("[0]\nkappa = 1\n", "sets no lambda for any layer"),
        ("[0]\nlamda = 1\n", "not 'lamda'"),
        ("lambda = 1\n", "not 'lambda'"),
        ("[net.0]\nlambda = 1\n", r'\["net.0"\] instead of \[net.0\]'),
        ("net.0.fc.lambda = 1\n", r'quote names with dots: \["net.0.fc"\]'),
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
        ({"0": "much"}, "a finite number"),
        ({"0": torch.nan}, "a finite number"),
        ({"0": True}, "a finite number"),
        ({"0": torch.ones(2)}, "a finite number"),
        ({nn.ReLU(): 1.0}, "a target is given as a ReLU; expected its name"),
        ({3: 1.0}, "3 cannot be a target; expected a layer's name"),
        (["0", "2"], r"""need strengths: \{"0": 1e-3, "2": 1e-3\} instead of"""),
        ("0", r"""need strengths: \{"0": 1e-3\}"""),
        (None, "cannot use None as targets; expected strengths by layer"),
        (1e-3, r"cannot use 0\.001 as targets; expected strengths by layer"),
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
    with pytest.raises(UsageError, match="has no weights yet"):
        filters(nn.LazyConv2d(4, 3))


def test_a_schedule_that_gives_no_number_gets_a_sentence():
    (target,) = select_targets(network(), {"0": lambda step: None}, "lambda")
    with pytest.raises(UsageError, match="schedule of '0' returned None at step 3"):
        target.strength_at(3)


def test_conv1d_of_transformers_is_a_dense_layer():
    """GPT-2's dense layers: weights [C, D], one filter a column."""
    Conv1D = pytest.importorskip("transformers.pytorch_utils").Conv1D
    torch.manual_seed(0)
    layer = Conv1D(5, 3)
    dense = nn.Linear(3, 5)
    with torch.no_grad():
        dense.weight.copy_(layer.weight.T)
    assert list(measurable_layers(nn.Sequential(layer, nn.ReLU()))) == ["0"]
    assert channel_axis(layer) == -1
    torch.testing.assert_close(filters(layer), filters(dense))
    tokens = torch.randn(2, 7, 3)
    penalties = [SparsityReg(model, {"model": 1.0}) for model in (layer, dense)]
    nn.init.zeros_(dense.bias)
    torch.testing.assert_close(layer(tokens), dense(tokens))
    torch.testing.assert_close(penalties[0](), penalties[1]())
    torch.testing.assert_close(
        DecorrReg(layer, {"model": 1.0})(), DecorrReg(dense, {"model": 1.0})()
    )


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Linear(4, 4)
        self.decoder = self.encoder
        self.out = nn.Linear(4, 2)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.out(self.decoder(self.encoder(inputs)))


@pytest.mark.parametrize("entry", ["encoder", "decoder", "dec*"])
def test_a_tied_module_is_known_by_each_of_its_names(entry):
    model = Tied()
    (target,) = select_targets(model, {entry: 1.0}, "lambda")
    assert (target.name, target.module) == ("encoder", model.encoder)
    found = measure(model, torch.randn(3, 4), layers=[entry])
    assert [measurement.layer.name for measurement in found] == ["encoder", "encoder#2"]


def test_layers_may_be_one_name():
    found = measure(Tied(), torch.randn(3, 4), layers="out")
    assert [measurement.layer.name for measurement in found] == ["out"]


SCRIPTING = pytest.mark.filterwarnings("ignore:.torch.jit.*:DeprecationWarning")


@SCRIPTING
@pytest.mark.parametrize("make", [torch.jit.script, lambda m: torch.jit.trace(m, torch.ones(2, 4))])
def test_scripted_and_traced_networks_get_a_sentence(make):
    compiled = make(Tied())
    for use in (
        lambda: SparsityReg(compiled, {"encoder": 1.0}),
        lambda: DecorrReg(compiled, {"encoder": 1.0}),
        lambda: measure(compiled, torch.randn(3, 4)),
        lambda: OnnxExporter(compiled, torch.randn(3, 4)),
    ):
        with pytest.raises(UsageError, match=r"torch\.jit scripted or traced"):
            use()
    mixed = nn.Sequential(nn.Linear(4, 4), compiled)
    with pytest.raises(TargetError, match=r"'1.encoder' was scripted or traced"):
        SparsityReg(mixed, {"1.encoder": 1.0})
    with pytest.raises(TargetError, match=r"'1.encoder' was scripted or traced"):
        SparsityReg(mixed, {"1.encoder": 1.0}, at="activation")


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")
def test_fsdp1_gets_a_sentence(tmp_path):
    from torch.distributed.fsdp import FullyShardedDataParallel

    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/meet", rank=0, world_size=1)
    try:
        model = FullyShardedDataParallel(Tied(), device_id=torch.device("cpu"))
        for use in (
            lambda: SparsityReg(model, {"encoder": 1.0}),
            lambda: DecorrReg(nn.Sequential(model), {"0.encoder": 1.0}),
            lambda: measure(model, torch.randn(3, 4)),
        ):
            with pytest.raises(UsageError, match=r"use torch\.distributed\.fsdp\.fully_shard"):
                use()
    finally:
        dist.destroy_process_group()


def test_what_is_no_network_gets_a_sentence():
    with pytest.raises(UsageError, match="the network is a list"):
        SparsityReg(list(Tied().parameters()), {"encoder": 1.0})

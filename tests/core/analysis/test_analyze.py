import numpy as np
import pytest
from tests.core import graphs, reference
from tests.core.small_cnn import PROBES, WEIGHTS, assert_same, network

import sparsight
from sparsight import schema
from sparsight.analysis.analyze import Settings
from sparsight.errors import ModelError, ProbeError, TargetError, UsageError
from sparsight.maths.correlation import correlation_summary
from sparsight.probes.probe_set import InputSpec, load_probes, match_probes

node = graphs.node


def test_the_whole_measurement_against_the_reference():
    first, second = sparsight.analyze(network(), PROBES, device="cpu", shown=3)
    assert [first.layer.name, second.layer.name] == ["conv1", "conv2"]
    for measured, tensor in ((first, "a"), (second, "c")):
        (values,) = reference.tensors_of(network(), {"x": PROBES}, tensor)
        entropy = reference.over_rfavs(reference.entropy, values)
        statistics = measured.statistics
        assert statistics["entropy"] == pytest.approx(entropy.mean(), abs=1e-5)
        assert statistics["entropy_std"] == pytest.approx(entropy.std(), abs=1e-4)
        for percent in (5, 50, 95):
            wanted = np.percentile(entropy, percent, method="inverted_cdf")
            assert statistics[f"entropy_p{percent}"] == pytest.approx(wanted, abs=0.001)
        wanted = reference.over_rfavs(reference.scale_free, values).mean()
        assert statistics["scale_free_entropy"] == pytest.approx(wanted, abs=1e-5)
        assert statistics["rms"] == pytest.approx(np.sqrt((values**2).mean()), rel=1e-5)
        dead = (values <= 0).all(axis=(0, 2, 3)).mean()
        assert statistics["dead_fraction"] == pytest.approx(dead)
        assert statistics["zero_fraction"] == pytest.approx((values <= 0).mean())
        assert statistics["nan_share"] == 0
        assert set(statistics) == {column.name for column in schema.COLUMNS}
        spread = [0, (len(PROBES) - 1) // 2, len(PROBES) - 1]
        np.testing.assert_allclose(measured.maps, entropy[spread], atol=1e-5)
        np.testing.assert_allclose(measured.mean_map, entropy.mean(axis=0), atol=1e-5)
        assert measured.layer.map_shape == entropy.shape[1:]
        assert measured.shown == tuple(spread)
        wanted = correlation_summary(WEIGHTS[f"{measured.layer.name}.weight"])
        np.testing.assert_array_equal(measured.correlation.counts, wanted.counts)


@pytest.mark.parametrize("batch_size", [1, 4, 11, 100])
def test_the_batch_size_changes_nothing(batch_size):
    wanted = sparsight.analyze(network(), PROBES, device="cpu", batch_size=3)
    assert_same(sparsight.analyze(network(), PROBES, device="cpu", batch_size=batch_size), wanted)


@pytest.mark.parametrize("batch", [1, 4, 16])
def test_a_fixed_batch_changes_nothing(batch):
    wanted = sparsight.analyze(network(), PROBES, device="cpu")
    assert_same(sparsight.analyze(network(batch), PROBES, device="cpu"), wanted)


def test_a_changed_weight_changes_the_measurement():
    before = sparsight.analyze(network(), PROBES, device="cpu")
    content = network()
    changed = WEIGHTS["conv1.weight"].copy()
    changed[0, 0, 0, 0] += 1
    other = content.replace(WEIGHTS["conv1.weight"].tobytes(), changed.tobytes())
    after = sparsight.analyze(other, PROBES, device="cpu")
    with pytest.raises(AssertionError):
        assert_same(before, after)


def test_statistics_on_request():
    (first, _) = sparsight.analyze(network(), PROBES, statistics="entropy", device="cpu")
    finite = {name for name, value in first.statistics.items() if np.isfinite(value)}
    assert finite == {
        "entropy",
        "entropy_std",
        "entropy_p5",
        "entropy_p50",
        "entropy_p95",
        "nan_share",
    }
    assert first.correlation is None
    (first, _) = sparsight.analyze(network(), PROBES, statistics=["rms"], device="cpu")
    assert np.isfinite(first.statistics["rms"])
    assert np.isnan(first.statistics["scale_free_entropy"])
    with pytest.raises(UsageError, match="unknown statistic 'rmss'; did you mean 'rms'"):
        Settings(statistics="rmss")


def test_layers_on_request():
    (only,) = sparsight.analyze(network(), PROBES, layers=["fc"], device="cpu")
    assert only.layer.name == "fc"
    assert only.layer.map_shape == (1, 1)
    with pytest.raises(TargetError, match="no layer 'conv9'"):
        sparsight.analyze(network(), PROBES, layers=["conv9"])


def test_a_model_of_nothing_but_output_layers_has_them_measured(caplog):
    weights = {"mean.weight": graphs.random((6, 3)), "variance.weight": graphs.random((6, 4))}
    nodes = [node("Gemm", "x mean.weight", "m"), node("Gemm", "x variance.weight", "v")]
    content = graphs.model(nodes, {"x": ["n", 6]}, ["m", "v"], weights)
    with caplog.at_level("INFO", "sparsight"):
        measured = sparsight.analyze(content, graphs.random((3, 6)), device="cpu")
    assert [part.layer.name for part in measured] == ["mean", "variance"]
    assert "all layers are output layers" in caplog.text


def test_layers_that_cannot_be_measured_are_told_beside_output_layers_that_are(caplog):
    weights = {"out.weight": graphs.random((6, 3))}
    nodes = [node("Transpose", "x", "t"), node("MatMul", "x t", "p"), node("MatMul", "p x", "q")]
    nodes += [node("Gemm", "q out.weight", "y")]
    content = graphs.model(nodes, {"x": [3, 6]}, ["y"], weights)
    with caplog.at_level("INFO", "sparsight"):
        sparsight.analyze(content, graphs.random((3, 6)), device="cpu")
    assert (
        "all layers that can be measured are output layers, whose entropy falls by design; they "
        "are measured; 2 cannot be measured (sparsight taps says why)"
    ) in caplog.text


def test_what_is_left_out_by_default_is_said_in_one_line(caplog):
    weights = {f"{name}.weight": graphs.random((4, 4)) for name in "abcdefgh"}
    nodes = [node("MatMul", "x a.weight", "t"), node("MatMul", "t x", "y0")]
    nodes += [node("MatMul", f"t {name}.weight", f"y{name}") for name in "bcdefgh"]
    outputs = ["y0", *(f"y{name}" for name in "bcdefgh")]
    content = graphs.model(nodes, {"x": ["n", 4, 4]}, outputs, weights)
    with caplog.at_level("INFO", "sparsight"):
        sparsight.analyze(content, graphs.random((3, 4, 4)), device="cpu")
    (line,) = [text for text in caplog.messages if "left out" in text]
    assert "the output layers b, c, d, e, f and 2 more, whose entropy falls by design" in line
    assert "1 that cannot be measured" in line
    caplog.clear()
    with caplog.at_level("INFO", "sparsight"):
        sparsight.analyze(content, graphs.random((3, 4, 4)), layers=["a"], device="cpu")
    assert "left out" not in caplog.text


def test_a_model_without_layers():
    content = graphs.model([node("Relu", "x", "y")], {"x": ["n", 6]}, ["y"])
    with pytest.raises(ModelError, match="has no measurable layer"):
        sparsight.analyze(content, graphs.random((3, 6)))


def test_nan_in_the_probes_is_counted():
    probes = PROBES.copy()
    probes[4] = np.nan
    first, _ = sparsight.analyze(network(), probes, device="cpu", shown=[4, 5])
    assert first.statistics["nan_share"] == pytest.approx(1 / 11)
    assert np.isfinite(first.statistics["entropy"])
    assert np.isnan(first.maps[0]).all()
    assert np.isfinite(first.maps[1]).all()


@pytest.mark.parametrize("options", [{"batch_size": 0}, {"centre": "middle"}])
def test_options_that_make_no_sense(options):
    with pytest.raises(UsageError):
        sparsight.analyze(network(), PROBES, **options)


# -- probes


def spec(name="x", dtype="float32", shape=("n", 3)):
    return InputSpec(name, np.dtype(dtype), shape)


def test_probes_by_name_or_by_what_fits():
    a, b = np.zeros((5, 3), np.float32), np.zeros((5, 2, 2), np.float32)
    wanted = [spec("a"), spec("b", shape=("n", 2, 2))]
    for given in ({"a": a, "b": b}, {"b": b, "a": a, "labels": a}, {"one": a, "two": b}):
        matched = match_probes(given, wanted)
        assert matched.arrays["a"] is a
        assert matched.arrays["b"] is b
    assert match_probes(a, [spec()]).arrays["x"] is a
    assert match_probes({"images": a, "labels": np.zeros(5, np.int64)}, [spec()]).arrays["x"] is a


@pytest.mark.parametrize(
    ("array", "text"),
    [
        (
            np.zeros((5, 4), np.float32),
            r"expects float32 \[n, 3\].*\[5, 4\].*length 3 along axis 1, not 4",
        ),
        (np.zeros((5, 3), np.uint8), r"expects float32 \[n, 3\].*uint8.*astype\('float32'\)"),
        (np.zeros((5, 3)), r"expects float32 \[n, 3\].*float64"),
        (np.zeros((5, 3, 1), np.float32), "expected 2 axes, not 3"),
        (np.zeros((0, 3), np.float32), "at least one"),
    ],
)
def test_probes_that_do_not_fit(array, text):
    for given in (array, {"x": array}):
        with pytest.raises(ProbeError, match=text):
            match_probes(given, [spec()])


def test_probes_that_are_ambiguous():
    a = np.zeros((5, 3), np.float32)
    with pytest.raises(ProbeError, match="more than one array fits"):
        match_probes({"a": a, "b": a}, [spec()])
    with pytest.raises(ProbeError, match="array fits"):
        match_probes({"a": a, "b": a}, [spec("x"), spec("z")])
    with pytest.raises(ProbeError, match="same number of samples"):
        match_probes({"x": a, "z": a[:3]}, [spec("x"), spec("z")])


def test_a_scalar_input_is_the_same_for_all():
    rate = np.array(16000)
    matched = match_probes(
        {"x": np.zeros((5, 3), np.float32), "sr": rate}, [spec(), spec("sr", "int64", ())]
    )
    assert len(matched) == 5
    count, fed, feeds = matched.take(4, 2)
    assert (count, fed, len(feeds["x"])) == (1, 1, 1)
    assert feeds["sr"] is rate


def test_files_of_probes(tmp_path):
    values = np.arange(6.0)
    np.save(tmp_path / "a.npy", values)
    np.savez(tmp_path / "b.npz", x=values)
    np.testing.assert_array_equal(load_probes(tmp_path / "a.npy")[""], values)
    np.testing.assert_array_equal(load_probes(tmp_path / "b.npz")["x"], values)
    np.savez(tmp_path / "objects.npz", x=np.array([{}, None]))
    (tmp_path / "text.npz").write_text("nothing of numpy")
    (tmp_path / "cut.npz").write_bytes((tmp_path / "b.npz").read_bytes()[:100])
    (tmp_path / "empty.npy").touch()
    for name in ("objects.npz", "text.npz", "cut.npz", "empty.npy"):
        with pytest.raises(ProbeError, match=r"as an \.npz or \.npy file of numbers"):
            load_probes(tmp_path / name)
    with pytest.raises(ProbeError, match="no such file"):
        load_probes(tmp_path / "nothing.npz")
    with pytest.raises(ProbeError, match="cannot read"):
        load_probes(tmp_path)

import pytest

from sparsight.analysis.checkpoints import find_checkpoints, step_of
from sparsight.errors import UsageError


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("epoch_07.onnx", 7),
        ("epoch-07.onnx", 7),
        ("epoch07.onnx", 7),
        ("model_epoch=12.onnx", 12),
        ("run2_epoch=07-loss=0.31.onnx", 7),
        ("epoch=3-step=400.onnx", 400),
        ("checkpoint-500.onnx", 500),
        ("epoch_-1.onnx", -1),
        ("epoch=-1.onnx", -1),
        ("vgg16-12.onnx", 12),
        ("net_3.onnx", 3),
        ("0042.onnx", 42),
        ("net-0.31.onnx", None),
        ("model.onnx", None),
        ("CKPT_9.ONNX", 9),
    ],
)
def test_the_step_in_a_name(name, step):
    assert step_of(name) == step


def test_a_pattern():
    assert step_of("a-12k-7.onnx", r"-(\d+)k") == 12
    assert step_of("other.onnx", r"-(\d+)k") is None
    for pattern in ("(", r"\d+", "(a)-12"):
        with pytest.raises(UsageError, match="--step-pattern"):
            step_of("a-12k-7.onnx", pattern)


def touch(folder, *names):
    for name in names:
        (folder / name).touch()


def test_files_globs_and_folders(tmp_path):
    touch(tmp_path, "epoch_2.onnx", "epoch_10.onnx", "epoch_1.onnx", "notes.txt")
    for source in (tmp_path, str(tmp_path), f"{tmp_path}/*.onnx", f"{tmp_path}/epoch_?*.onnx"):
        assert [c.step for c in find_checkpoints([source])] == [1, 2, 10]
    (only,) = find_checkpoints([tmp_path / "epoch_2.onnx", tmp_path / "epoch_2.onnx"])
    assert (only.step, only.path.name) == (2, "epoch_2.onnx")


def test_one_file_needs_no_number(tmp_path):
    touch(tmp_path, "model.onnx")
    assert find_checkpoints([tmp_path])[0].step == 0


def test_a_name_with_brackets_is_a_name(tmp_path):
    touch(tmp_path, "net[1].onnx")
    assert find_checkpoints([tmp_path / "net[1].onnx"])[0].step == 1


def test_what_does_not_work(tmp_path):
    with pytest.raises(UsageError, match=r"no \.onnx files in the folder"):
        find_checkpoints([tmp_path])
    with pytest.raises(UsageError, match="no such file"):
        find_checkpoints([tmp_path / "nothing.onnx"])
    with pytest.raises(UsageError, match="no files match"):
        find_checkpoints([f"{tmp_path}/*.onnx"])
    touch(tmp_path, "a.onnx", "epoch_1.onnx")
    with pytest.raises(UsageError, match=r"no epoch in the file name 'a\.onnx'"):
        find_checkpoints([tmp_path])
    (tmp_path / "a.onnx").rename(tmp_path / "epoch_01.onnx")
    with pytest.raises(UsageError, match="are both step 1"):
        find_checkpoints([tmp_path])

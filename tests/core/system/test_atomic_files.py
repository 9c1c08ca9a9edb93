"""A file is replaced by a whole one, or stays as it was."""

import pytest

from sparsight.system.atomic_files import replacing


def test_what_was_written_takes_the_place(tmp_path):
    target, beside = tmp_path / "file", tmp_path / "beside"
    target.write_text("old")
    with replacing(target, beside) as unfinished:
        unfinished.write_text("new")
        assert target.read_text() == "old"
    assert target.read_text() == "new"
    assert not beside.exists()


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
@pytest.mark.parametrize("begun", [True, False])
def test_a_failure_leaves_what_was_there(error, begun, tmp_path):
    target, beside = tmp_path / "file", tmp_path / "beside"
    target.write_text("old")

    def fail() -> None:
        with replacing(target, beside):
            if begun:
                beside.write_text("half")
            raise error("why")

    with pytest.raises(error, match="why"):
        fail()
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert target.read_text() == "old"


def test_a_place_that_cannot_be_taken_is_told(tmp_path):
    (tmp_path / "folder/inside").mkdir(parents=True)
    with pytest.raises(OSError), replacing(tmp_path / "folder", tmp_path / "beside") as beside:  # noqa: PT011
        beside.write_text("new")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]

import pytest
from PIL import Image


@pytest.fixture
def pictures(tmp_path):
    """A folder of three pictures, one of them deeper, and of a file that is none."""
    (tmp_path / "pictures/deeper").mkdir(parents=True)
    colours = [(255, 0, 51), (0, 102, 255), (51, 51, 51)]
    for name, colour in zip(("a.png", "b.jpg", "deeper/c.png"), colours, strict=True):
        Image.new("RGB", (12, 16), colour).save(tmp_path / "pictures" / name, quality=95)
    (tmp_path / "pictures/notes.txt").touch()
    return str(tmp_path / "pictures")

from __future__ import annotations

from pathlib import Path

import pytest

from sparsight_tensorboard import assets


@pytest.mark.parametrize("name", ["index.html", "index.js", "index.css"])
def test_the_pages_files(name: str) -> None:
    asset = assets.find(name)
    assert asset is not None
    built = Path(assets.__file__).parent / "static" / name
    assert asset.content == built.read_bytes()


@pytest.mark.parametrize(
    "name", ["", "index", "INDEX.JS", "../plugin.py", "index.js/", "/index.js", "index.js.map"]
)
def test_nothing_else_is_there(name: str) -> None:
    assert assets.find(name) is None


def test_a_checkout_without_the_page_says_how_to_build_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assets, "_FOLDER", tmp_path)
    for name, media_type in (("index.html", "text/html"), ("index.js", "text/javascript")):
        asset = assets.find(name)
        assert asset is not None
        assert asset.media_type == media_type
        assert b"npm run build" in asset.content
    assert b"export function render()" in assets.find("index.js").content  # type: ignore[union-attr]


def test_a_rebuilt_page_has_another_digest() -> None:
    one, other = assets.Asset(b"one", "text/css"), assets.Asset(b"other", "text/css")
    assert one.digest != other.digest

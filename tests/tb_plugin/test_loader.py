from __future__ import annotations

import sys
from argparse import Namespace
from importlib.metadata import entry_points
from typing import Any

import pytest

from sparsight import schema
from sparsight_tensorboard.loader import SparsityLoader


def flags(**values: Any) -> Namespace:
    unset = {"reload_multifile": None, "reload_multifile_inactive_secs": 86_400}
    return Namespace(**{"samples_per_plugin": {}, **unset, **values})


def test_tensorboard_finds_the_loader() -> None:
    (entry,) = entry_points(group="tensorboard_plugins", name="sparsity")
    assert entry.load() is SparsityLoader


def test_every_epoch_and_every_file_is_kept() -> None:
    fixed = flags(samples_per_plugin={"images": 3})
    SparsityLoader().fix_flags(fixed)
    assert fixed.samples_per_plugin == {"images": 3, "sparsity": 0, "sparsity_maps": 0}
    assert set(schema.PLUGIN_OF.values()) <= set(fixed.samples_per_plugin)
    assert fixed.reload_multifile is True
    assert fixed.reload_multifile_inactive_secs == -1


def test_the_users_own_values_win() -> None:
    fixed = flags(samples_per_plugin={"sparsity_maps": 20}, reload_multifile=False)
    SparsityLoader().fix_flags(fixed)
    assert fixed.samples_per_plugin == {"sparsity_maps": 20, "sparsity": 0}
    assert fixed.reload_multifile is False
    assert fixed.reload_multifile_inactive_secs == 86_400
    fixed = flags(reload_multifile_inactive_secs=60)
    SparsityLoader().fix_flags(fixed)
    assert fixed.reload_multifile_inactive_secs == 60


def test_unknown_flags_are_no_reason_to_stop_tensorboard(
    capsys: pytest.CaptureFixture[str],
) -> None:
    SparsityLoader().fix_flags(Namespace())
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("WARNING: Sparsight's plugin: epochs may be left out (AttributeError")


def test_a_plugin_that_cannot_be_imported_is_no_reason_to_stop_tensorboard(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sparsight_tensorboard.plugin", None)
    assert SparsityLoader().load(Namespace()) is None
    (line,) = capsys.readouterr().err.splitlines()
    assert "the Sparsity tab is missing" in line
    assert "ImportError" in line or "ModuleNotFoundError" in line

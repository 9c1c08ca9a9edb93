"""What `sparsight_torch` exports, and what it says where a library is missing."""

import importlib
import re
import subprocess
import sys

import pytest

import sparsight_torch

WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None
import {}
"""


def test_all_is_honest():
    for name in sparsight_torch.__all__:
        assert hasattr(sparsight_torch, name)
    assert sorted(sparsight_torch.__all__) == sparsight_torch.__all__


def test_without_torch_one_sentence_names_the_extra():
    code = WITHOUT_TORCH.format("sparsight_torch")
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 1
    expected = "sparsight_torch needs torch: pip install 'sparsight[torch]'"
    assert run.stderr.splitlines()[-1].endswith(expected)


@pytest.mark.parametrize("library", ["lightning", "transformers"])
def test_the_callbacks_name_their_extras(library, monkeypatch):
    callbacks = f"sparsight_torch.integrations.{library}"
    loaded = [name for name in sys.modules if name.split(".")[0] == library]
    for name in {library, *loaded}:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, callbacks, raising=False)
    with pytest.raises(ImportError, match=re.escape(f"pip install 'sparsight[{library}]'")):
        importlib.import_module(callbacks)

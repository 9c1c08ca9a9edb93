import subprocess
import sys

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


def test_the_callbacks_name_their_extras():
    for library in ("lightning", "transformers"):
        callbacks = f"sparsight_torch.integrations.{library}"
        code = f"import sys; sys.modules[{library!r}] = None; import {callbacks}"
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert run.stderr.splitlines()[-1].endswith(f"pip install 'sparsight[{library}]'")

"""Before all tests: what must be so when other packages are imported."""

import os
import shutil
import warnings

if shutil.which("nvidia-smi") is None:
    os.environ["TRITON_INTERPRET"] = "1"  # Triton decides on import whether kernels run on a CPU

# What they do on import must not count as our warnings.
with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    import tensorboard.plugin_util  # noqa: F401  # its html5lib warns about itself

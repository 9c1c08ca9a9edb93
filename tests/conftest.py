"""Before all tests: what other packages do on import must not count as our warnings."""

import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    import tensorboard.plugin_util  # noqa: F401  # its html5lib warns about itself

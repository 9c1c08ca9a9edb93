"""Real data sets for all tests of the paper, decoded once."""

import pytest
from reproduction.tests.layouts import decoded


@pytest.fixture(scope="session")
def real(tmp_path_factory):
    """Not to be changed by a test."""
    return decoded(tmp_path_factory)

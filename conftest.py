"""Before all tests: what must be so when other packages are imported."""

import os
import shutil
import warnings
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Test processes side by side share the cores. Numerical libraries read this on import.
if workers := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 0)):
    threads = max(1, (os.cpu_count() or 1) // workers)
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))

if shutil.which("nvidia-smi") is None:
    os.environ["TRITON_INTERPRET"] = "1"  # Triton decides on import whether kernels run on a CPU

# What they do on import must not count as our warnings.
with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    import tensorboard.plugin_util  # noqa: F401  # its html5lib warns about itself

# How long an example takes depends on what else the machine does: that is no finding.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

REAL_DATA = Path(os.environ.get("SPARSIGHT_TEST_DATA", Path(__file__).parents[1] / "shared"))


def _may_be_skipped(node: pytest.Collector | pytest.Item) -> bool:
    """In CI only what needs real data, where there is none; at a desk, whatever lacks its needs."""
    absent = not REAL_DATA.is_dir() and node.get_closest_marker("real_data") is not None
    return os.environ.get("CI") != "true" or absent


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    if report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"nothing may be skipped in CI: {report.longrepr}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo) -> pytest.TestReport:
    """In CI a skipped test is a failed one."""
    report = yield
    if not _may_be_skipped(item):
        _refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> pytest.CollectReport:
    """In CI a skipped file of tests is a failed one."""
    report = yield
    if not _may_be_skipped(collector):
        _refuse_skip(report)
    return report

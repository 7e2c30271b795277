"""A plugin of pytest that writes how long each test takes, with what it needs, and which fail."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from pathlib import Path

import pytest

_seconds: dict[str, float] = defaultdict(float)
_failed: set[str] = set()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    _seconds[report.nodeid] += report.duration
    if report.failed:
        _failed.add(report.nodeid)


def pytest_sessionfinish() -> None:
    """Of several processes the first hears of all tests."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        found = {"seconds": _seconds, "failed": sorted(_failed)}
        Path(os.environ["TESTS_TIMING"]).write_text(json.dumps(found))

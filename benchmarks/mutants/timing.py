"""A plugin of pytest that writes how long each test takes, with what it needs."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from pathlib import Path

import pytest

_seconds: dict[str, float] = defaultdict(float)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    _seconds[report.nodeid] += report.duration


def pytest_sessionfinish() -> None:
    """Of several processes the first hears of all tests."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        Path(os.environ["MUTANTS_TIMING"]).write_text(json.dumps(_seconds))

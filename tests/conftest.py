"""Tests that need a Docker engine are skipped where there is none, counted, and said; in CI, where
SKILLOPT_REQUIRE_ENGINE is set, a missing engine is a failure."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandboxes.base import EngineUnavailableError
from sandboxes.docker import DockerEngine

REQUIRED = os.environ.get("SKILLOPT_REQUIRE_ENGINE") == "1"


def _engine_error() -> str:
    try:
        with DockerEngine():
            return ""
    except EngineUnavailableError as error:
        return str(error)


def pytest_configure() -> None:
    """A shell that starts tests in the background has them ignore Ctrl-C, and with them the
    programs that tests start and interrupt."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    needing = [item for item in items if item.get_closest_marker("engine")]
    if not needing:
        return
    error = _engine_error()
    if error and REQUIRED:
        pytest.exit(f"no Docker engine, and SKILLOPT_REQUIRE_ENGINE=1: {error}", returncode=1)
    if error:
        for item in needing:
            item.add_marker(pytest.mark.skip(reason=f"no Docker engine: {error.splitlines()[0]}"))


@pytest.fixture(scope="session")
def engine() -> Iterator[DockerEngine]:
    with DockerEngine() as running:
        yield running


@pytest.fixture(autouse=True)
def nothing_of_the_users(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test reads or writes the agent directories of whoever runs the tests."""
    for name in ("HOME", "CODEX_HOME", "CLAUDE_CONFIG_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "home"))

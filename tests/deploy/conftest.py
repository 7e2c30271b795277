"""A home to deploy into."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from skillopt.core.skill import write_skill
from tests.helpers.homes import SKILL


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home that other users can reach, with a skill to deploy beside it."""
    with TemporaryDirectory(dir=os.environ.get("PYTEST_DEBUG_TEMPROOT")) as folder:
        Path(folder).chmod(0o755)
        home = Path(folder) / "home é"
        (home / "project").mkdir(parents=True)
        write_skill(SKILL, Path(folder) / "geo")
        for name in ("CODEX_HOME", "CLAUDE_CONFIG_DIR", "XDG_CONFIG_HOME"):
            monkeypatch.delenv(name, raising=False)
        (Path(folder) / "state").mkdir()
        monkeypatch.setenv("HOME", str(home))
        monkeypatch.setenv("XDG_STATE_HOME", str(Path(folder) / "state"))
        monkeypatch.chdir(home / "project")
        yield home
        for below, _, _ in os.walk(folder):
            Path(below).chmod(0o755)

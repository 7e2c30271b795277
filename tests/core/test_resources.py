"""Where the project's own files are, and the user's."""

from __future__ import annotations

from pathlib import Path

import pytest

from skillopt.core import resources
from skillopt.core.resources import resource, state_folder


def test_files_are_beside_the_package_or_packed_into_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (resource("configs")).is_dir() and resource("configs").parent == resource("x").parent
    monkeypatch.setattr(resources, "__file__", str(tmp_path / "skillopt" / "core" / "resources.py"))
    assert resource("configs") == tmp_path / "configs"
    packed = tmp_path / "skillopt" / "_data" / "configs"
    packed.mkdir(parents=True)
    assert resource("configs") == packed


@pytest.mark.parametrize(
    ("state", "folder"),
    [("/s", "/s/skillopt"), ("", "/h/.local/state/skillopt"), (None, "/h/.local/state/skillopt")],
)
def test_what_is_remembered_is_in_the_users_folder_of_states(
    monkeypatch: pytest.MonkeyPatch, state: str | None, folder: str
) -> None:
    monkeypatch.setenv("HOME", "/h")
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    if state is not None:
        monkeypatch.setenv("XDG_STATE_HOME", state)
    assert state_folder() == Path(folder)

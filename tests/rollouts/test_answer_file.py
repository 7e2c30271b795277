"""The answer as a file of the workspace, whatever the agent left at its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from skillopt.rollouts.rollout import _place_answer


@pytest.mark.parametrize("left", ["nothing", "a file", "a folder", "a link", "a dangling link"])
def test_the_answer_replaces_what_is_there(left: str, tmp_path: Path) -> None:
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    file, other = workspace / "response.txt", tmp_path / "other.txt"
    other.write_text("untouched")
    match left:
        case "a file":
            file.write_text("[PROJ-1] made up")
        case "a folder":
            (file / "deep").mkdir(parents=True)
        case "a link":
            file.symlink_to(other)
        case "a dangling link":
            file.symlink_to(tmp_path / "missing")
    _place_answer(file, "the answer \ud800")
    assert not file.is_symlink()
    assert file.read_text("utf-8") == "the answer ?"
    assert other.read_text() == "untouched"
    assert not (tmp_path / "missing").exists()

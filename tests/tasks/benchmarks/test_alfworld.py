"""ALFWorld: the public engine's own sessions, the reference's replies, and engines that fail."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from skillopt.core.types import named_task
from skillopt.tasks.benchmarks.alfworld.game import Play
from skillopt.tasks.benchmarks.alfworld.score import Judge
from skillopt.tasks.benchmarks.alfworld.steps import sent
from tests.helpers.alfworld_games import PARITY, parity_game
from tests.helpers.parity import parity


@parity("alfworld-replies")
def test_replies(row: dict[str, Any]) -> None:
    found, expected = sent(row["input"]["reply"]), row["expected"]
    assert found.command == expected["sent"]
    assert found.valid == bool(expected["format_valid"])
    assert (found.fallback, found.recorded) == (expected["fallback"], expected["recorded"])


@parity("alfworld-sessions")
def test_sessions(row: dict[str, Any], tmp_path: Path) -> None:
    given, expected = row["input"], row["expected"]
    start = json.loads((PARITY / given["game"] / "start.json").read_text())["start"]
    game = Play(parity_game(given["game"], tmp_path), given["max_steps"])(tmp_path)
    try:
        state = game.reply({})
        assert state["observation"] == start["obs"]
        assert state["admissible"] == [c for c in start["admissible"] if c != "help"]
        for step in expected["steps"]:
            state = game.reply({"command": step["cmd"]})
            assert state["observation"] == step["obs"]
            assert (state["done"], state["won"]) == (step["done"], step["won"])
            assert len(state["admissible"]) == step["n_admissible"] - 1  # Without help.
        assert state["admissible"] == [c for c in expected["admissible_at_end"] if c != "help"]
    finally:
        game.close()
    record = json.loads((tmp_path / "game.json").read_text())
    assert [step["score"] for step in record["steps"]] == [s["score"] for s in expected["steps"]]
    reward = Judge()(named_task("t"), tmp_path, "", tmp_path)
    assert reward.hard == reward.soft == expected["hard"]

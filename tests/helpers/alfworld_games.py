"""Games of our own in ALFWorld's format: rooms with a goal, playable by the public engine."""

from __future__ import annotations

import json
from functools import cache
from importlib.metadata import files
from pathlib import Path

PARITY = Path(__file__).parents[1] / "tasks" / "benchmarks" / "parity" / "alfworld-games"


@cache
def _data(name: str) -> str:
    """A file of the package's own logic; the package itself is not imported."""
    (found,) = (file for file in files("alfworld") or () if file.match(f"alfworld/data/{name}"))
    return found.read_text("utf-8")


def game(problem: str, task: str) -> str:
    """The content of a ``game.tw-pddl``.

    Args:
        problem: in PDDL.
        task: as the game words it.
    """
    parts = {
        "pddl_domain": _data("alfred.pddl"),
        "grammar": _data("alfred.twl2").replace("UNKNOWN GOAL", task),
        "pddl_problem": problem,
        "solvable": True,
        "walkthrough": None,
    }
    return json.dumps(parts)


def parity_game(name: str, folder: Path) -> Path:
    """One of the parity table's games as a file."""
    start = json.loads((PARITY / name / "start.json").read_text("utf-8"))
    file = folder / "game.tw-pddl"
    file.write_text(game((PARITY / name / "initial_state.pddl").read_text("utf-8"), start["task"]))
    return file

"""Questions: tasks without a workspace, judged by the agent's answer.

Harbor has none. A task folder without ``environment/`` is one if it has ``tests/answer.txt``.
"""

from __future__ import annotations

from pathlib import Path

from skillopt.core.types import Reward, Task

SHOWN = 200
"""Characters of an answer that are shown in the feedback."""


def is_question(folder: Path) -> bool:
    """Whether a task folder contains the expected answer."""
    return _file(folder).is_file()


def judged(task: Task, answer: str) -> Reward:
    """Full reward for exactly the expected text; blanks and line ends are ignored."""
    expected = " ".join(expected_answer(task).split())
    said = " ".join(answer.split())
    if said == expected:
        return Reward(1.0)
    return Reward(0.0, feedback=f"expected {expected!r}, the answer was {said[:SHOWN]!r}")


def expected_answer(task: Task) -> str:
    """The answer that gets the full reward."""
    return _file(task.folder).read_text("utf-8").strip()


def _file(folder: Path) -> Path:
    return folder / "tests" / "answer.txt"

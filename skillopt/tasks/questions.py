"""Questions: tasks without a workspace, judged by the agent's answer.

Harbor has none. A task folder without ``environment/`` is one if it has ``tests/answer.txt`` or
``tests/answer.json``. ``metadata.scorer`` says how the answer is judged: by default it must be the
same.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from skillopt.core.types import Reward, Task
from skillopt.tasks.tables import Table

SHOWN = 200
"""Characters of an answer that are shown in the feedback."""


def is_question(folder: Path) -> bool:
    """Whether a task folder contains the expected answer."""
    return any(file.is_file() for file in _files(folder))


def question_judge(folder: Path, metadata: Table) -> Callable[..., Reward] | None:
    """What judges a question whose ``metadata`` name a scorer; None if they name none.

    Raises:
        TaskError: there is no such scorer, or it cannot use its options or the expected answer.
        PluginError: there is no such function.
    """
    name = metadata.get("scorer", str, "")
    options = metadata.get("scorer_options", dict, {})
    text, data = _files(folder)
    if not name and (options or not text.is_file()):
        raise metadata.error("scorer", f"missing; it says how {data.name} is judged")
    if not name:
        return None
    from skillopt.tasks.answers import judge_maker  # It reads tasks, and few need it.

    make = judge_maker(name, options, metadata.place("scorer"))
    if text.is_file():
        return make(text.read_text("utf-8").strip())
    try:
        return make(json.loads(data.read_text("utf-8")))
    except ValueError as error:
        raise metadata.error("scorer", f"{data}: not valid JSON: {error}") from error


def judged(task: Task, answer: str) -> Reward:
    """Full reward for exactly the expected text; blanks and line ends are ignored."""
    expected = " ".join(expected_answer(task).split())
    said = " ".join(answer.split())
    if said == expected:
        return Reward(1.0)
    return Reward(0.0, feedback=f"expected {expected!r}, the answer was {said[:SHOWN]!r}")


def expected_answer(task: Task) -> str:
    """The answer that gets the full reward."""
    text, data = _files(task.folder)
    return (text if text.is_file() else data).read_text("utf-8").strip()


def _files(folder: Path) -> tuple[Path, Path]:
    return folder / "tests" / "answer.txt", folder / "tests" / "answer.json"

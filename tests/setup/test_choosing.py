"""Which cases of eval files a first config trains on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from skillopt.setup.project import look_at
from skillopt.setup.tasks import choose_tasks

CHECKED = [{"id": n, "prompt": f"Do {n}.", "expected_output": "", "files": [],
            "assertions": [{"type": "file_exists", "path": "a"}]} for n in range(4)]  # fmt: skip
ASKED = [{"query": f"Do {n}.", "should_trigger": n % 2 == 0} for n in range(4)]


@pytest.mark.parametrize(
    ("checked", "asked", "tasks", "left_out", "options"),
    [
        (True, False, 4, 0, {}),
        (False, True, 4, 0, {}),
        (True, True, 4, 4, {"triggers": "leave_out"}),
    ],
)
def test_queries_are_tasks_unless_there_are_others(
    checked: bool, asked: bool, tasks: int, left_out: int, options: dict[str, str], tmp_path: Path
) -> None:
    evals = tmp_path / "notes" / "evals"
    evals.mkdir(parents=True)
    if checked:
        suite = {"skill_name": "notes", "evals": CHECKED}
        (evals / "evals.json").write_text(json.dumps(suite))
    if asked:
        (evals / "trigger-queries.json").write_text(json.dumps(ASKED))
    found = choose_tasks(tmp_path / "notes", look_at(tmp_path), None)
    assert (found.tasks, found.left_out, found.options) == (tasks, left_out, options)

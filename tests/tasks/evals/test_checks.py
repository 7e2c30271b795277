"""The program that runs the checks of an eval's task, on workspaces as agents leave them."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from skillopt.tasks.evals.reading import read_evals
from tests.tasks.rows import splits_of, write

FILES = Path(__file__).parent / "files"


def run(tests: Path, workspace: Path) -> tuple[dict[str, float], str]:
    logs = workspace.with_name("logs")
    logs.mkdir(exist_ok=True)
    argv = [sys.executable, "-I", str(tests / "run_checks.py")]
    env = {"PATH": os.environ["PATH"], "VERIFIER_LOGS": str(logs)}
    subprocess.run(argv, cwd=workspace, env=env, check=True)
    return json.loads((logs / "reward.json").read_text()), (logs / "feedback.txt").read_text()


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    folder = tmp_path / "workspace"
    folder.mkdir()
    return folder


@pytest.mark.parametrize(
    ("answer", "reward", "said"),
    [
        ("[PROJ-105] DATA: add a users migration", 1.0, ""),
        ("feat: add a users migration", 0.0, "exit code 1"),
        (None, 0.0, "exit code"),
    ],
)
def test_a_validator_with_the_skills_scripts(
    answer: str | None, reward: float, said: str, workspace: Path, tmp_path: Path
) -> None:
    file = FILES / "skillevaluation" / "commit-conventions" / "eval.yaml"
    task = next(t for t in read_evals([file], tmp_path / "made")[0] if "migration" in t.name)
    if answer is not None:
        (workspace / "response.txt").write_text(answer)
    # What an agent might leave to pass.
    (workspace / "scripts").mkdir()
    (workspace / "scripts" / "grade.py").write_text("raise SystemExit(0)")
    found, feedback = run(task.folder / "tests", workspace)
    assert found["reward"] == reward
    assert said in feedback


def test_a_validator_with_the_answer_in_the_environment(workspace: Path, tmp_path: Path) -> None:
    file = FILES / "skillevaluation" / "refund-policy" / "eval.yaml"
    task = read_evals([file], tmp_path / "made")[0][0]
    (workspace / "response.txt").write_text("It is non-refundable; I am sorry, it is our fault.")
    found, feedback = run(task.folder / "tests", workspace)
    assert found["reward"] == pytest.approx(2 / 3)
    assert feedback.startswith("no liability admission: exit code 1")


@pytest.mark.parametrize(("drafts", "reward"), [(["a"], 1.0), ([], 0.0)])
def test_an_assertion_in_python(
    drafts: list[str], reward: float, workspace: Path, tmp_path: Path
) -> None:
    file = FILES / "caliper" / "inbox-triage.eval.yaml"
    task = read_evals([file], tmp_path / "made")[0][0]
    for name in ("drafts", "outbox"):
        (workspace / name).mkdir()
    for name in drafts:
        (workspace / "drafts" / name).touch()
    found, feedback = run(task.folder / "tests", workspace)
    assert found["reward"] == reward
    assert ("no draft written" in feedback) == (not drafts)


SAME = hashlib.sha256(b"first").hexdigest()


@pytest.mark.parametrize(
    ("assertion", "passes"),
    [
        ({"type": "file_exists", "path": "a.json"}, True),
        ({"type": "file_exists", "path": "b.json"}, False),
        ({"type": "file_not_exists", "path": "b.json"}, True),
        ({"type": "file_not_exists", "path": "a.json"}, False),
        ({"type": "file_contains", "path": "a.json", "contains": "ITEMS"}, True),
        ({"type": "file_contains", "path": "b.json", "contains": "items"}, False),
        ({"type": "file_not_contains", "path": "a.json", "contains": "else"}, True),
        ({"type": "file_not_contains", "path": "b.json", "contains": "else"}, False),
        ({"type": "file_contains", "contains": "done"}, True),
        ({"type": "file_not_contains", "contains": "done"}, False),
        ({"type": "file_unchanged", "path": "kept.txt"}, True),
        ({"type": "file_unchanged", "path": "changed.txt"}, False),
        ({"type": "json_path", "path": "a.json", "json_path": "items.1.n"}, True),
        ({"type": "json_path", "path": "a.json", "json_path": "items.1.n", "equals": 2}, True),
        ({"type": "json_path", "path": "a.json", "json_path": "items.1.n", "equals": 3}, False),
        ({"type": "json_path", "path": "a.json", "json_path": "items.1.n", "equals": True}, False),
        ({"type": "json_path", "path": "a.json", "json_path": "items.7.n"}, False),
        ({"type": "json_path", "path": "kept.txt", "json_path": "x"}, False),
        ({"type": "json_path_not_exists", "path": "a.json", "json_path": "items.7"}, True),
        ({"type": "json_path_not_exists", "path": "a.json", "json_path": "items"}, False),
        ({"type": "json_path_not_exists", "path": "b.json", "json_path": "items"}, False),
        ({"type": "git_clean"}, False),
        ("The file `a.json` exists", True),
        ("The file `deep.md` exists", True),
        ("The file `b.json` exists", False),
        ('The output contains "Done"', True),
        ('The output contains "undone" or "all"', True),
        ('The output contains "undone"', False),
    ],
    ids=str,
)
def test_assertions(assertion: Any, passes: bool, workspace: Path, tmp_path: Path) -> None:
    evals = tmp_path / "evals"
    (evals / "files").mkdir(parents=True)
    for name in ("kept.txt", "changed.txt"):
        (evals / "files" / name).write_text("first")
    one = {"id": 1, "prompt": "p", "expected_output": "", "assertions": [assertion]}
    one |= {"files": ["files/kept.txt", "files/changed.txt"]}
    (evals / "evals.json").write_text(json.dumps({"skill_name": "s", "evals": [one]}))
    (task,) = read_evals([evals / "evals.json"], tmp_path / "made")[0]
    (workspace / "a.json").write_text('{"items": [{"n": 1}, {"n": 2}]}')
    (workspace / "kept.txt").write_text("first")
    (workspace / "changed.txt").write_text("second")
    (workspace / "sub").mkdir()
    (workspace / "sub" / "deep.md").touch()
    (workspace / "response.txt").write_text("All done.")
    found, feedback = run(task.folder / "tests", workspace)
    assert (found["reward"] == 1.0) is passes
    assert bool(feedback) is not passes


OUTPUTS = {"by": "output"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("expected", "options", "answer", "reward", "said"),
    [
        ("assert f(1) == 2", {}, "def f(x): return x + 1", 1, ""),
        ("assert f(1) == 2", {}, "```\nx\n```\n~~~py\ndef f(x): return x + 1\n~~~", 1, ""),
        ("assert f(1) == 2", {}, "def f(x): return x", 0, "AssertionError"),
        ("assert f(1) == 2", {}, "raise SystemExit(0)", 0, "before its tests did"),
        ("assert f(1) == 2", {}, "def f(x): print(0)\n print(1)", 0, "IndentationError"),
        ("assert f(1) == 2", {}, None, 0, "there is no answer"),
        ("x = 1", {}, "print('a' * 10)", 1, ""),
        (["assert f(1)", "assert f(0)"], {}, "def f(x): return x", 0.5, "run 2"),
        ("3", OUTPUTS, "print(3)", 1, ""),
        ("3\n4", OUTPUTS, "print('3  ')\nprint('4\\n')", 1, ""),
        ("3", OUTPUTS, "print(4)", 0, "printed '4"),
        ("3", OUTPUTS, "print(3); raise KeyError('odd')", 0, "KeyError: 'odd'"),
        ([{"input": "4", "output": "8"}], OUTPUTS, "print(2 * int(input()))", 1, ""),
        (
            [{"input": "4", "output": "8"}, {"input": "x", "output": ""}], OUTPUTS,
            "print(2 * int(input()))", 0.5, "run 2",
        ),
        ("3", {"by": "output", "timeout_s": 1}, "while True: pass", 0, "took more than 1 s"),
        ("3", {"by": "output", "command": ["sh"], "suffix": ".sh"}, "echo $((1 + 2))", 1, ""),
        (
            "[ $x = 1 ]", {"command": ["sh", "-e"], "suffix": ".sh", "print": "echo {}"}, "x=1", 1,
            "",
        ),
    ],
)  # fmt: skip
def test_a_program(
    expected: Any, options: dict[str, Any], answer: str | None, reward: float, said: str,
    workspace: Path, tmp_path: Path,
) -> None:  # fmt: skip
    file = write(tmp_path / "rows.jsonl", [{"prompt": "Write it.", "answer": expected}])
    splits = splits_of(file, tmp_path / "made", scorer="program", scorer_options=options)
    (task,) = splits["test"]
    assert task.untrusted_programs
    if answer is not None:
        (workspace / task.answer_file).write_text(answer)
    found, feedback = run(task.folder / "tests", workspace)
    assert (found["reward"], said in feedback) == (reward, True)

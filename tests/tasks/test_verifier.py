"""Verifiers in real sandboxes: replies are read strictly, and failures are not scores."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sandboxes.base import ExecResult, Limits
from sandboxes.local import LocalSandbox, local_sandbox
from sandboxes.local_backend import LocalBackend
from skillopt.core.import_path import OwnCodeError
from skillopt.core.types import Reward, Task
from skillopt.tasks.environment import Environments
from skillopt.tasks.harbor import read_task
from skillopt.tasks.judging import VerifierSite
from skillopt.tasks.solving import try_task
from skillopt.tasks.surroundings import surround
from skillopt.tasks.verifier import VerifierError, task_limits, verify, verify_with
from skillopt.tasks.warm import Start

Verify = Callable[[str], Reward]
SITE = VerifierSite(local_sandbox)
LOGS = '"${VERIFIER_LOGS:-/logs/verifier}"'


@pytest.fixture
def task(tmp_path: Path) -> Task:
    folder = tmp_path / "set" / "task"
    (folder / "environment").mkdir(parents=True)
    (folder / "tests").mkdir()
    (folder / "task.toml").write_text('[verifier]\ntimeout_sec = 20\nenv = { WORD = "hello" }\n')
    (folder / "instruction.md").write_text("x")
    (folder / "environment" / "Dockerfile").write_text("FROM skillopt/agent-base:1\nWORKDIR /app\n")
    (folder / "tests" / "test.sh").write_text("true")
    (folder / "tests" / "hidden.txt").write_text("hidden")
    return read_task(folder)


@pytest.fixture
def judged(task: Task, tmp_path: Path) -> Verify:
    """Runs a test.sh on a workspace with the file ``mine.txt``."""

    def run(script: str) -> Reward:
        (task.folder / "tests" / "test.sh").write_text(script)
        workspace, record = tmp_path / "workspace", tmp_path / "record"
        workspace.mkdir()
        record.mkdir()
        (workspace / "mine.txt").write_text("mine")
        return verify(task, workspace, local_sandbox, Start("unused"), record)

    return run


def test_the_script_finds_workspace_tests_and_environment(judged: Verify, tmp_path: Path) -> None:
    reward = judged(
        'echo noise; cat mine.txt "$(dirname "$0")/hidden.txt" "$TESTS_DIR/hidden.txt"; '
        f'echo " $WORD"; echo 0.25 > {LOGS}/reward.txt'
    )
    assert reward.soft == 0.25
    assert reward.hard == 0.0
    assert reward.feedback == "noise\nminehiddenhidden hello"
    record = tmp_path / "record" / "verifier"
    assert json.loads((record / "reward.json").read_text()) == {"reward": 0.25}
    assert (record / "test-stdout.txt").read_text().startswith("noise")
    assert sorted(p.name for p in record.iterdir()) == [
        "feedback.txt",
        "reward.json",
        "test-stderr.txt",
        "test-stdout.txt",
    ]


@pytest.mark.parametrize(
    ("content", "soft"),
    [
        ('{"reward": 1}', 1.0),
        ('{"reward": 0.5, "speed": 120.5}', 0.5),
        ('{"accuracy": 0.75}', 0.75),
        ('{"a": 0, "b": 1}', 0.5),
    ],
)
def test_rewards_as_json(judged: Verify, content: str, soft: float) -> None:
    reward = judged(f"echo '{content}' > {LOGS}/reward.json; echo 0 > {LOGS}/reward.txt; exit 1")
    assert reward.soft == soft
    assert reward.metrics == json.loads(content)


def test_feedback_is_capped(judged: Verify) -> None:
    reward = judged(
        f"echo 1 > {LOGS}/reward.txt; head -c 3000000 /dev/zero | tr '\\0' x > {LOGS}/feedback.txt"
    )
    assert reward.hard == 1.0
    assert 7900 <= reward.feedback.count("x") <= len(reward.feedback) <= 8000


@pytest.mark.parametrize("where", ["feedback.txt", "output"])
def test_long_feedback_keeps_the_assertion_and_the_end(judged: Verify, where: str) -> None:
    passed = "for n in $(seq 3000); do echo tests/test_$n.py PASSED; done"
    script = f"{passed}; echo 'E   assert 5 == 6'; {passed}; echo '1 failed in 9.00s'"
    script = f"({script}) > {LOGS}/feedback.txt" if where == "feedback.txt" else script
    feedback = judged(f"echo 0 > {LOGS}/reward.txt; {script}").feedback
    assert "E   assert 5 == 6" in feedback and feedback.endswith("1 failed in 9.00s")
    assert feedback.startswith("tests/test_1.py PASSED") and len(feedback) < 8200


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("exit 3", r"wrote neither reward.json nor reward.txt \(exit code 3\)"),
        (f": > {LOGS}/reward.txt", "wrote no number into reward.txt"),
        (f"echo nan > {LOGS}/reward.txt", "wrote nan into reward.txt"),
        (f"echo good > {LOGS}/reward.txt", "wrote no number into reward.txt: b'good"),
        (f": > {LOGS}/reward.json", "wrote no valid JSON into reward.json"),
        (f"echo '[1]' > {LOGS}/reward.json", "wrote no object of numbers"),
        (f"echo '{{}}' > {LOGS}/reward.json", "wrote no object of numbers"),
        (
            f"""echo '{{"reward": NaN}}' > {LOGS}/reward.json""",
            "wrote nan into reward.json: reward",
        ),
        (f"""echo '{{"reward": true}}' > {LOGS}/reward.json""", "something other than a number"),
        (f"""echo '{{"reward": {{}}}}' > {LOGS}/reward.json""", "something other than a number"),
        (f"""echo '{{"a": 1{"0" * 400}}}' > {LOGS}/reward.json""", "wrote inf into reward.json: a"),
        (f"""echo '{{"a": "b"}}' > {LOGS}/reward.json""", "wrote no number into reward.json"),
        (f"echo 1.5 > {LOGS}/reward.txt", "reward of 1.5, which is not between 0 and 1"),
        (f"""echo '{{"reward": -1}}' > {LOGS}/reward.json""", "reward of -1"),
        (f"ln -s /etc/hostname {LOGS}/reward.txt", "wrote neither"),
        (f"mkdir {LOGS}/reward.json", "wrote neither"),
        (f"mkfifo {LOGS}/reward.json", "wrote neither"),
    ],
)
def test_what_is_no_reward_is_an_error(judged: Verify, script: str, said: str) -> None:
    with pytest.raises(VerifierError, match=said):
        judged(script)


def test_line_ends_that_no_shell_can_read_are_named(judged: Verify) -> None:
    with pytest.raises(VerifierError, match="CRLF line ends"):
        judged(f"#!/bin/bash\r\nif true; then\r\necho 1 > {LOGS}/reward.txt\r\nfi\r\n")


@pytest.mark.parametrize("first", ["#!/usr/bin/env python3", "#!/usr/bin/python3 -I"])
def test_a_script_is_run_as_its_first_line_says(judged: Verify, first: str) -> None:
    code = 'import os\nopen(os.environ["VERIFIER_LOGS"] + "/reward.txt", "w").write("0.5")\n'
    assert judged(f"{first}\n{code}").soft == 0.5


@pytest.mark.parametrize(
    ("script", "place"),
    [
        ("cat /tests/x", "/tests"),
        ("python3 check.py --data=/tests/x", "/tests"),
        ("ls /app/tests /tests-old $DIR/tests ./tests", "hidden"),
        ('cat "$TESTS_DIR/x"', "hidden"),
    ],
)
def test_the_tests_have_a_random_place_unless_they_name_theirs(
    task: Task, tmp_path: Path, script: str, place: str
) -> None:
    (task.folder / "tests" / "check.sh").write_text(script)
    (task.folder / "tests" / "test.sh").write_text("true")
    one, other = (surround(task, tmp_path / name) for name in ("a", "b"))
    folder = "/tests" if place == "/tests" else "/skillopt/hidden"
    assert one.tests.startswith(folder) and (one.tests == other.tests) == (folder == "/tests")
    inside = tmp_path / "a" / "hidden" / one.tests.removeprefix(folder).strip("/")
    assert (inside / "check.sh").read_text() == script
    assert inside.stat().st_mode & 0o777 == 0o700


CONFIG = """\
[core]
\tbare = false
[core] fsmonitor = /app/x
\tpager = x \\
\turl = y
[remote "origin"]
\turl = https://example.org/a.git
\treceivepack = x
[include]
\tpath = ../more
[user]
\tname = A "B" C
"""


@pytest.mark.parametrize(
    ("script", "kept"),
    [
        ("git status", False),
        ("git config user.email a@b; git config --global --add safe.directory /app", False),
        ("git config --get alias.st", True),
        ("x=$(git config alias.st)", True),
        ('run(["git", "config", "--list"])', True),
        ("grep st .git/config", True),
    ],
)
def test_a_repositorys_programs_are_dropped_unless_its_settings_are_judged(
    task: Task, tmp_path: Path, script: str, kept: bool
) -> None:
    (task.folder / "tests" / "test.sh").write_text(f"# {script}\necho 1 > {LOGS}/reward.txt")
    folder = tmp_path / "workspace" / ".git"
    (folder / "objects").mkdir(parents=True)
    (folder / "config").write_text(CONFIG)
    (folder / "HEAD").symlink_to("refs/heads/none")
    verify(task, tmp_path / "workspace", local_sandbox, Start("unused"), tmp_path)
    quiet = (
        '[core]\n\tbare = false\n[core]\n[remote "origin"]\n'
        '\turl = https://example.org/a.git\n[user]\n\tname = A "B" C\n'
    )
    left = (folder / "config").read_text()
    assert left.startswith(CONFIG) if kept else left.startswith(quiet), left
    assert kept or ("/app/x" not in left and "more" not in left)


@pytest.mark.slow
def test_a_verifier_that_hangs_is_an_error(task: Task, tmp_path: Path) -> None:
    task = replace(task, verifier_timeout_s=1.0)
    (task.folder / "tests" / "test.sh").write_text(f"echo 1 > {LOGS}/reward.txt; sleep 60")
    (tmp_path / "workspace").mkdir()
    with pytest.raises(VerifierError, match="was stopped at 1 s"):
        verify(task, tmp_path / "workspace", local_sandbox, Start("unused"), tmp_path)


def one_of_each_family(tasks: list[Path]) -> list[Task]:
    return [read_task(path) for path in tasks if path.name.endswith("-01")]


@pytest.mark.slow
def test_quickstart_tasks_can_be_solved(tasks: list[Path]) -> None:
    for task in one_of_each_family(tasks):
        assert try_task(task, Environments(LocalBackend()), SITE).problems == ()


@pytest.mark.slow
def test_solve_finds_tasks_that_are_wrong(task: Task) -> None:
    environments = Environments(LocalBackend())
    (task.folder / "tests" / "test.sh").write_text(f"echo 0 > {LOGS}/reward.txt")
    trial = try_task(task, environments, SITE)
    assert (trial.problems, trial.solved) == ((), None)
    assert "no solution/solve.sh" in trial.notes[0].message
    (task.folder / "solution").mkdir()
    (task.folder / "solution" / "solve.sh").write_text("touch done")
    (task.folder / "tests" / "test.sh").write_text(f"echo 1 > {LOGS}/reward.txt")
    [problem] = try_task(task, environments, SITE).problems
    assert problem.message == "an empty run gets the full reward"
    (task.folder / "tests" / "test.sh").write_text(f"echo 0.5; echo 0.5 > {LOGS}/reward.txt")
    [problem] = try_task(task, environments, SITE).problems
    assert problem.message == "its solution gets 0.5, not 1: 0.5"
    (task.folder / "solution" / "solve.sh").write_text("echo oh >&2; exit 4")
    [problem] = try_task(task, environments, SITE).problems
    assert problem.message.endswith("solve.sh: ended with exit code 4: oh")


class Ends(LocalSandbox):
    """A sandbox in which the tests end as they are told."""

    result = ExecResult(0, b"", b"", 1.0)

    def run(self, argv: Any, **options: Any) -> ExecResult:
        super().run(argv, **options)
        return self.result


@pytest.mark.parametrize(
    ("result", "said"),
    [
        (
            ExecResult(None, b"", b"", 1.0, timed_out=True),
            "stopped at 20 s (raise verifier.timeout",
        ),
        (
            ExecResult(None, b"", b"", 1.0, limit="memory"),
            "its memory limit (raise environment.mem",
        ),
        (
            ExecResult(None, b"", b"", 1.0, limit="disk"),
            "its disk limit (raise environment.storage",
        ),
        (
            ExecResult(None, b"", b"", 1.0, limit="pids"),
            "its pids limit (raise sandbox.limits.pids)",
        ),
        (ExecResult(None, b"", b"", 1.0, limit="other"), "its other limit (raise it)"),
        # The kernel killed a program of the tests, which went on.
        (ExecResult(1, b"", b"", 1.0, limit="memory"), "its memory limit"),
        (ExecResult(None, b"", b"", 1.0, timed_out=True, limit="memory"), "stopped at 20 s"),
        (ExecResult(None, b"last words", b"", 1.0, limit="disk"), "): stdout: last words"),
        (ExecResult(1, b"", b"", 1.0), ""),
        (ExecResult(0, b"", b"", 1.0), ""),
    ],
)
def test_tests_that_were_stopped_give_no_reward_though_they_wrote_one(
    result: ExecResult, said: str, task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (task.folder / "tests" / "test.sh").write_text(f"echo 1 > {LOGS}/reward.txt")
    monkeypatch.setattr(Ends, "result", result)
    for folder in ("workspace", "record"):
        (tmp_path / folder).mkdir()

    def run() -> Reward:
        return verify(task, tmp_path / "workspace", Ends, Start("unused"), tmp_path / "record")

    if said:
        with pytest.raises(VerifierError, match=re.escape(said)):
            run()
    else:
        assert run().soft == 1.0


@pytest.mark.parametrize(
    ("own", "least", "found"),
    [
        # Each of the task's limits may be the larger one, or the smaller.
        ((64, 1.0, 10), (128, 0.5, 5), (128, 1.0, 10)),
        ((64, 1.0, 10), (32, 2.0, 20), (64, 2.0, 20)),
        ((64, 1.0, 10), (64, 1.0, 10), (64, 1.0, 10)),
        ((64, 1.0, 10), None, (64, 1.0, 10)),
    ],
)
def test_a_sandbox_has_the_larger_of_two_limits(
    own: tuple[int, float, int],
    least: tuple[int, float, int] | None,
    found: tuple[int, float, int],
    task: Task,
) -> None:
    task = replace(task, memory_mb=own[0], cpus=own[1], disk_mb=own[2])
    given = Limits(least[0], least[1], 77, least[2]) if least else None
    limits = task_limits(task, given)
    assert (limits.memory_mb, limits.cpus, limits.disk_mb) == found
    assert limits.pids == (77 if least else Limits().pids)


@pytest.mark.parametrize(
    ("returned", "error"),
    [
        (Reward(0.0), ""), (Reward(1.0), ""), (Reward(0.5, {"n": 3}, None, 1), ""),
        (Reward(1.01), "return a skillopt.Reward in"), (Reward(-0.01), "return a skillopt.Reward"),
        (Reward(float("nan")), "return a skillopt.Reward in"), (1.0, "it returned 1.0"),
        (None, "it returned None"),
    ],
)  # fmt: skip
def test_what_a_users_own_verifier_may_return(
    returned: Any, error: str, task: Task, tmp_path: Path
) -> None:
    def own(task: Task, workspace: Path, answer: str) -> Any:
        return returned

    if error:
        with pytest.raises(OwnCodeError, match=error):
            verify_with(own, task, tmp_path, "", tmp_path)
    else:
        reward = verify_with(own, task, tmp_path, "", tmp_path)
        assert (reward.soft, reward.feedback) == (returned.soft, "")
        assert {type(value) for value in reward.metrics.values()} <= {float}
        assert reward.solved is (True if returned.solved else None)


@pytest.mark.parametrize("raised", [ConnectionError("gone"), TimeoutError("late")])
def test_a_service_that_a_verifier_does_not_reach_is_no_verdict(
    raised: OSError, task: Task, tmp_path: Path
) -> None:
    def own(task: Task, workspace: Path, answer: str, rollout: Path) -> Reward:
        raise raised

    with pytest.raises(VerifierError, match=f"on task task: {type(raised).__name__}: {raised}"):
        verify_with(own, task, tmp_path, "", tmp_path)

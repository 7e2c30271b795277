"""Which of an agent's steps the optimizer sees, and how they read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from atif import (
    Agent,
    Observation,
    ObservationResult,
    Step,
    SubagentTrajectoryRef,
    ToolCall,
    Trajectory,
)

from skillopt.core.text import estimate_tokens
from skillopt.optimizer.render import SKILL_NOTE, render_rollout, without_repeats
from skillopt.optimizer.steps import agent_steps
from tests.helpers.values import SKILL, a_rollout, keep_trajectory

AGENT = Agent(name="codex", version="1", model_name="m")
SOURCE = "def check(row):\n    raise ValueError('error in a failed row')  # not found\n" * 40


def a_step(
    number: int,
    name: str = "shell",
    arguments: dict[str, Any] | None = None,
    output: str | None = None,
    **more: Any,
) -> Step:
    refs = more.pop("refs", None)
    call = ToolCall(tool_call_id=f"c{number}", function_name=name, arguments=arguments or {})
    result = ObservationResult(
        source_call_id=f"c{number}", content=output, subagent_trajectory_ref=refs
    )
    return Step(
        step_id=number,
        source="agent",
        message=more.pop("message", ""),
        tool_calls=[call] if arguments is not None else None,
        observation=Observation(results=[result]) if output is not None or refs else None,
        **more,
    )


def a_trajectory(*steps: Step, **more: Any) -> Trajectory:
    return Trajectory(
        schema_version="ATIF-v1.8", session_id="s", agent=AGENT, steps=list(steps), **more
    )


def keep(folder: Path, trajectory: Trajectory) -> Path:
    (folder / "trajectory.json").write_text(trajectory.model_dump_json(exclude_none=True))
    return folder


def shown(folder: Path, tokens: int = 3000, **more: Any) -> str:
    return render_rollout(a_rollout(folder=folder, **more), SKILL, tokens)


def test_the_decisive_step_of_fifty_is_shown(tmp_path: Path) -> None:
    calls = [(f"cat src/module_{n}.py", SOURCE) for n in range(25)]
    calls += [(f"sed -i s/a/b/ src/module_{n}.py", "") for n in range(23)]
    calls += [("pytest -q", "E   AssertionError: assert 5 == 6\n1 failed, 3 passed in 0.10s")]
    calls += [("sed -i '1i@pytest.mark.skip' tests/test_total.py", "")]
    text = shown(keep_trajectory(tmp_path, calls))
    assert "pytest.mark.skip" in text and "assert 5 == 6" in text
    assert "[step 50 of 50]" in text and "sed -i s/a/b/ src/module_22.py" in text
    assert text.index("assert 5 == 6") < text.index("pytest.mark.skip")
    assert estimate_tokens(text) <= 3100


def test_commands_results_come_before_files_that_were_read(tmp_path: Path) -> None:
    calls = [("make report", "made 3 tables " * 20)]
    calls += [(f"cat notes_{n}.md", SOURCE) for n in range(30)]
    calls += [("echo done > result", "")] * 2
    text = shown(keep_trajectory(tmp_path, calls), 600)
    assert "made 3 tables" in text


def test_what_was_done_around_the_opening_of_the_skill_is_shown(tmp_path: Path) -> None:
    calls = [(f"python work_{n}.py", "fine " * 50) for n in range(40)]
    calls[10] = ("cat SKILL.md", SKILL.text)
    text = shown(keep_trajectory(tmp_path, calls), 700)
    assert SKILL_NOTE in text and "work_11.py" in text and "work_12.py" not in text


def test_thoughts_are_shown(tmp_path: Path) -> None:
    step = a_step(1, arguments={"command": "ls"}, output="a", reasoning_content="The id is odd.")
    assert "thought: The id is odd." in shown(keep(tmp_path, a_trajectory(step)))


def test_steps_of_sub_agents_follow_the_call_that_started_them(tmp_path: Path) -> None:
    ref = SubagentTrajectoryRef(trajectory_id="t2", session_id="s")
    sub = a_trajectory(
        a_step(1, arguments={"command": "pytest"}, output="1 failed in 0.10s"), trajectory_id="t2"
    )
    whole = a_trajectory(
        a_step(1, "Task", {"prompt": "Run the tests."}, "It went well.", refs=[ref]),
        a_step(2, message="All tests pass."),
        subagent_trajectories=[sub],
    )
    text = shown(keep(tmp_path, whole))
    order = ["[step 1 of 2] called Task: Run the tests.", "sub-agent 1: step 1 of 1]",
             "1 failed in 0.10s", "[step 2 of 2]"]  # fmt: skip
    assert [text.index(part) for part in order] == sorted(text.index(part) for part in order)


@pytest.mark.parametrize(
    ("name", "arguments", "text"),
    [
        ("shell", {"command": "ls"}, "called shell: ls"),
        (
            "exec_command",
            {"cmd": "python - <<E\nprint(1)\nE", "yield_time_ms": 1000, "workdir": "/app"},
            'called exec_command (workdir: "/app"):\npython - <<E\nprint(1)\nE',
        ),
        (
            "Bash",
            {"command": "cat a\ncat b", "description": "Read both"},
            'called Bash (description: "Read both"):\ncat a\ncat b',
        ),
        ("shell", {"command": ["bash", "-lc", "ls\npwd"]}, "called shell: ls\npwd"),
        ("shell", {"command": ["sh", "-c", "ls", "a"]}, "called shell: ls a"),
        # Lists that are no command of a shell.
        ("shell", {"command": ["bash", "-lc"]}, 'called shell (command: ["bash", "-lc"])'),
        ("shell", {"command": ["ls", "-l", "a"]}, 'called shell (command: ["ls", "-l", "a"])'),
        ("shell", {"command": []}, "called shell (command: [])"),
        (
            "Edit",
            {"file_path": "/a", "old_string": "x\ny", "new_string": "x\nz"},
            'called Edit (file_path: "/a")\nold_string:\nx\ny\nnew_string:\nx\nz',
        ),
        ("Read", {"file_path": "/a", "limit": 3}, 'called Read (file_path: "/a", limit: 3)'),
        ("wait", {}, "called wait"),
    ],
)
def test_calls_read_as_text(name: str, arguments: dict[str, Any], text: str) -> None:
    (step,) = agent_steps(a_trajectory(a_step(1, name, arguments, "x")), str, SKILL_NOTE)
    assert step.text() == f"{text}\ngot: x"


@pytest.mark.parametrize(
    ("output", "text", "failed"),
    [
        ("Chunk ID: 3f\nWall time: 0.1 seconds\nProcess exited with code 2\nOutput:\nboom",
         "got (exit code 2): boom", True),
        ("Chunk ID: 3f\nWall time: 0.1 seconds\nProcess exited with code 0\nOutput:\nfine",
         "got: fine", False),
        ("Exit code 1\nno luck", "got (exit code 1): no luck", True),
        ("12 passed, 0 failed\n[exit code 0]", "got: 12 passed, 0 failed", False),
        ("2 failed, 1 passed in 0.1s\n[exit code 0]", "got: 2 failed, 1 passed in 0.1s", True),
        (json.dumps({"output": "oh\n", "metadata": {"exit_code": 3}}),
         "got (exit code 3): oh\n", True),
        ('{"output": broken', 'got: {"output": broken', False),
    ],
)  # fmt: skip
def test_results_read_without_what_the_agent_adds(output: str, text: str, failed: bool) -> None:
    whole = a_trajectory(a_step(1, arguments={"command": "do it"}, output=output))
    (step,) = agent_steps(whole, str, SKILL_NOTE)
    assert step.actions[0].result == text and step.failed == failed


@pytest.mark.parametrize(
    ("command", "output", "failed"),
    [
        ("cat log.txt", "AssertionError: x\n" * 9, False),
        ("cat log.txt", "cat: log.txt: No such file or directory", True),
        ("cat log.txt | python -", "AssertionError: x\n" * 9, True),
        ("grep -rn nothing .", "\n[exit code 1]", False),
        ("git log --oneline", "error: wrong total\n" * 9, False),
        ("sed -n 1,20p a.py", "error: x\n" * 9, False),
        ("cat > a.py <<E\nx\nE", "error: x\n" * 9, True),
        ("FOO=1 make", "make: *** [all] Error 1", True),
        ("ls 2>/dev/null; head -5 a 2>&1", "error: x\n" * 9, False),
    ],
)
def test_what_stands_in_a_file_is_no_trouble(command: str, output: str, failed: bool) -> None:
    whole = a_trajectory(a_step(1, arguments={"command": command}, output=output))
    (step,) = agent_steps(whole, str, SKILL_NOTE)
    assert step.failed == failed


def test_the_final_answer_is_not_shown_twice(tmp_path: Path) -> None:
    folder = keep(tmp_path, a_trajectory(a_step(1, message="All is done now.")))
    text = shown(folder, answer="All is done now.")
    assert text.count("All is done now.") == 1


def test_feedback_keeps_the_failing_check_and_the_end() -> None:
    log = "\n".join(["passed " * 20] * 200 + ["E   assert 5 == 6"] + ["passed " * 20] * 200)
    text = render_rollout(a_rollout(feedback=f"{log}\n1 failed in 2.00s"), SKILL, 3000)
    assert "E   assert 5 == 6" in text and "1 failed in 2.00s" in text
    assert estimate_tokens(text) < 1000


def test_a_passage_of_an_earlier_trajectory_is_a_reference(tmp_path: Path) -> None:
    listing = "\n".join(f"line {n} of a long file that everybody reads" for n in range(30))
    folder = keep_trajectory(tmp_path, [("cat it", listing), ("python own.py", "own output")])
    first, second, third = without_repeats([shown(folder)] * 2 + ["\nSteps:\n```\nown\n```"])
    assert first == shown(folder)
    assert "lines as in trajectory 1]" in second and "line 7 of" not in second
    assert "Do the chore." in second and second.count("```") == first.count("```")
    assert third == "\nSteps:\n```\nown\n```"


def test_a_skill_that_a_tool_opens_counts_as_opened() -> None:
    call = a_step(1, "Skill", {"skill": "house-rules"}, "Launching skill: house-rules")
    (step,) = agent_steps(a_trajectory(call), str, SKILL_NOTE)
    assert step.opens and step.reads and not step.failed


def test_what_is_left_of_the_budget_makes_long_steps_whole(tmp_path: Path) -> None:
    script = "\n".join(f"line {n} of a script that decides" for n in range(100))
    text = shown(keep_trajectory(tmp_path, [("ls", "a"), (script, "wrote b")]))
    assert all(f"line {n} of" in text for n in range(100)) and "left out" not in text

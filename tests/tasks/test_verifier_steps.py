"""A verifier's sandbox, and what is made of how its tests end; nothing runs in it."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sandboxes.base import CopyRefusedError, Limits, Sandbox, SandboxSpec
from skillopt.core.import_path import PluginError
from skillopt.core.types import Reward, Task
from skillopt.tasks.harbor import read_task
from skillopt.tasks.surroundings import HOME, UNTRUSTED
from skillopt.tasks.verifier import (
    VerifierError,
    check_verifier,
    task_limits,
    verify,
    verify_with,
    write_verdict,
)
from skillopt.tasks.warm import Start
from tests.helpers.scripted_sandbox import Act, Ended, ScriptedSandboxes, place


@pytest.fixture
def task(tmp_path: Path) -> Task:
    folder = tmp_path / "task"
    (folder / "tests").mkdir(parents=True)
    (folder / "environment").mkdir()
    (folder / "task.toml").write_text(
        '[verifier]\ntimeout_sec = 20\nenv = { WORD = "hello" }\n[environment]\nmemory_mb = 512\n'
        'cpus = 2\nstorage_mb = 100\nenv = { MINE = "1" }\n'
    )
    (folder / "instruction.md").write_text("x")
    (folder / "environment" / "Dockerfile").write_text("FROM skillopt/agent-base:1\nWORKDIR /app\n")
    (folder / "tests" / "test.sh").write_text("true\n")
    (tmp_path / "workspace").mkdir()
    return read_task(folder)


def run(
    task: Task, act: Act, start: Start | None = None, limits: Limits | None = None
) -> tuple[Reward, ScriptedSandboxes]:
    made = ScriptedSandboxes(act)
    root = task.folder.parent
    start = start or Start("image:1")
    return verify(task, root / "workspace", made, start, root / "record", limits), made


def ends(**how: Any) -> Act:
    return lambda spec, argv: Ended(**how)


def test_the_sandbox_is_as_the_task_says(task: Task) -> None:
    reward, made = run(task, ends(reward=0.5, stdout="half\n"), Start("image:1", keep_as="kept"))
    (spec,), ((argv, deadline_s),) = made.specs, made.runs
    assert (spec.image, spec.workdir, spec.keep_as) == ("image:1", "/app", "kept")
    assert spec.env == {"MINE": "1"} and spec.single_command and not spec.root
    assert spec.limits == Limits(512, 2.0, Limits().pids, 100 + 1 + 256)
    (work,) = [mount for mount in spec.mounts if mount.target == "/app"]
    assert work.source == str(task.folder.parent / "workspace")
    assert not work.read_only and not work.returned
    assert argv[0] == "bash" and argv[-1].endswith("/test.sh") and deadline_s == 20
    assert (reward.soft, reward.metrics, reward.feedback) == (0.5, {"reward": 0.5}, "half")


def test_the_sandbox_has_the_agents_limits_and_the_tasks_rights(task: Task) -> None:
    task = replace(task, untrusted_programs=True, verifier_root=True)
    _, made = run(task, ends(reward=1), limits=Limits(1024, 1.0, 77, 50))
    (spec,) = made.specs
    assert spec.limits == Limits(1024, 2.0, 77, 100 + 1 + 256)
    assert not spec.single_command and spec.root and UNTRUSTED in {m.target for m in spec.mounts}
    least = task_limits(replace(task, memory_mb=0, cpus=0.0, disk_mb=0))
    assert (least.memory_mb, least.cpus, least.disk_mb) == (0, 0, 0)


def test_what_the_tests_said_is_kept(task: Task) -> None:
    run(task, ends(reward=1, stdout="out", stderr="err"))
    folder = task.folder.parent / "record" / "verifier"
    found = {file.name: file.read_text() for file in folder.iterdir()}
    assert json.loads(found.pop("reward.json")) == {"reward": 1.0}
    assert "out" in found.pop("feedback.txt")
    assert found == {"test-stdout.txt": "outerr", "test-stderr.txt": "err"}, "and nothing else"


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"timed_out": True, "limit": "disk"},
         "test.sh was stopped at 20 s (raise verifier.timeout_sec in task.toml)"),
        ({"limit": "memory"}, "stopped at its memory limit (raise environment.memory_mb"),
        ({"limit": "disk"}, "stopped at its disk limit (raise environment.storage_mb in"),
        ({"limit": "pids"}, "stopped at its pids limit (raise sandbox.limits.pids)"),
        ({"limit": "odd"}, "stopped at its odd limit (raise it)"),
        ({"code": 3}, "task: tests/test.sh wrote neither reward.json nor reward.txt (exit code 3)"),
        ({"reward": 2}, "(exit code 0)"),
    ],
)  # fmt: skip
def test_tests_without_a_verdict_are_told_with_their_end(
    how: dict[str, Any], said: str, task: Task
) -> None:
    lines = "\n".join(f" line {n} " for n in range(7)) + "\n" + "x" * 250 + "\n\n"
    with pytest.raises(VerifierError) as raised:
        run(task, ends(**how, stdout=lines, stderr=f"why: {'y' * 250}"))
    found = str(raised.value)
    end = f": stderr: why: {'y' * 195}; stdout: line 3 | line 4 | line 5 | line 6 | {'x' * 200}"
    assert said in found and found.endswith(end)
    assert not (task.folder.parent / "record" / "verifier" / "reward.json").exists()


def test_tests_that_say_nothing_are_told_without_an_end(task: Task) -> None:
    with pytest.raises(VerifierError, match=r"\(exit code 0\)$"):
        run(task, ends())


MISSING = "; the image has no 'jq': install it in environment/Dockerfile"


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"code": 127, "stderr": "test.sh: line 2: jq: command not found"}, MISSING),
        ({"code": 127, "stdout": "sh: 1: jq: not found"}, MISSING),
        ({"code": 127, "stderr": "exec jq failed: No such file"}, MISSING),
        ({"code": 127, "stderr": 'exec: "jq": executable file not found'}, MISSING),
        ({"code": 127, "stderr": "a: not found\nb: not found", "stdout": "jq: not found"}, MISSING),
        ({"code": 1, "stderr": "jq: command not found"}, ""),
        ({"code": 127, "stderr": "jq is gone"}, ""),
    ],
)
def test_a_program_that_the_image_lacks_is_named(
    how: dict[str, Any], said: str, task: Task
) -> None:
    with pytest.raises(VerifierError, match=rf"\(exit code \d+\){re.escape(said)}: std"):
        run(task, ends(**how))


@pytest.mark.parametrize(
    ("script", "told"), [(b"#!/bin/sh\r\ntrue\n", True), (b"#!/bin/sh\ntrue\r\n", False)]
)
def test_line_ends_of_the_first_line_matter(script: bytes, told: bool, task: Task) -> None:
    (task.folder / "tests" / "test.sh").write_bytes(script)
    with pytest.raises(VerifierError) as raised:
        run(task, ends(code=127, stderr="jq: not found"))
    assert ("it has CRLF line ends" in str(raised.value)) is told
    assert (MISSING in str(raised.value)) is not told


def test_an_attack_on_the_verifier_is_scored_0(task: Task) -> None:
    def attack(spec: SandboxSpec, argv: Sequence[str]) -> Ended:
        (place(spec, UNTRUSTED) / "attacked").write_text("a program ended the server\n")
        return Ended(reward=1, timed_out=True)

    reward, _ = run(replace(task, untrusted_programs=True), attack)
    assert reward == Reward(0.0, {"reward": 0.0}, "a program ended the server")
    folder = task.folder.parent / "record" / "verifier"
    assert json.loads((folder / "reward.json").read_text()) == {"reward": 0.0}
    assert (folder / "feedback.txt").read_text() == "a program ended the server"


def test_a_home_is_brought_and_kept(task: Task, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "tool").write_text("t")

    def use(spec: SandboxSpec, argv: Sequence[str]) -> Ended:
        assert (place(spec, HOME) / "tool").read_text() == "t"
        (place(spec, HOME) / "more").write_text("m")
        (mount,) = [one for one in spec.mounts if one.target == HOME]
        return Ended(reward=float(mount.returned))

    start = Start("image:1", home=tmp_path / "home", keep_home=tmp_path / "kept")
    reward, _ = run(task, use, start)
    assert reward.soft == 1.0
    assert sorted(file.name for file in (tmp_path / "kept").iterdir()) == ["more", "tool"]
    assert [file.name for file in (tmp_path / "home").iterdir()] == ["tool"]


def test_without_a_home_to_keep_none_is_returned(task: Task) -> None:
    def use(spec: SandboxSpec, argv: Sequence[str]) -> Ended:
        return Ended(reward=float(any(m.returned for m in spec.mounts if m.target == HOME)))

    assert run(task, use)[0].soft == 0.0


@pytest.mark.parametrize("reads", [False, True])
def test_a_repositorys_settings_stay_if_the_tests_read_them(reads: bool, task: Task) -> None:
    config = task.folder.parent / "workspace" / ".git" / "config"
    config.parent.mkdir()
    for name in ("objects", "refs"):
        (config.parent / name).mkdir()
    (config.parent / "HEAD").write_text("ref: refs/heads/main\n")
    config.write_text("[core]\n\tfsmonitor = ./trap\n")
    script = "cat .git/config\n" if reads else "true\n"
    (task.folder / "tests" / "test.sh").write_text(script)
    run(task, ends(reward=1))
    assert ("fsmonitor" in config.read_text()) is reads


def test_tests_that_do_not_fit_are_told(task: Task) -> None:
    def refuse(spec: SandboxSpec) -> Sandbox:
        raise CopyRefusedError("no room")

    root = task.folder.parent
    with pytest.raises(VerifierError, match=r"task: tests/test\.sh: no room \(raise environment\."):
        verify(task, root / "workspace", refuse, Start("image:1"), root / "record")
    assert not (root / "record" / "verifier" / "logs").exists(), "what was made for it is removed"


def test_a_verdict_is_written_as_it_is(tmp_path: Path) -> None:
    reward = Reward(0.5, {"a": 1.0}, "\u00fc\n")
    assert write_verdict(tmp_path, reward) is reward
    assert (tmp_path / "reward.json").read_text() == '{"a": 1.0}\n'
    assert (tmp_path / "feedback.txt").read_text("utf-8") == "\u00fc\n"


def three(task: Task, workspace: Path, answer: str) -> Reward:
    return Reward(1.0, {"given": 3.0})


def four(task: Task, workspace: Path, answer: str, rollout: Path) -> Reward:
    return Reward(1.0, {"given": 4.0, "rollout": float(rollout.name == "rollout")})


def optional(task: Task, workspace: Path, answer: str, rollout: Path | None = None) -> Reward:
    return Reward(1.0, {"given": 3.0 if rollout is None else 4.0})


def two(task: Task, workspace: Path) -> Reward:
    return Reward(1.0)


def five(task: Task, workspace: Path, answer: str, rollout: Path, more: int) -> Reward:
    return Reward(1.0)


@pytest.mark.parametrize(
    ("own", "metrics"),
    [
        (three, {"given": 3.0}), (four, {"given": 4.0, "rollout": 1.0}), (optional, {"given": 4.0}),
        (lambda *given: Reward(1.0, {"given": len(given)}), {"given": 4.0}),
        (two, None), (five, None),
    ],
)  # fmt: skip
def test_an_own_verifier_takes_three_or_four_arguments(
    own: Any, metrics: dict[str, float] | None, task: Task, tmp_path: Path
) -> None:
    if metrics is None:
        with pytest.raises(PluginError):
            check_verifier(own)
        return
    check_verifier(own)
    found = verify_with(own, task, tmp_path, "answer", tmp_path / "rollout")
    assert found.metrics == metrics and found.solved is None


def test_an_own_reward_becomes_plain(task: Task, tmp_path: Path) -> None:
    def own(task: Task, workspace: Path, answer: str) -> Any:
        return Reward(True, {7: "2.5"}, None, 0)  # type: ignore[arg-type,dict-item]

    found = verify_with(own, task, tmp_path, "", tmp_path)
    assert found == Reward(1.0, {"7": 2.5}, "", False)
    assert type(found.soft) is float and found.solved is False

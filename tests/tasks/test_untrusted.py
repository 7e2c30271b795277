"""Programs of the agent's under a verifier: run as another user, faithfully, and never for ever."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from sandboxes.base import SandboxFactory
from sandboxes.docker import DockerEngine
from sandboxes.docker_sandbox import DockerSandbox
from sandboxes.local import local_sandbox
from skillopt.core.types import Reward
from skillopt.tasks.harbor import read_task
from skillopt.tasks.verifier import verify
from skillopt.tasks.warm import Start

Judge = Callable[[str, str], Reward]
IMAGE = "skillopt/agent-base:1"


def judged(folder: Path, factory: SandboxFactory, program: str, script: str) -> Reward:
    """Run a verifier's script beside the agent's ``mine.sh``."""
    for name, text in {
        "task/task.toml": "[metadata]\nuntrusted_programs = true\n[verifier]\ntimeout_sec = 30\n",
        "task/instruction.md": "x",
        "task/environment/Dockerfile": f"FROM {IMAGE}\nWORKDIR /app\n",
        "task/tests/test.sh": f'{script}\necho 1 > "$VERIFIER_LOGS/reward.txt"\n',
        "task/tests/hidden.txt": "hidden",
        "workspace/mine.sh": program,
        "record/.keep": "",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    task = read_task(folder / "task")
    return verify(task, folder / "workspace", factory, Start(IMAGE), folder / "record")


@pytest.fixture(params=["local", pytest.param("docker", marks=pytest.mark.engine)])
def judge(request: pytest.FixtureRequest, tmp_path: Path) -> Judge:
    if request.param == "local":
        factory: SandboxFactory = local_sandbox
    else:
        engine: DockerEngine = request.getfixturevalue("engine")
        factory = partial(DockerSandbox, engine)
    return lambda program, script: judged(tmp_path, factory, program, script)


def test_input_output_arguments_and_exit_code_pass_through(judge: Judge) -> None:
    program = 'read line; echo "out $line [$1] [$2]"; echo err >&2; exit 7\n'
    script = (
        'echo "in put" | "$UNTRUSTED" bash mine.sh "a b" "" 2>errors >output; echo "code $?"\n'
        'cat output; echo "errors: $(cat errors)"'
    )
    assert judge(program, script).feedback == "code 7\nout in put [a b] []\nerrors: err"


def test_much_output_comes_whole_and_in_order(judge: Judge) -> None:
    script = '"$UNTRUSTED" bash mine.sh | md5sum; seq 300000 | md5sum'
    first, second = judge("seq 300000\n", script).feedback.splitlines()
    assert first == second


@pytest.mark.engine
def test_a_reader_that_comes_late_finds_the_output_of_a_program_that_has_ended(
    engine: DockerEngine, tmp_path: Path
) -> None:
    script = (
        "mkdir /tmp/late; printf '#!/bin/sh\\nsleep 0.5; exec /bin/cat \"$@\"\\n' >/tmp/late/cat\n"
        'chmod +x /tmp/late/cat; PATH=/tmp/late:$PATH "$UNTRUSTED" bash mine.sh 2>&1'
    )
    said = judged(
        tmp_path, partial(DockerSandbox, engine), "echo out; echo err >&2\n", script
    ).feedback
    assert sorted(said.splitlines()) == ["err", "out"]


@pytest.mark.engine
def test_it_is_another_user_who_is_gone_with_all_that_it_started(
    engine: DockerEngine, tmp_path: Path
) -> None:
    program = "id -u; ls /skillopt/hidden; (setsid sleep 100 &); echo > /logs/verifier/x\n"
    script = (
        '"$UNTRUSTED" bash mine.sh 2>&1; "$UNTRUSTED" bash mine.sh >/dev/null 2>&1\n'
        "pgrep -c -u 65533 sleep; ls /logs/verifier"
    )
    said = judged(tmp_path, partial(DockerSandbox, engine), program, script).feedback
    *mixed, sleeping = said.splitlines()  # Output and errors come by two ways.
    assert "65533" in mixed and sleeping == "0"
    assert "'/skillopt/hidden': Permission denied" in said
    assert "/logs/verifier/x: Permission denied" in said


@pytest.mark.engine
def test_a_program_that_kills_who_runs_it_ends_only_itself(
    engine: DockerEngine, tmp_path: Path
) -> None:
    script = 'for i in 1 2; do "$UNTRUSTED" bash mine.sh; echo "code $?"; done'
    said = judged(
        tmp_path, partial(DockerSandbox, engine), "kill -9 $PPID; sleep 5\n", script
    ).feedback
    assert said.splitlines() == ["code 137", "code 137"]

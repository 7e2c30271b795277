"""What an agent cannot do, tried by a model that tries it with the agent's own tools."""

from __future__ import annotations

import os
import time
from pathlib import Path

import psutil
import pytest

from harnesses.agents import registry
from harnesses.agents.registry import CLI_AGENTS, NAMES
from harnesses.base import Status
from skillopt.rollouts.rollout import run_job
from skillopt.tasks.environment import Environments
from tests.helpers.lab import SKILL, Lab, MakeLab, job
from tests.helpers.scripted_model import ScriptedAgentModel
from tests.helpers.tasks import make_task

pytestmark = pytest.mark.engine
KEY = "sk-real-key-of-the-user"


def outputs(here: Lab, model: ScriptedAgentModel, harness: str, **changes: object) -> list[str]:
    outcome = here.run(harness, here.request(**changes))
    assert (outcome.status, outcome.message) == (Status.COMPLETED, "")
    return model.outputs


@pytest.mark.parametrize("harness", NAMES)
def test_no_network_no_privileges_no_socket(harness: str, lab: MakeLab) -> None:
    model = ScriptedAgentModel([
        "ip -o link 2>/dev/null || cat /proc/net/dev; cat /proc/net/route",
        "getent hosts example.com registry.npmjs.org; echo resolved=$?",
        "timeout 3 bash -c 'exec 3<>/dev/tcp/1.1.1.1/53'; echo connected=$?",
        "id -u; grep -E 'CapEff|NoNewPrivs' /proc/self/status",
        "ls -la /var/run/docker.sock /run/docker.sock; echo none",
        "touch /etc/x /usr/bin/x /opt/skillopt/x; echo status=$?",
    ])  # fmt: skip
    link, resolved, connected, who, socket, written = outputs(lab(model), model, harness)
    assert "eth0" not in link
    assert "resolved=2" in resolved
    assert "connected=0" not in connected
    assert "0000000000000000" in who and "NoNewPrivs:\t1" in who
    assert not any(line.strip() == "0" for line in who.splitlines())
    assert "srw" not in socket
    assert "status=0" not in written


@pytest.mark.parametrize("harness", NAMES)
def test_no_key_of_the_user_is_anywhere(
    harness: str, lab: MakeLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    model = ScriptedAgentModel([
        "env; cat /proc/*/environ 2>/dev/null | tr '\\0' '\\n'",
        "cat /proc/*/cmdline 2>/dev/null | tr '\\0' ' '",
        "grep -rslI 'sk-real''-key' /home /app /tmp /etc /opt /var 2>/dev/null; echo searched",
    ])  # fmt: skip
    here = lab(model)
    found = outputs(here, model, harness)
    assert "searched" in found[2] and "/home" not in found[2] and "/app" not in found[2]
    assert not any(KEY in text for text in found[:2])
    for file in here.folder.rglob("*"):
        assert not (file.is_file() and KEY.encode() in file.read_bytes()), file


@pytest.mark.parametrize("harness", CLI_AGENTS)
def test_the_skill_cannot_be_changed(harness: str, lab: MakeLab) -> None:
    place = f"~/{registry.agent_kind(harness).folders.skills}/house-rules"
    model = ScriptedAgentModel([
        f"cd {place} && (echo more >> SKILL.md; rm SKILL.md; touch new; "
        "chmod 777 SKILL.md; mv ../house-rules ../away); ls -la . ..",
        f"cat {place}/SKILL.md",
    ])  # fmt: skip
    here = lab(model)
    skill = here.skill()
    assert "treat an amount" in outputs(here, model, harness, skill=skill)[1]
    assert (skill / "SKILL.md").read_text() == SKILL


def run(here: Lab, harness: str, task: Path):  # type: ignore[no-untyped-def]
    folder = here.folder / f"rollout-{here.count}"
    folder.mkdir()
    return run_job(
        job(here, harness, task), here.site, Environments(here.backend), here.verifier, folder
    )


@pytest.mark.parametrize("harness", NAMES)
def test_tests_and_solution_are_nowhere_while_the_agent_runs(
    harness: str, lab: MakeLab, tmp_path: Path
) -> None:
    model = ScriptedAgentModel([
        "find / -name 'secret.txt' -o -name 'solve.sh' -o -name 'test.sh' 2>/dev/null; "
        "ls /tests /solution /logs; echo looked",
        "grep -rsl 'expected-answer-47''11' / --include=* --exclude-dir=proc --exclude-dir=sys "
        "2>/dev/null; echo searched",
    ])  # fmt: skip
    task = make_task(
        tmp_path / "task", "grep -q 4711 /tests/secret.txt && echo 1 > /logs/verifier/reward.txt\n"
    )
    result = run(lab(model), harness, task)
    assert result.status is Status.COMPLETED and result.reward.soft == 1.0
    looked = "\n".join(
        line for line in model.outputs[0].splitlines() if "cannot access" not in line
    )
    assert "secret.txt" not in looked and "solve.sh" not in looked and "test.sh" not in looked
    assert "looked" in looked and "searched" in model.outputs[1]
    # The hit is in the search command itself at most: the CLI's own transcript of it.
    assert "/tests" not in model.outputs[1] and "/app" not in model.outputs[1]


LATE = "(setsid nohup sh -c 'sleep {wait}; echo expected > /app/answer.txt' >/dev/null 2>&1 &)"
ANSWERED = (
    'sleep 4; if [ -e answer.txt ]; then echo 1; else echo 0; fi > "$VERIFIER_LOGS/reward.txt"\n'
)


@pytest.mark.parametrize("harness", NAMES)
def test_what_an_agent_leaves_running_is_dead_before_the_verifier_starts(
    harness: str, lab: MakeLab, tmp_path: Path
) -> None:
    here = lab(ScriptedAgentModel([LATE.format(wait=3)]))
    result = run(here, harness, make_task(tmp_path / "task", ANSWERED))
    assert (result.status, result.reward.soft) == (Status.COMPLETED, 0.0)


@pytest.mark.parametrize("harness", NAMES)
def test_an_agent_over_its_deadline_is_dead_with_all_it_started(
    harness: str, lab: MakeLab, tmp_path: Path
) -> None:
    # Nobody else on this machine sleeps just so long.
    sleep = f"sleep 600.{os.getpid()}"
    here = lab(ScriptedAgentModel([f"{LATE.format(wait=6)}; {sleep}"]))
    started = time.monotonic()
    result = run(here, harness, make_task(tmp_path / "task", ANSWERED, timeout=4))
    assert result.status is Status.AGENT_TIMEOUT and "4 s" in result.message
    assert time.monotonic() - started < 12
    assert sleep not in " ".join(_command_lines())


def _command_lines() -> list[str]:
    return [" ".join(p.info["cmdline"] or ()) for p in psutil.process_iter(["cmdline"])]


@pytest.mark.parametrize("harness", NAMES)
def test_a_memory_hog_is_killed_and_the_agent_goes_on(
    harness: str, lab: MakeLab, tmp_path: Path
) -> None:
    taken = f"taken_{os.getpid()}"
    model = ScriptedAgentModel(
        [
            f"python3 -c '{taken} = []\nwhile True: {taken}.append(bytearray(10**7))'; echo hog=$?",
            f"python3 -c '{taken} = 1\nwhile True: pass' >/dev/null 2>&1 &",
        ]
    )
    task = make_task(tmp_path / "task", 'echo 0 > "$VERIFIER_LOGS/reward.txt"\n')
    result = run(lab(model), harness, task)
    assert "hog=137" in model.outputs[0]
    assert (result.status, result.reward.soft) == (Status.COMPLETED, 0.0)
    assert taken not in " ".join(_command_lines())


@pytest.mark.parametrize("harness", NAMES)
def test_a_fork_bomb_ends_with_the_agent(harness: str, lab: MakeLab, tmp_path: Path) -> None:
    """Its time ends it, or the agent's own program does, which gets no new thread either."""
    bomb = f"bomb_{os.getpid()}"
    here = lab(ScriptedAgentModel([f"{bomb}() {{ {bomb} | {bomb} & }}; {bomb}; sleep 600"]))
    result = run(here, harness, make_task(tmp_path / "task", ANSWERED, timeout=6))
    assert result.status in (Status.AGENT_TIMEOUT, Status.AGENT_ERROR), result.message
    assert bomb not in " ".join(_command_lines())


def test_an_agent_that_fills_the_disk_is_stopped(lab: MakeLab, tmp_path: Path) -> None:
    fill = "for i in $(seq 100); do head -c 10000000 /dev/zero > f$i; sleep 0.2; done; echo full"
    result = run(
        lab(ScriptedAgentModel([fill])), "codex", make_task(tmp_path / "task", ANSWERED, timeout=50)
    )
    assert result.status is Status.AGENT_ERROR and "disk limit" in result.message


def test_the_token_of_a_finished_rollout_and_another_model_are_refused(lab: MakeLab) -> None:
    post = (
        "curl -s -w ' status=%{http_code}' -H \"authorization: Bearer $GATEWAY_TOKEN\" "
        "-H 'content-type: application/json' http://127.0.0.1:8377/v1/responses -d "
    )
    model = ScriptedAgentModel([
        post + '\'{"model": "gpt-expensive", "input": "hi"}\'',
        "echo $GATEWAY_TOKEN > token.txt",
    ])  # fmt: skip
    here = lab(model)
    request = here.request()
    outcome = here.run("codex", request)
    assert outcome.status is Status.COMPLETED
    assert "status=403" in model.outputs[0] and "gpt-expensive" in model.outputs[0]
    assert request.workspace is not None
    token = (request.workspace / "token.txt").read_text().strip()
    assert token.startswith("so-")
    model.commands = [
        f"export GATEWAY_TOKEN={token}; " + post + '\'{"model": "sim-1", "input": "hi"}\''
    ]
    here.run("codex", here.request())
    assert "status=401" in model.outputs[0]


def test_links_in_the_agents_home_do_not_bring_in_the_users_transcripts(lab: MakeLab) -> None:
    model = ScriptedAgentModel([])
    here = lab(model)
    mine = here.folder / "mine" / "2026" / "11" / "24"
    mine.mkdir(parents=True)
    (mine / "rollout-secret.jsonl").write_text("private")
    model.commands = [f"rm -rf ~/.codex/sessions; ln -s {here.folder / 'mine'} ~/.codex/sessions"]
    request = here.request()
    here.run("codex", request)
    kept = [file.read_text() for file in request.record.rglob("*.jsonl")]
    assert kept and "private" not in kept

"""Verifiers that get the agent's whole container: what it changed elsewhere is judged too."""

from __future__ import annotations

from pathlib import Path

import pytest

from harnesses.agents.registry import CLI_AGENTS
from harnesses.base import Status
from skillopt.core.types import Rollout
from skillopt.rollouts.kept_work import why_not
from skillopt.rollouts.rollout import run_job
from skillopt.tasks.environment import Environments, Handover
from skillopt.tasks.harbor import read_task
from tests.helpers.cells import ALL_CELLS
from tests.helpers.lab import Lab, MakeLab, job
from tests.helpers.scripted_model import ScriptedAgentModel

pytestmark = pytest.mark.engine
AGENTS = ("direct", *CLI_AGENTS) if ALL_CELLS else ("direct", "codex")
WORK = "mkdir -p /etc/thing && echo 42 > /etc/thing/answer && echo 7 > here.txt"
TEST = """\
r=0; [ "$(cat /etc/thing/answer)" = 42 ] && [ "$(cat /app/here.txt)" = 7 ] && r=1
echo $r > /logs/verifier/reward.txt
"""


TOML = '[agent]\nuser = "root"\ntimeout_sec = 60\n[verifier]\ntimeout_sec = 30\n'
DOCKERFILE = "FROM skillopt/agent-base:1\nWORKDIR /app\n"


def run(
    here: Lab,
    tmp_path: Path,
    agent: str,
    handover: Handover = "auto",
    test: str = TEST,
    toml: str = TOML,
    dockerfile: str = DOCKERFILE,
) -> Rollout:
    for name, text in {
        "task.toml": toml,
        "instruction.md": "Do it; write a copy to /tmp/copy.txt.\n",
        "environment/Dockerfile": dockerfile,
        "tests/test.sh": test,
    }.items():
        (tmp_path / "task" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "task" / name).write_text(text)
    folder = tmp_path / "rollout"
    folder.mkdir()
    environments = Environments(here.backend, handover=handover)
    work = job(here, agent, tmp_path / "task")
    assert work.task == read_task(tmp_path / "task")
    assert work.task.handover or not work.task.workdir_known
    found = run_job(work, here.site, environments, here.verifier, folder)
    left = here.engine.api.images(filters={"reference": "skillopt/handed"})
    assert not [one for one in left if work.key[:12] in str(one["RepoTags"])]
    return found


@pytest.mark.parametrize("agent", AGENTS)
def test_what_an_agent_changed_elsewhere_counts(agent: str, lab: MakeLab, tmp_path: Path) -> None:
    found = run(lab(ScriptedAgentModel([WORK])), tmp_path, agent)
    assert (found.status, found.reward.hard) == (Status.COMPLETED, 1.0), found.message
    assert "whole container" in why_not(tmp_path / "rollout")


def test_the_working_directory_alone_if_the_user_wants_that(lab: MakeLab, tmp_path: Path) -> None:
    found = run(lab(ScriptedAgentModel([WORK])), tmp_path, "direct", "workdir")
    assert (found.status, found.reward.hard) == (Status.COMPLETED, 0.0), found.message
    assert why_not(tmp_path / "rollout") == ""


def test_tests_that_fail_cost_no_score_and_the_usage_is_known(lab: MakeLab, tmp_path: Path) -> None:
    found = run(lab(ScriptedAgentModel([WORK])), tmp_path, "direct", test="ls /etc/thing; exit 3\n")
    assert found.status is Status.INFRA_ERROR and "exit code 3" in found.message
    assert found.usage.requests == 2
    assert not (tmp_path / "rollout" / "outcome.json").exists()


def test_a_working_directory_that_only_the_image_knows(lab: MakeLab, tmp_path: Path) -> None:
    here, toml = lab(ScriptedAgentModel([WORK])), TOML + "[environment]\ndocker_image = "
    found = run(here, tmp_path, "direct", toml=f'{toml}"skillopt/agent-base:1"\n')
    assert (found.status, found.reward.hard) == (Status.COMPLETED, 1.0), found.message


def test_temporary_files_that_the_instruction_asks_for(lab: MakeLab, tmp_path: Path) -> None:
    test = "r=0; [ $(cat /tmp/copy.txt) = 7 ] && r=1\necho $r > /logs/verifier/reward.txt\n"
    here = lab(ScriptedAgentModel(["echo 7 > /tmp/copy.txt"]))
    found = run(here, tmp_path, "direct", test=test, toml="[agent]\ntimeout_sec = 60\n")
    assert (found.status, found.reward.hard) == (Status.COMPLETED, 1.0), found.message


def test_volumes_of_an_image_are_no_verdict(lab: MakeLab, tmp_path: Path) -> None:
    dockerfile = f"{DOCKERFILE}VOLUME /etc/thing /app\n"
    found = run(lab(ScriptedAgentModel([WORK])), tmp_path, "direct", dockerfile=dockerfile)
    assert found.status is Status.INFRA_ERROR
    assert "VOLUME /etc/thing: what is changed there cannot be kept" in found.message

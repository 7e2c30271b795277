"""The harnesses for real: the real CLIs in real containers, and what a rollout keeps."""

from __future__ import annotations

import json

import jsonschema
import pytest
from atif import Trajectory

from harnesses.agents import codex
from harnesses.agents.registry import CLI_AGENTS, NAMES, toolchains
from harnesses.base import Status
from sandboxes.docker_sandbox import DockerSandbox
from skillopt.sim.model import SimUpstream
from tests.helpers.atif_schema import SCHEMA
from tests.helpers.lab import SKILL, MakeLab
from tests.helpers.ledger import TASK, amount, ledger
from tests.helpers.scripted_model import ScriptedAgentModel

pytestmark = pytest.mark.engine
VERSIONS = {tool.name: tool.version for tool in toolchains()}


@pytest.mark.parametrize("harness", NAMES)
def test_a_rollout_runs_real_tools_and_keeps_everything(harness: str, lab: MakeLab) -> None:
    model = ScriptedAgentModel(["pwd; echo made > made.txt", "cat made.txt"])
    here = lab(model)
    request = here.request()
    outcome = here.run(harness, request)
    assert (outcome.status, outcome.message) == (Status.COMPLETED, "")
    assert outcome.answer == "finished"
    assert request.workspace is not None
    assert (request.workspace / "made.txt").read_text() == "made\n"
    assert "/app" in model.outputs[0] and "made" in model.outputs[1]
    trajectory = outcome.trajectory
    assert trajectory is not None
    document = trajectory.to_json_dict()
    jsonschema.validate(document, SCHEMA)
    Trajectory.model_validate(document)
    agent_steps = [step for step in trajectory.steps if step.source == "agent"]
    assert [bool(step.tool_calls) for step in agent_steps] == [True, True, False]
    for step, output in zip(agent_steps, model.outputs, strict=False):
        assert step.observation is not None
        assert step.observation.results[0].content == output
    assert (request.record / "wire.jsonl").stat().st_size > 0
    if harness in CLI_AGENTS:
        assert outcome.version == VERSIONS[harness]
        own = [file.read_text() for file in (request.record / "transcript").iterdir()]
        kept = "".join([*own, (request.record / "agent.stdout.jsonl").read_text()])
        assert own and "made.txt" in kept and outcome.version in kept
    assert not (request.record / "home").exists()


# Claude Code takes the first heading for a description where the front matter gives none.
BROKEN = SKILL.replace("description: House", "descr: [House").replace("# House rules", "# Notes")


@pytest.mark.parametrize(
    ("harness", "text", "activated", "value"),
    [
        *[(harness, SKILL, True, -10) for harness in NAMES],
        *[(harness, None, None, 10) for harness in NAMES],
        # Direct chat reads no front matter: the skill is its system message.
        *[(harness, BROKEN, False, 10) for harness in CLI_AGENTS],
    ],
)
def test_the_gain_goes_through_the_mount(
    harness: str, text: str | None, activated: bool | None, value: int, lab: MakeLab
) -> None:
    here = lab(SimUpstream())
    request = here.request(instruction=TASK, skill=here.skill(text) if text else None)
    assert request.workspace is not None
    ledger(request.workspace)
    outcome = here.run(harness, request)
    assert (outcome.status, outcome.message) == (Status.COMPLETED, "")
    assert outcome.skill_activated is activated
    assert amount(request.workspace) == value


@pytest.mark.parametrize("harness", CLI_AGENTS)
def test_an_empty_mount_leaves_the_skill_unopened(harness: str, lab: MakeLab) -> None:
    here = lab(SimUpstream())
    skill = here.skill()
    (skill / "SKILL.md").unlink()
    request = here.request(instruction=TASK, skill=skill)
    assert request.workspace is not None
    ledger(request.workspace)
    outcome = here.run(harness, request)
    assert outcome.skill_activated is False
    assert amount(request.workspace) == 10


def test_claude_code_lists_the_mounted_skill_before_any_model_call(lab: MakeLab) -> None:
    here = lab(ScriptedAgentModel([]))
    request = here.request(skill=here.skill())
    here.run("claude-code", request)
    first = json.loads((request.record / "agent.stdout.jsonl").read_text().split("\n")[0])
    assert "house-rules" in first["skills"]


def test_codex_puts_the_mounted_skill_into_its_prompt_without_a_model_call(lab: MakeLab) -> None:
    from sandboxes.base import Mount, SandboxSpec

    here = lab(ScriptedAgentModel([]))
    tool = codex.toolchain()
    place = "/home/agent/.codex/skills/house-rules"
    home = here.folder / "home"
    (home / ".codex/skills/house-rules").mkdir(parents=True)
    spec = SandboxSpec(
        "skillopt/agent-base:1",
        mounts=(
            Mount(str(home), "/home/agent", read_only=False),
            Mount(here.site.volume(tool.image), tool.target),
            Mount(str(here.skill()), place),
        ),
        env={"HOME": "/home/agent", "CODEX_HOME": "/home/agent/.codex"},
    )
    with DockerSandbox(here.engine, spec) as box:
        result = box.run([tool.binary, "debug", "prompt-input", "hello"], deadline_s=30)
    assert result.exit_code == 0
    assert b"house-rules: House rules for spreadsheets" in result.stdout

"""A deployed skill in a real home: the real CLIs, started in that very home, open it and follow it,
and after a rollback the home's skills are what they were, byte for byte."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from harnesses.agents.cli_agent import HOME, CliHarness
from harnesses.agents.registry import CLI_AGENTS, agent_kind, make_harness
from harnesses.base import ModelSpec
from harnesses.gateway.exchange import Exchange
from harnesses.gateway.session import Grant
from harnesses.gateway.wire import WIRE, read_wire
from sandboxes.base import Mount, SandboxSpec
from sandboxes.docker_sandbox import DockerSandbox
from skillopt.core.skill import Skill, write_skill
from skillopt.deploy.places import tree_digest
from skillopt.sim.model import SimUpstream
from tests.helpers.command_line import skillopt
from tests.helpers.lab import IMAGE, SKILL, Lab, MakeLab
from tests.helpers.ledger import TASK, amount, ledger

pytestmark = pytest.mark.engine
NAME = "house-rules"
BODY = "- In spreadsheets, treat an amount written in parentheses as a negative number."


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with an older version of the skill, a neighbour, and instructions of its owner's."""
    home = tmp_path / "user"
    (home / "project").mkdir(parents=True)
    for name in ("CODEX_HOME", "CLAUDE_CONFIG_DIR", "XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(home / "project")
    older = Skill(NAME, "House rules for spreadsheets.", "# House rules\n\n- Be brief.")
    for program in map(agent_kind, CLI_AGENTS):
        folder = home / program.folders.skills
        write_skill(older, folder / NAME)
        write_skill(Skill("neighbour", "For birds.", "# Birds"), folder / "neighbour")
        (home / program.folders.user_instructions).write_text("Be polite.\n")
    return home


def run_at_home(agent: str, here: Lab, home: Path) -> list[Exchange]:
    """Run the CLI as its user would, in this home and project, on a spreadsheet; what went over the
    wire."""
    harness = make_harness(agent)
    assert isinstance(harness, CliHarness)
    program = harness.agent
    request = here.request(instruction=TASK, workspace=home / "project")
    ledger(home / "project")
    with here.gateway.open(Grant(ModelSpec("up", "sim-1"), 1, request.record)) as session:
        launch = program.launch(request, session.token, here.site.base_url, harness.mode)
        for name, text in launch.files.items():
            (home / name).write_text(text)
        tool = program.toolchain
        spec = SandboxSpec(
            image=IMAGE,
            workdir="/app",
            mounts=(
                Mount(str(home), HOME, read_only=False),
                Mount(str(home / "project"), "/app", read_only=False),
                Mount(here.site.volume(tool.image), tool.target),
            ),
            env={"LANG": "C.UTF-8", "HOME": HOME, **launch.env},
            network=here.site.network(),
        )
        with DockerSandbox(here.engine, spec) as box:
            result = box.run(launch.commands[0], deadline_s=60)
    assert result.exit_code == 0, result.stdout + result.stderr
    return read_wire(request.record / WIRE)


@pytest.mark.parametrize("agent", CLI_AGENTS)
@pytest.mark.parametrize("scope", ["user", "project"])
@pytest.mark.parametrize("form", ["skill", "instructions"])
def test_the_agent_follows_what_was_deployed_until_it_is_rolled_back(
    agent: str, scope: str, form: str, home: Path, lab: MakeLab, tmp_path: Path
) -> None:
    here, folders = lab(SimUpstream()), agent_kind(agent).folders
    if agent == "opencode":  # It looks there too.
        shutil.rmtree(home / ".claude" / "skills")
    if scope == "project" and form == "skill":
        shutil.rmtree(home / folders.skills / NAME)  # The user's own would win.
    trained = here.skill(SKILL)
    told = ["--to", agent, "--scope", scope, "--as", form, "--yes"]
    parts = [f"project/{folder}" for folder in folders.project]
    parts += [f"project/{folders.instructions}", folders.skills, folders.user_instructions]
    before = {part: tree_digest(home / part) for part in parts}
    deployed = skillopt("deploy", trained, *told, "--no-proof")
    assert deployed.returncode == 0, deployed.stderr
    after = {part: tree_digest(home / part) for part in parts}
    assert [part for part in parts if after[part] != before[part]], "nothing was deployed"

    wire = run_at_home(agent, here, home)
    assert amount(home / "project") == -10, "the deployed rule was not followed"
    shown = json.dumps(wire[-1].request)
    assert BODY in shown
    tool = {
        "codex": f"{NAME}/SKILL.md",
        "claude-code": '"name": "Skill"',
        "opencode": '"name": "skill"',
    }[agent]
    calls = [call for exchange in wire if exchange.reply for call in exchange.reply.calls]
    said = json.dumps([{**call.arguments, "name": call.name} for call in calls])
    assert form == "instructions" or tool in said
    assert {part: tree_digest(home / part) for part in parts} == after, "the agent changed it"

    assert skillopt("rollback", *told).returncode == 0
    assert {part: tree_digest(home / part) for part in parts} == before
    if scope == "user":
        (home / "project" / "fixed.xlsx").unlink()
        wire = run_at_home(agent, here, home)
        assert amount(home / "project") == 10 and BODY not in json.dumps(
            [exchange.request for exchange in wire]
        )

"""How the real agents are given skills: where they find them, as instructions, several at once."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harnesses.agents.registry import NAMES
from harnesses.base import MountMode, Status
from harnesses.protocols.base import Conversation, Reply, ToolCall
from skillopt.sim.model import SimUpstream
from tests.helpers.lab import SKILL, MakeLab
from tests.helpers.ledger import TASK, amount, ledger
from tests.helpers.scripted_model import SHELLS, ScriptedAgentModel

pytestmark = pytest.mark.engine
BOTH = [(harness, "both") for harness in ("direct", "codex", "opencode")]
WAYS = [*[(harness, "instructions") for harness in NAMES], *BOTH]
SCRIPTED = SKILL + "\nCheck ids with `scripts/ids.sh`.\n"
OTHER = """\
---
name: {name}
description: {description}
---

# Something else

- Water the plants on Mondays.
- Feed the cat.
"""


@pytest.mark.parametrize(("harness", "mount"), WAYS)
def test_instructions_reach_the_model_and_leave_the_workspace_alone(
    harness: str, mount: MountMode, lab: MakeLab
) -> None:
    here = lab(SimUpstream())
    request = here.request(instruction=TASK, skill=here.skill(), mount=mount)
    assert request.workspace is not None
    ledger(request.workspace)
    outcome = here.run(harness, request)
    assert (outcome.status, outcome.message) == (Status.COMPLETED, "")
    assert outcome.skill_activated is True
    assert amount(request.workspace) == -10
    assert {p.name for p in request.workspace.iterdir()} == {"ledger.xlsx", "fixed.xlsx"}
    assert outcome.trajectory is not None
    calls = [c for step in outcome.trajectory.steps for c in step.tool_calls or ()]
    tools = ("Skill", "skill")
    opened = any(c.function_name in tools or "SKILL.md" in str(c.arguments) for c in calls)
    # Only where it is offered too is there something to open.
    assert opened is (mount == "both")


def run_the_script(shown: Conversation) -> Reply:
    """Runs the skill's script at the place that the prompt names."""
    said = "\n".join(message.text for message in shown.messages)
    found = re.search(r"these instructions name are in `([^`]+)`", said)
    assert found is not None, said[-2000:]
    tool = next(t.name for t in shown.tools if t.name in SHELLS)
    command = f"{found[1]}/scripts/ids.sh; touch {found[1]}/new; cat {found[1]}/SKILL.md"
    return Reply("", (ToolCall("call_0", tool, {SHELLS[tool]: command}),), stop="tool_calls")


@pytest.mark.parametrize(("harness", "mount"), WAYS)
def test_the_files_of_a_skill_are_where_the_instructions_say(
    harness: str, mount: MountMode, lab: MakeLab
) -> None:
    model = ScriptedAgentModel([run_the_script])
    here = lab(model)
    skill = here.skill(SCRIPTED)
    (skill / "scripts").mkdir()
    (skill / "scripts/ids.sh").write_text("#!/bin/sh\necho ids are fine\n")
    (skill / "scripts/ids.sh").chmod(0o755)
    outcome = here.run(harness, here.request(skill=skill, mount=mount))
    assert (outcome.status, outcome.message) == (Status.COMPLETED, "")
    assert "ids are fine" in model.outputs[0] and "treat an amount" in model.outputs[0]
    assert not (skill / "new").exists() and re.search("Read-only|denied", model.outputs[0])


@pytest.mark.parametrize("harness", NAMES)
@pytest.mark.parametrize(
    ("described", "chosen"),
    [
        ("Water and food for pets and plants.", True),
        ("Office chore rules of the house for ledger, spreadsheet and amounts.", False),
    ],
    ids=["unlike", "better described"],
)
def test_a_skill_is_chosen_among_others_by_its_description(
    harness: str, described: str, chosen: bool, lab: MakeLab
) -> None:
    here = lab(SimUpstream())
    other = here.folder / "others" / "plants"
    other.mkdir(parents=True)
    (other / "SKILL.md").write_text(OTHER.format(name="plants", description=described))
    request = here.request(instruction=TASK, skill=here.skill(), beside=(other,))
    assert request.workspace is not None
    ledger(request.workspace)
    outcome = here.run(harness, request)
    assert (outcome.status, outcome.message) == (Status.COMPLETED, "")
    assert outcome.skill_activated is chosen
    assert outcome.others_opened == (() if chosen else ("plants",))
    assert amount(request.workspace) == (-10 if chosen else 10)
    assert not (request.record / "beside").exists()


def test_skills_beside_instructions_are_still_found(lab: MakeLab, tmp_path: Path) -> None:
    other = tmp_path / "others" / "chores"
    other.mkdir(parents=True)
    (other / "SKILL.md").write_text(SKILL.replace("house-rules", "chores"))
    here = lab(SimUpstream())
    empty = here.skill(OTHER.format(name="house-rules", description="Pets."))
    request = here.request(instruction=TASK, skill=empty, mount="instructions", beside=(other,))
    assert request.workspace is not None
    ledger(request.workspace)
    outcome = here.run("codex", request)
    assert outcome.skill_activated is True and outcome.others_opened == ("chores",)
    assert amount(request.workspace) == -10

"""The real CLIs on a terminal: they work as in batch mode, and an unknown screen ends it."""

from __future__ import annotations

import json
import re
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harnesses.agents import claude_code, codex
from harnesses.agents.claude_code import ClaudeCode
from harnesses.agents.cli_agent import CliHarness, Launch
from harnesses.agents.codex import Codex
from harnesses.agents.registry import CLI_AGENTS, make_harness
from harnesses.base import Budget, Mode, Request, Status
from skillopt import evaluate
from skillopt.config.inputs import initial_skill
from skillopt.core.packed import files
from skillopt.core.skill import Skill
from skillopt.core.types import Rollout
from tests.helpers.cells import ALL_CELLS
from tests.helpers.lab import MakeLab
from tests.helpers.scripted_model import Refusing, ScriptedAgentModel
from tests.helpers.small import small_config, small_set

pytestmark = pytest.mark.engine
PATIENCE_S = 6.0
"""More than a program takes to start on a busy machine, and a tenth of a rollout's time."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("interactive")
    small_set(folder)
    return folder


def scored(folder: Path, harness: str, **overrides: Any) -> list[Rollout]:
    config = small_config(folder, harness, **overrides)
    start = initial_skill(config)
    assert start is not None
    # Enough for one of the two tasks: both ends are seen.
    rule = "\n- When matching ids between files, ignore leading zeros and letter case.\n"
    skill = Skill(start.name, start.description, start.body + rule)
    (row,) = evaluate(config, {"skill": skill}, split="test")
    return row.rollouts


def tools(rollout: Rollout) -> list[str]:
    trajectory = rollout.trajectory()
    assert trajectory is not None
    return [c.function_name for step in trajectory.steps for c in step.tool_calls or ()]


def sides(rollout: Rollout) -> set[str]:
    trajectory = rollout.trajectory()
    assert trajectory is not None and trajectory.extra is not None
    found = trajectory.extra.get("side", [])
    assert len(found) == trajectory.extra["side_requests"]
    return {side["for"] for side in found}


@pytest.mark.parametrize("harness", [*CLI_AGENTS][: None if ALL_CELLS else 2])
def test_scores_are_those_of_batch_mode_and_the_screen_is_recorded(
    harness: str, folder: Path
) -> None:
    batch = scored(folder, harness)
    interactive = scored(folder, harness, **{"harness.mode": "interactive"})
    assert [r.reward.hard for r in interactive] == [r.reward.hard for r in batch]
    assert {r.reward.hard for r in batch} == {0.0, 1.0}
    for one, other in zip(interactive, batch, strict=True):
        assert one.key != other.key
        assert (one.status, one.answer, one.skill_activated) == (
            other.status,
            other.answer,
            other.skill_activated,
        )
        assert tools(one) == tools(other)
        # Only on a terminal a title may be asked for, and is no part of the task.
        assert sides(one) <= {"thread_title" if harness == "codex" else "without tools"}
        assert sides(other) == set()
        with one.open("terminal.cast") as cast:
            head, *events = map(json.loads, cast)
        assert (head["version"], head["width"], head["height"]) == (2, 120, 40)
        times = [at for at, kind, text in events if kind == "o" and isinstance(text, str)]
        assert len(times) == len(events) and times == sorted(times)
        with one.open("screen.txt") as screen:
            text = screen.read().decode()
        assert "s: ready" in text and one.answer in text and "\x1b" not in text
        assert list(files(one.folder, "transcript"))


@pytest.mark.parametrize(
    ("harness", "mode"),
    [
        ("direct", "batch"),
        *[(cli, mode) for cli in CLI_AGENTS for mode in ("batch", "interactive")],
    ],
)
def test_a_conversation_goes_on_with_follow_ups(harness: str, mode: Any, lab: MakeLab) -> None:
    model = ScriptedAgentModel(["echo one"])
    here = lab(model)
    third = "!third: 100 % done? Do you want to go on?\n1. Yes\n2. No @made"
    said = ("First, with `ticks`.", "Second\non two lines\x1b[201~", third)
    request = here.request(instruction=said[0], follow_ups=said[1:])
    outcome = here.run(make_harness(harness, mode=mode), request)
    assert (outcome.status, outcome.message, outcome.answer) == (Status.COMPLETED, "", "finished")
    assert outcome.trajectory is not None
    steps = [(step.source, str(step.message)) for step in outcome.trajectory.steps]
    told = [next(i for i, (_, text) in enumerate(steps) if part in text) for part in
            ("First, with `ticks`.", "Second\non two lines", third)]  # fmt: skip
    assert told == sorted(set(told))
    assert [source for source, text in steps if text == "finished"] == ["agent"] * 3
    assert [step.source for step in outcome.trajectory.steps if step.tool_calls] == ["agent"]
    # A new process takes up the conversation of the one before, a terminal just goes on.
    joins = [step.extra["joins"] for step in outcome.trajectory.steps if step.extra]
    assert joins == ([["resume"]] * 2 if harness != "direct" and mode == "batch" else [])


class UnansweredClaude(ClaudeCode):
    """Claude Code without the settings that answer its first pages beforehand."""

    def launch(self, request: Request, token: str, base_url: str, mode: Mode) -> Launch:
        made = super().launch(request, token, base_url, mode)
        state = json.loads(made.files[".claude/.claude.json"])
        del state["projects"]
        files = {".claude/settings.json": "{}", ".claude/.claude.json": json.dumps(state)}
        return replace(made, files={**made.files, **files})


def test_first_pages_are_answered_by_settings(lab: MakeLab) -> None:
    """With no page known, none has to be."""
    agent = ClaudeCode(claude_code.toolchain())
    agent = replace(agent, terminal_profile=replace(agent.terminal_profile, pages=()))
    here = lab(ScriptedAgentModel([]))
    outcome = here.run(CliHarness(agent, "interactive", PATIENCE_S), here.request())
    assert (outcome.status, outcome.message) == (Status.COMPLETED, "")


def test_first_pages_are_answered_by_their_text_otherwise(lab: MakeLab) -> None:
    here = lab(ScriptedAgentModel([]))
    request = here.request()
    agent = UnansweredClaude(claude_code.toolchain())
    outcome = here.run(CliHarness(agent, "interactive", PATIENCE_S), request)
    assert (outcome.status, outcome.message) == (Status.COMPLETED, "")
    screens = (request.record / "screen.txt").read_text()
    assert "Yes, I trust" in screens and "Yes, I accept" in screens


def test_an_unknown_screen_ends_the_rollout_with_what_it_shows(lab: MakeLab) -> None:
    agent = UnansweredClaude(claude_code.toolchain())
    agent = replace(agent, terminal_profile=replace(agent.terminal_profile, pages=()))
    here = lab(ScriptedAgentModel([]))
    started = time.monotonic()
    outcome = here.run(CliHarness(agent, "interactive", PATIENCE_S), here.request())
    assert outcome.status is Status.INFRA_ERROR
    assert "waited 6 s for the prompt, and the screen shows:" in outcome.message
    assert "Yes, I trust this folder" in outcome.message
    assert time.monotonic() - started < 20


class AskingClaude(ClaudeCode):
    """Claude Code as it is without leave to do everything."""

    def launch(self, request: Request, token: str, base_url: str, mode: Mode) -> Launch:
        made = super().launch(request, token, base_url, mode)
        (words,) = made.commands
        left = [word for word in words if not word.startswith("--dangerously")]
        return replace(made, commands=[[*left, "--permission-mode=default"]])


class AskingCodex(Codex):
    """The same for Codex."""

    def launch(self, request: Request, token: str, base_url: str, mode: Mode) -> Launch:
        made = super().launch(request, token, base_url, mode)
        (words,) = made.commands
        left = [word for word in words if not word.startswith("--dangerously")]
        asking = ["-a", "on-request", "-s", "danger-full-access"]
        return replace(made, commands=[[*left, *asking]])


ASKING = {
    "codex": AskingCodex(codex.toolchain()),
    "claude-code": AskingClaude(claude_code.toolchain()),
}


def asking(harness: str, known: bool) -> CliHarness:
    agent = ASKING[harness]
    profile = agent.terminal_profile
    pages = tuple(page for page in profile.pages if known or " you " not in page.shows[:12])
    profile = replace(profile, ready="for shortcuts|for agents", pages=pages)
    return CliHarness(replace(agent, terminal_profile=profile), "interactive", PATIENCE_S)


@pytest.mark.parametrize("harness", ASKING)
def test_permission_questions_are_answered(harness: str, lab: MakeLab) -> None:
    model = ScriptedAgentModel(["echo yes > made; rm -rf made; echo removed"])
    here = lab(model)
    request = here.request()
    outcome = here.run(asking(harness, known=True), request)
    assert (outcome.status, outcome.message) == (Status.COMPLETED, "")
    assert "removed" in model.outputs[0]
    assert re.search(r"1\. Yes", (request.record / "screen.txt").read_text())


def test_an_unknown_question_at_work_is_not_waited_at(lab: MakeLab) -> None:
    here = lab(ScriptedAgentModel(["echo yes > made; rm -rf made; echo removed"]))
    started = time.monotonic()
    outcome = here.run(asking("claude-code", known=False), here.request())
    assert outcome.status is Status.INFRA_ERROR
    assert "for the end of the turn, and the screen shows:" in outcome.message
    assert re.search(r"\d\. No", outcome.message)
    assert time.monotonic() - started < 20


def test_a_program_that_is_killed_at_work_is_the_agents_error(lab: MakeLab) -> None:
    here = lab(ScriptedAgentModel(["pkill -9 -f /opt/skillopt/codex/; sleep 5"]))
    outcome = here.run(make_harness("codex", mode="interactive"), here.request())
    assert outcome.status is Status.AGENT_ERROR
    assert "it exited before its work was done" in outcome.message


def test_a_model_service_that_fails_ends_it_at_once(lab: MakeLab) -> None:
    here = lab(Refusing(500))
    started = time.monotonic()
    outcome = here.run(make_harness("codex", mode="interactive"), here.request())
    assert outcome.status is Status.INFRA_ERROR and "status 500" in outcome.message
    assert time.monotonic() - started < 20


def test_the_budget_ends_it_as_in_batch_mode(lab: MakeLab) -> None:
    here = lab(ScriptedAgentModel(["true"] * 9))
    agent = make_harness("claude-code", mode="interactive")
    outcome = here.run(agent, here.request(budget=Budget(requests=3)))
    assert outcome.status is Status.AGENT_ERROR and "3 model requests" in outcome.message


def test_the_deadline_ends_it_as_in_batch_mode(lab: MakeLab) -> None:
    here = lab(ScriptedAgentModel(["sleep 600"]))
    outcome = here.run(make_harness("codex", mode="interactive"), here.request(timeout_s=5))
    assert outcome.status is Status.AGENT_TIMEOUT and "5 s" in outcome.message


def test_what_a_command_prints_does_not_lead_the_terminal_astray(lab: MakeLab) -> None:
    trick = r"printf '\033[6n\033[c\033]0;x\007\033[2J\033[1;1HDo you trust\n> 1. No\n  2. Yes\n'"
    here = lab(ScriptedAgentModel([trick, "cat /dev/urandom | head -c 5000; echo done"]))
    request = here.request()
    outcome = here.run(make_harness("claude-code", mode="interactive"), request)
    assert (outcome.status, outcome.answer) == (Status.COMPLETED, "finished")
    assert "\x1b" not in (request.record / "screen.txt").read_text()

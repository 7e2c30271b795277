"""Sessions that the real programs write now are read: resumed ones, and interrupted turns."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from harnesses.agents import interactive
from harnesses.agents.cli_agent import CliHarness
from harnesses.agents.registry import make_harness
from harnesses.agents.screen import Screen
from harnesses.agents.terminal_profile import TerminalProfile
from harnesses.base import Mode
from harnesses.gateway.session import Session as GatewaySession
from harnesses.protocols.base import Conversation, Reply, ToolCall
from sandboxes.base import Terminal
from skillopt.tasks.drafts.claude_log import PATTERN as CLAUDE
from skillopt.tasks.drafts.claude_log import read_claude
from skillopt.tasks.drafts.codex_log import PATTERN as CODEX
from skillopt.tasks.drafts.codex_log import read_codex
from skillopt.tasks.drafts.requests import Request, requests_in
from skillopt.tasks.drafts.sessions import logs, whole_sessions
from tests.helpers.lab import MakeLab
from tests.helpers.scripted_model import SHELLS, ScriptedAgentModel

pytestmark = pytest.mark.engine
READERS = {
    "codex": (".codex", CODEX, read_codex),
    "claude-code": (".claude", CLAUDE, read_claude),
}
FIRST, NO = "Write a report into report.md", "No, only two lines."
SLOW, STOP, GOOD = "Now check ALL files", "Stop, only the report.", "Perfect, commit it."


class Working(ScriptedAgentModel):
    """Opens the skill, writes a file, and then answers; one request takes long."""

    def _reply(self, shown: Conversation, turn: int) -> Reply:
        names = {tool.name for tool in shown.tools}
        shell = next((name for name in names if name in SHELLS), "")
        read = "cat /home/agent/.codex/skills/house-rules/SKILL.md"
        patch = (
            "apply_patch <<'E'\n*** Begin Patch\n*** Add File: report.md\n+x\n*** End Patch\nE\n"
        )
        last = next(m.text for m in reversed(shown.messages) if m.role == "user")
        if "Skill" in names and turn == 0:
            return self._call("Skill", {"skill": "house-rules"})
        if "Write" in names and turn == 1:
            return self._call("Write", {"file_path": "/app/report.md", "content": "x\n"})
        if shell and turn < 2:
            return self._call(shell, {SHELLS[shell]: [read, patch][turn]})
        if shell and SLOW in last and not shown.messages[-1].results:
            return self._call(shell, {SHELLS[shell]: "python3 -c 'import time; time.sleep(40)'"})
        return Reply("It is done.")

    def _call(self, name: str, given: dict[str, str]) -> Reply:
        return Reply("now", (ToolCall(f"c{self.count}", name, given),), stop="tool_calls")


def conversation(
    terminal: Terminal,
    screen: Screen,
    session: GatewaySession,
    prompts: Sequence[str],
    profile: TerminalProfile,
    patience_s: float,
) -> None:
    """A person who stops the agent in its second turn."""
    driver = interactive._Driver(terminal, screen, session, profile, patience_s)

    def look(seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            driver._look()

    driver.start()
    driver.prompt(FIRST)
    driver.work()
    driver.prompt(SLOW)
    look(5)
    terminal.send(b"\x1b")
    look(2)
    for prompt in (STOP, GOOD):
        driver.prompt(prompt)
        driver.work()
    driver.leave()


def requests_of(
    agent: str, mode: Mode, lab: MakeLab, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[list[Request], str]:
    """The requests in what an agent has written at home, and the commit of its workspace."""
    keep = CliHarness._keep_transcripts

    def copied(self: CliHarness, home: Path, target: Path) -> None:
        shutil.copytree(home, kept, symlinks=True)
        keep(self, home, target)

    monkeypatch.setattr(CliHarness, "_keep_transcripts", copied)
    monkeypatch.setattr(interactive, "converse", conversation)
    here = lab(Working([]))
    request = here.request(instruction=FIRST, follow_ups=(NO, GOOD), skill=here.skill())
    assert request.workspace is not None
    for words in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "first"]):
        who = ["-c", "user.name=A", "-c", "user.email=a@b.c"]
        subprocess.run(["git", "-C", str(request.workspace), *who, *words], check=True)
    head = ["git", "-C", str(request.workspace), "rev-parse", "HEAD"]
    commit = subprocess.run(head, capture_output=True, text=True, check=True).stdout.strip()
    here.run(make_harness(agent, mode=mode), request)
    own, pattern, read = READERS[agent]
    found = logs(kept / own, pattern)
    return requests_in(whole_sessions(one for one in map(read, found) if one))[0], commit


@pytest.mark.parametrize("agent", list(READERS))
def test_a_resumed_session(
    agent: str, lab: MakeLab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, commit = requests_of(agent, "batch", lab, tmp_path / "kept", monkeypatch)
    (request,) = found
    assert [turn.text for turn in request.corrections] == [NO] and request.accepted == "yes"
    assert request.skills == ("house-rules",)
    assert [Path(file).name for file in request.files] == ["report.md"]
    assert commit.startswith(request.session.commit) and len(request.session.commit) >= 7


@pytest.mark.parametrize("agent", list(READERS))
def test_an_interrupted_turn_in_a_terminal(
    agent: str, lab: MakeLab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (report, slow), _ = requests_of(agent, "interactive", lab, tmp_path / "kept", monkeypatch)
    assert (report.turn.text, report.accepted, slow.turn.text) == (FIRST, "yes", SLOW)
    assert slow.turn.interrupted and [turn.text for turn in slow.corrections] == [STOP]
    assert slow.accepted == "yes"

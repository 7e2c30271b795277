"""A rollout that only asks for openings is over as soon as they are decided."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harnesses.agents.openings import OpeningWatch
from harnesses.base import Budget, ModelSpec, Openings, Request
from harnesses.gateway.chat import ChatClient, ChatError
from harnesses.gateway.session import Grant
from harnesses.gateway.wire import WIRE, read_wire
from harnesses.protocols.base import Conversation, Message, Tool, ToolCall, ToolResult
from harnesses.protocols.registry import CODECS
from sandboxes.base import Limits
from tests.helpers.lab import place
from tests.helpers.scripted_model import ScriptedAgentModel

BODY = "Add what is in brackets.\n\nRound to two places.\n\nNever sort the rows.\n"
TOOL = Tool("bash", "Runs a command.", {"type": "object"})


def skill(folder: Path, name: str, body: str = BODY) -> Path:
    (folder / name).mkdir()
    text = f"---\nname: {name}\ndescription: Adds.\n---\n\n{body}"
    (folder / name / "SKILL.md").write_text(text)
    return folder / name


def request(folder: Path, until: Openings, with_skill: bool = True) -> Request:
    return Request(
        id="1",
        instruction="Add.",
        image="i",
        workspace=None,
        workdir="/app",
        skill=skill(folder, "mine") if with_skill else None,
        model=ModelSpec("up", "m"),
        timeout_s=9,
        limits=Limits(),
        budget=Budget(),
        seed=1,
        env={},
        record=folder,
        beside=(skill(folder, "other", "Draw bars.\n\nLabel the axes.\n"),),
        openings=until,
    )


def body(protocol: Any, *results: str, tools: tuple[Tool, ...] = (TOOL,)) -> dict[str, Any]:
    """A request after some tool calls with these results."""
    messages = [Message("system", "You work."), Message("user", "Add.")]
    role: Any = "user" if protocol == "messages" else "tool"
    for number, result in enumerate(results):
        id = f"call_{number}"
        call = ToolCall(id, "bash", {"command": "cat x"})
        messages += [
            Message("assistant", "", (call,)),
            Message(role, "", results=(ToolResult(id, result),)),
        ]
    made: dict[str, Any] = CODECS[protocol].write_request(Conversation("m", tuple(messages), tools))
    return made


@pytest.mark.parametrize("protocol", ["responses", "chat", "messages"])
@pytest.mark.parametrize(
    ("result", "opened"),
    [
        (BODY, {"mine"}),
        ("     1\tAdd what is in brackets.\n     2\t\n     3\tRound to two places.", {"mine"}),
        ("Draw bars.\n\nLabel the axes.\n", {"other"}),
        ("---\nname: mine\ndescription: Adds.\n---", set()),  # The front matter alone.
        ("SKILL.md", set()),
    ],
)
def test_an_opening_is_seen_in_the_next_request(
    protocol: str, result: str, opened: set[str], tmp_path: Path
) -> None:
    watch = OpeningWatch(request(tmp_path, Openings(frozenset({"mine"}), frozenset(), 5)))
    assert watch(protocol, body(protocol)) == ""  # type: ignore[arg-type]
    said = watch(protocol, body(protocol, result))  # type: ignore[arg-type]
    assert watch.opened == opened
    assert bool(said) == ("mine" in opened)


@pytest.mark.parametrize("calls", [1, 2, 3])
def test_not_opened_is_decided_after_so_many_model_calls(calls: int, tmp_path: Path) -> None:
    watch = OpeningWatch(request(tmp_path, Openings(frozenset({"mine"}), frozenset(), calls)))
    for number in range(calls):
        assert watch("chat", body("chat", *["ls"] * number)) == ""
        assert watch("chat", body("chat", tools=())) == ""  # A side request does not count.
    assert watch("chat", body("chat", *["ls"] * calls)) == f"not decided in {calls} model calls"


def test_what_cannot_be_read_is_left_to_the_service(tmp_path: Path) -> None:
    watch = OpeningWatch(request(tmp_path, Openings(frozenset(), frozenset({"mine"}), 1)))
    assert watch("chat", {"messages": 7}) == ""


def test_a_run_without_a_skill_looks_at_the_others(tmp_path: Path) -> None:
    until = Openings(frozenset(), frozenset({"other"}), 3)
    watch = OpeningWatch(request(tmp_path, until, with_skill=False))
    assert watch("chat", body("chat", "Draw bars.\nLabel the axes.")) == "opened: other"


def test_a_request_after_the_end_is_recorded_and_not_passed_on(tmp_path: Path) -> None:
    model = ScriptedAgentModel(())
    said = iter(["", "opened: mine"])
    with place(model) as site:
        grant = Grant(ModelSpec("up", "m"), 1, tmp_path, over=lambda protocol, body: next(said))
        with site.gateway.open(grant) as session, ChatClient(session) as client:
            shown = Conversation("m", (Message("user", "Add."),))
            assert client.say(shown).text == "finished"
            for _ in range(2):  # The second does not ask again.
                with pytest.raises(ChatError):
                    client.say(shown)
            assert session.over == "opened: mine" and session.usage.requests == 1
    first, last = read_wire(tmp_path / WIRE)
    assert first.reply is not None and model.count == 1
    assert (last.reply, last.status, last.error, last.blame) == (None, 400, "opened: mine", None)

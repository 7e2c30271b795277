"""What a proof is drawn from: what the agent offered, opened and showed of the skill."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harnesses.agents.cli_agent import HOME
from harnesses.base import Request, Status
from harnesses.gateway.upstreams import Call
from harnesses.protocols.base import Conversation, Message, Tool, ToolCall, ToolResult
from sandboxes.base import SandboxError
from skillopt.core.skill import Skill
from skillopt.deploy import proof
from skillopt.deploy.cautions import PROJECT_DOC_BYTES
from skillopt.deploy.places import place_of
from skillopt.deploy.proof import (
    LINKED,
    MAX_PIECES,
    PIECE,
    STEP,
    _copy,
    _Opener,
    prove,
)
from tests.helpers.homes import link, put

SKILL = Skill("geo", "Use it for maps.", "# Geo\n\n- new rule\n- another")


def offers(*names: str, description: str = "Use it for maps.") -> Message:
    """As OpenCode lists skills."""
    listed = "".join(
        f"<name>{name}</name><description>{description}</description>" for name in names
    )
    return Message("system", f"<available_skills>{listed}</available_skills>")


def opened(text: str, name: str = "geo", number: int = 1) -> tuple[Message, Message]:
    """The skill of that name is opened by a tool, and the agent shows this."""
    call = ToolCall(str(number), "skill", {"name": name})
    return Message("assistant", calls=(call,)), Message(
        "user", results=(ToolResult(str(number), text),)
    )


def shown(*messages: Message) -> list[Conversation]:
    return [Conversation("m", messages)]


LONG = Skill("geo", "Use it.", "\n".join(f"- rule {n} {'x' * 60}" for n in range(200)))
PART = "\n".join(LONG.body.split("\n")[:150])


def showed(text: str, name: str = "geo") -> list[Conversation]:
    """The skill is offered, and opening one of that name shows this text."""
    return shown(offers("geo"), *opened(text, name))


def from_line(number: int) -> str:
    return "\n".join(LONG.body.split("\n")[number:])


@pytest.mark.parametrize(
    ("skill", "found", "ok", "detail"),
    [
        (SKILL, showed(SKILL.text), True,
         "opencode offers geo and opened it: Use it for maps."),
        (SKILL, showed(""), False,
         "opencode offers geo, but what it opened is not what was deployed; there are: "),
        (SKILL, shown(offers("b", "a"), *opened(SKILL.text)), False,
         "opencode does not offer geo; it offers: ['a', 'b']"),
        (SKILL, shown(), False, "opencode does not offer geo; it offers: []"),
        (SKILL, [*shown(offers("geo")), *showed(SKILL.text)], True, "opened"),
        (SKILL, shown(offers("geo"), offers("geo", description="Other.")), False,
         "opencode offers 2 skills named geo: "),
        # A tenth may be missing, as agents fill in variables.
        (LONG, showed(LONG.text.replace("rule 7 ", "it ")), True, "opened it"),
        (LONG, showed(from_line(20)), True, "opened"),
        (LONG, showed(from_line(21)), False, "is not"),
        # What the agent says it has cut is no other skill.
        (LONG, showed(f"{PART}\n[output truncated]"), None,
         "cannot tell: opencode offers geo and opened it, but shows only 75 % of it at once"),
        (LONG, showed(f"{PART}\n\n too large \n"), None, "75 %"),
        (LONG, showed(PART), False, "is not what was deployed"),
        (LONG, showed(f"{PART}\n[truncated]", "other"), False, "is not"),
        (LONG, showed(PART.replace("rule", "law") + "\n[truncated]"), False,
         "is not what was deployed"),
        (SKILL, showed("# Geo\n[truncated]"), False, "is not what was"),
    ],
)  # fmt: skip
def test_a_skill_is_proved_by_what_the_agent_showed_of_it(
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    skill: Skill,
    found: list[Conversation],
    ok: bool | None,
    detail: str,
) -> None:
    monkeypatch.setattr(proof, "conversations", lambda *_: found)
    proved = prove(place_of("opencode", "user"), skill)
    assert proved.ok is ok and detail in proved.detail


def test_skills_of_the_name_are_listed_if_one_hides_the_other(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in (".config/opencode/skills/geo", "project/.opencode/skills/geo"):
        put(home / path / "SKILL.md")
    monkeypatch.setattr(proof, "conversations", lambda *_: shown(offers("geo"), *opened("")))
    said = prove(place_of("opencode", "user"), SKILL).detail
    assert said.endswith(
        f"there are: {home}/.config/opencode/skills/geo, {home}/project/.opencode/skills/geo"
    )


@pytest.mark.parametrize("share", [6, 7])
def test_seven_tenths_of_what_is_shown_must_be_the_skills(
    home: Path, monkeypatch: pytest.MonkeyPatch, share: int
) -> None:
    lines = [*LONG.body.split("\n")[:share], *["something else"] * (9 - share), "[truncated]"]
    found = shown(offers("geo"), *opened("\n".join(lines)))
    monkeypatch.setattr(proof, "conversations", lambda *_: found)
    assert prove(place_of("opencode", "user"), LONG).ok is (None if share == 7 else False)


@pytest.mark.parametrize("length", [PIECE, PIECE + 1])
def test_no_agent_cuts_a_short_skill(
    home: Path, monkeypatch: pytest.MonkeyPatch, length: int
) -> None:
    lines = ["- one", "- two", "- three"]
    used = len(Skill("geo", "d", "\n".join(["", *lines])).text.encode()) + 1
    skill = Skill("geo", "d", "\n".join(["y" * (length - used), *lines]))
    assert len(skill.text.encode()) == length
    found = shown(offers("geo"), *opened("\n".join([*lines, "[truncated]"])))
    monkeypatch.setattr(proof, "conversations", lambda *_: found)
    assert prove(place_of("opencode", "user"), skill).ok is (None if length > PIECE else False)


def test_what_cannot_be_started_is_not_tried(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def conversations(*given: Any) -> list[Conversation] | str:
        asked.append(given)
        raise error

    monkeypatch.setattr(proof, "conversations", conversations)
    for error in (SandboxError("no engine"), OSError("no file")):
        proved = prove(place_of("codex", "user"), SKILL)
        assert proved.ok is None and proved.detail == f"not tried: {error}"
    assert asked[0] == ("codex", frozenset({"geo"}), len(SKILL.text.encode()))
    folder = prove(place_of("./skills", "user"), SKILL)
    assert folder.ok is None and "is not an agent that can be started" in folder.detail
    hidden = Skill("geo", "d", "# A", {"disable-model-invocation": True})
    own = prove(place_of("claude-code", "user"), hidden)
    assert own.ok is None and "claude-code has geo for its user only" in own.detail
    assert len(asked) == 2
    prove(place_of("claude-code", "user", "instructions"), hidden)
    assert len(asked) == 3
    monkeypatch.setattr(proof, "conversations", lambda *_: "codex failed: it ended")
    failed = prove(place_of("codex", "user"), SKILL)
    assert failed.ok is False and failed.detail == "codex failed: it ended"


@pytest.mark.parametrize(
    ("agent", "scope", "setting", "text", "ok", "detail"),
    [
        ("codex", "user", "", SKILL.body, True, "codex reads the instructions"),
        ("codex", "user", "", "", False, "codex does not read the instructions"),
        ("codex", "project", "", "", False, "codex does not read the instructions"),
        ("codex", "project", f"project_doc_max_bytes = {PROJECT_DOC_BYTES + 1}", "", None,
         "cannot tell: more than 32,768 bytes are read by your own settings only"),
        ("codex", "project", f"project_doc_max_bytes = {PROJECT_DOC_BYTES}", "", False, "not read"),
        ("codex", "user", "project_doc_max_bytes = 99999", "", False, "does not read"),
        ("opencode", "project", "project_doc_max_bytes = 99999", "", False, "does not read"),
    ],
)  # fmt: skip
def test_instructions_are_proved_by_their_text(
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    agent: str,
    scope: Any,
    setting: str,
    text: str,
    ok: bool | None,
    detail: str,
) -> None:
    put(home / ".codex/config.toml", setting.encode())
    found = shown(Message("system", "before"), Message("user", text))
    monkeypatch.setattr(proof, "conversations", lambda *_: found)
    proved = prove(place_of(agent, scope, "instructions"), SKILL)
    assert proved.ok is ok and detail in proved.detail


SHELL = Tool("exec_command", "", {})
AT = "/home/agent/.codex/skills/geo/SKILL.md"
CODEX = (
    "<skills_instructions>\n- geo: Use it. (file: " + AT + ")\n- b: B. (file: /b/SKILL.md)\n"
    "</skills_instructions>"
)


def asked(opener: _Opener, calls: Sequence[str], tools: tuple[Tool, ...] = (SHELL,)) -> str:
    """What the model says after some commands: its own command, or its text."""
    messages = [Message("user", CODEX)]
    for number, command in enumerate(calls):
        call = ToolCall(str(number), "exec_command", {"cmd": command})
        messages += [
            Message("assistant", calls=(call,)),
            Message("user", results=(ToolResult(str(number), "text"),)),
        ]
    reply = opener._reply(Conversation("m", tuple(messages), tools))
    return str(reply.calls[0].arguments["cmd"]) if reply.calls else reply.text


@pytest.mark.parametrize(
    ("size", "pieces", "said"),
    [
        (PIECE + 1, 1, f"tail -c +1 {AT} | head -c {PIECE}"),
        (PIECE + 1, 2, f"tail -c +{STEP + 1} {AT} | head -c {PIECE}"),
        (PIECE + 1, 3, "Seen."),
        (PIECE, 1, "Seen."),
        (STEP * 2, 3, "Seen."),
        (STEP * 2 + 1, 3, f"tail -c +{STEP * 2 + 1} {AT} | head -c {PIECE}"),
        (10**9, MAX_PIECES, f"tail -c +{STEP * (MAX_PIECES - 1) + 1} {AT} | head -c {PIECE}"),
        (10**9, MAX_PIECES + 1, "Seen."),
    ],
)
def test_a_long_skill_is_read_in_pieces_that_overlap(size: int, pieces: int, said: str) -> None:
    assert asked(_Opener(frozenset({"geo"}), size), [f"cat '{AT}'"] * pieces) == said


def test_the_model_opens_the_skill_and_does_nothing_else() -> None:
    assert asked(_Opener(frozenset({"geo"}), 10), []) == f"cat '{AT}'"
    assert asked(_Opener(frozenset({"geo"}), 10), ["ls", "cat /b/SKILL.md"]) == f"cat '{AT}'"
    assert asked(_Opener(frozenset({"geo"}), 10), [f"cat {AT}"]) == "Seen."
    assert asked(_Opener(frozenset({"none"}), 10), []) == "Seen."
    assert asked(_Opener(frozenset({"geo"}), 10), [], ()) == "There is no way to open it."
    assert asked(_Opener(frozenset({"geo"}), PIECE * 9), [f"cat {AT}"], ()) == "Seen."


@pytest.mark.parametrize("stream", [False, True])
def test_the_model_answers_in_the_agents_protocol_and_keeps_what_it_saw(stream: bool) -> None:
    body = {"model": "m", "stream": stream, "messages": [{"role": "user", "content": "Hello."}]}

    async def ask() -> tuple[int, str, bytes]:
        answer = await opener.send(Call("chat", "/v1/chat/completions", body, {}, 0))
        return answer.status, answer.content_type, b"".join([part async for part in answer.chunks])

    opener = _Opener(frozenset({"geo"}))
    status, kind, sent = asyncio.run(ask())
    assert status == 200 and kind == ("text/event-stream" if stream else "application/json")
    assert b"Seen." in sent
    if not stream:
        usage = json.loads(sent)["usage"]
        assert (usage["prompt_tokens"], usage["completion_tokens"]) == (1, 1)
    assert [one.messages[-1].text for one in opener.shown] == ["Hello."]


def test_what_an_agent_sees_is_copied_with_what_links_lead_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proof, "LARGEST", 10)
    monkeypatch.setattr(proof, "MOST_LINKED", 6)  # As many as there are in geo.
    source, home = tmp_path / "skills", tmp_path / "home"
    put(source / "geo" / "SKILL.md", b"text")
    put(source / "geo" / "largest", bytes(10))
    put(source / "geo" / "larger", bytes(11))
    put(source / "geo" / "node_modules" / "x")
    os.mkfifo(source / "geo" / "pipe")
    put(tmp_path / "repo" / "other" / "SKILL.md", b"text")
    put(tmp_path / "repo" / "other" / "deep" / "x", b"text")
    link(tmp_path / "repo" / "other" / "again", "SKILL.md")
    put(tmp_path / "one.md", bytes(10))
    put(tmp_path / "large.md", bytes(11))
    put(tmp_path / "disk" / "a/b/c/d/e/f/g", b"")
    link(source / "inside", "geo")
    for name, target in (
        ("absolute", str(source / "geo")), ("other", "../repo/other"), ("file", "../one.md"),
        ("large", "../large.md"), ("dead", "nowhere"), ("disk", "../disk"),
    ):  # fmt: skip
        link(source / name, target)
    copied = home / ".agent" / "skills"
    _copy(source, copied, home)
    assert sorted(path.name for path in (copied / "geo").iterdir()) == ["SKILL.md", "largest"]
    assert (copied / "inside").readlink() == Path("geo")
    assert (copied / "dead").readlink() == Path("nowhere")

    def led(name: str) -> Path:
        """What a link leads to once the home is the agent's."""
        return home / (copied / name).readlink().relative_to(HOME)

    assert all(led(name).is_relative_to(home / LINKED) for name in ("absolute", "other", "file"))
    assert (led("absolute") / "SKILL.md").is_file() and (led("other") / "deep" / "x").is_file()
    assert (led("other") / "again").readlink() == Path("SKILL.md")
    assert led("file").name == "one.md" and led("file").is_file()
    # Neither a home nor a disk is copied, and no large file.
    assert not led("disk").exists() and not led("large").exists()
    assert len({led(name).parent for name in ("absolute", "other", "file", "disk")}) == 4


@pytest.mark.parametrize(
    ("status", "found"),
    [(Status.COMPLETED, []), (Status.AGENT_ERROR, "codex failed: it ended")],
)
def test_the_agent_is_started_on_copies_of_all_that_it_reads(
    home: Path, monkeypatch: pytest.MonkeyPatch, status: Status, found: Any
) -> None:
    put(home / ".codex/skills/geo/SKILL.md", b"mine")
    put(home / "project/AGENTS.md", b"ours")
    closed: list[bool] = []
    asked: list[Any] = []

    def run(request: Request, site: str) -> Any:
        assert site == "site" and request.home is not None and request.workspace is not None
        kept = {path.name for path in request.workspace.rglob("*") if path.is_file()}
        skills = request.home / ".codex/skills/geo/SKILL.md"
        asked.append((request, kept, skills.read_bytes(), request.record.is_dir()))
        return SimpleNamespace(status=status, message="it ended")

    def gateway(services: Any, socket: Path, cost: Any) -> Any:
        assert isinstance(services["opener"], _Opener) and cost("m", None) == 0.0
        assert socket.parent.is_dir()
        return nullcontext("gateway")

    def slots(given: Any, backend: Any, count: int) -> Any:
        assert given == "gateway" and count == 1
        return nullcontext(SimpleNamespace(site=lambda: nullcontext("site")))

    backend = SimpleNamespace(close=lambda: closed.append(True))
    monkeypatch.setattr(proof, "make_backend", lambda: backend)
    monkeypatch.setattr(proof, "Gateway", gateway)
    monkeypatch.setattr(proof, "SandboxSlots", slots)
    monkeypatch.setattr(proof, "make_harness", lambda agent: SimpleNamespace(run=run))
    assert proof.conversations("codex", frozenset({"geo"})) == found and closed == [True]
    ((request, files, skill, recorded),) = asked
    assert files == {"AGENTS.md"} and skill == b"mine" and recorded
    assert (request.workdir, request.skill, request.model.name) == ("/app", None, "opens-only")
    assert (request.timeout_s, request.limits.memory_mb, request.seed) == (120, 2048, 0)
    assert request.instruction and request.env == {} and not request.record.exists()


def test_a_file_of_instructions_is_copied_if_there_is_one(tmp_path: Path) -> None:
    put(tmp_path / "AGENTS.md", b"mine")
    _copy(tmp_path / "AGENTS.md", tmp_path / "a" / "b" / "AGENTS.md", tmp_path)
    assert (tmp_path / "a" / "b" / "AGENTS.md").read_bytes() == b"mine"
    _copy(tmp_path / "none", tmp_path / "c" / "none", tmp_path)
    assert list((tmp_path / "c").iterdir()) == []

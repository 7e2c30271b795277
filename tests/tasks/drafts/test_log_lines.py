"""What each kind of line in an agent's log says of a session, and what is passed over."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from skillopt.tasks.drafts.claude_log import read_claude
from skillopt.tasks.drafts.codex_log import read_codex
from skillopt.tasks.drafts.sessions import Session, Turn

ASKED = "do the page now"


def written(file: Path, *lines: dict[str, Any]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return file


def line(n: int, kind: str = "user", content: Any = ASKED, **more: Any) -> dict[str, Any]:
    """A line of Claude Code."""
    values = {"type": kind, "uuid": f"u{n}", "parentUuid": f"u{n - 1}", "sessionId": "s",
              "timestamp": f"t{n}", "message": {"content": content}}  # fmt: skip
    return {**values, **more}


def claude(folder: Path, *lines: dict[str, Any], name: str = "s.jsonl") -> Session:
    found = read_claude(written(folder / name, *lines))
    assert found is not None
    return found


def after(folder: Path, *lines: dict[str, Any]) -> list[Turn]:
    """The turns of a log that begins with a request."""
    return list(claude(folder, line(0, parentUuid=None), *lines).turns)


def test_a_session_is_told_by_its_first_line(tmp_path: Path) -> None:
    first = line(1, version="2.1", cwd="/w")
    found = claude(tmp_path, {"type": "summary"}, first, line(2, version="3", cwd="/x"))
    assert (found.agent, found.id, found.file) == ("claude-code", "s", tmp_path / "s.jsonl")
    assert (found.version, found.folder, found.began) == ("2.1", "/w", "t1")
    assert (found.parent, found.commit, len(found.turns)) == ("", "", 2)
    assert found.turns[0] == Turn("u1", ASKED, "t1")
    assert read_claude(written(tmp_path / "none.jsonl", {"type": "user", "uuid": 5})) is None


@pytest.mark.parametrize(
    ("name", "agent", "id"),
    [
        ("s/subagents/a.jsonl", {}, "s/a"),
        ("s/agent-b.jsonl", {}, "s/agent-b"),
        ("s/agent-b.jsonl", {"agentId": "c"}, "s/c"),
    ],
)
def test_a_sub_agents_log_has_the_lines_of_the_side(
    name: str, agent: dict[str, str], id: str, tmp_path: Path
) -> None:
    side = line(2, isSidechain=True, content="a part", **agent)
    found = claude(tmp_path, line(1), side, line(3), name=name)
    assert (found.id, found.parent, found.began) == (id, "s", "t2")
    assert [turn.text for turn in found.turns] == ["a part"]
    whole = claude(tmp_path, side, line(3))
    assert (whole.id, whole.parent, whole.began, len(whole.turns)) == ("s", "", "t3", 1)


def test_a_line_that_comes_again_or_has_no_id_is_passed_over(tmp_path: Path) -> None:
    found = claude(tmp_path, line(1), line(1, content="other"), line(2, uuid=""))
    assert [turn.text for turn in found.turns] == [ASKED]


@pytest.mark.parametrize(
    ("between", "working"),
    [
        (line(1, "assistant", []), True),
        (line(1, "assistant", [], message={"stop_reason": "end_turn"}), False),
        (line(1, "assistant", [], message={"stop_reason": "tool_use"}), True),
        (line(1, "user", [], message={"stop_reason": "end_turn"}), True),
        (line(1, "system", subtype="turn_duration"), False),
        (line(1, "system", subtype="other"), True),
        (line(1, "other", subtype="turn_duration"), True),
    ],
)
def test_a_turn_is_finished_by_what_the_log_says(
    between: dict[str, Any], working: bool, tmp_path: Path
) -> None:
    turns = after(tmp_path, between, line(2, content="and then"))
    assert [turn.while_working for turn in turns] == [False, working]


REFUSED = "The user doesn't want to proceed. To tell you how, the user said:\n{}"


def result(text: str, **more: Any) -> list[dict[str, Any]]:
    return [{"type": "tool_result", "is_error": True, "content": text, **more}]


@pytest.mark.parametrize(
    ("said", "texts", "interrupted"),
    [
        (line(1), [ASKED, ASKED], False),
        (line(1, content="  "), [ASKED], False),
        (line(1, isMeta=True), [ASKED], False),
        (line(1, isCompactSummary=True), [ASKED], False),
        (line(1, content="[Request interrupted by user for tool use]"), [ASKED], True),
        (line(1, content="Again: [Request interrupted by user]"),
         [ASKED, "Again: [Request interrupted by user]"], False),
        (line(1, origin={"kind": "human"}), [ASKED, ASKED], False),
        (line(1, origin={"kind": ""}), [ASKED, ASKED], False),
        (line(1, origin={"kind": "task"}), [ASKED], False),
        (line(1, content=[{"type": "text", "text": "a"}, {"type": "text", "text": "b"},
                          {"type": "image", "text": "c"}, 5]), [ASKED, "a\nb"], False),
        (line(1, content=5), [ASKED], False),
        (line(1, content=result(REFUSED.format("use b"))), [ASKED, "use b"], True),
        (line(1, content=result(REFUSED.format("\n  use b "))), [ASKED, "use b"], True),
        (line(1, content=result(REFUSED.format(" "))), [ASKED], True),
        (line(1, content=result("The user doesn't want to proceed.")), [ASKED], True),
        (line(1, content=result("It failed: the user said:\nuse b")), [ASKED], False),
        (line(1, content=result(REFUSED.format("use b"), is_error=False)), [ASKED], False),
        (line(1, content=result(REFUSED.format("use b"), type="text")), [ASKED], False),
        (line(1, content="<system-reminder>x</system-reminder>"), [ASKED], False),
    ],
)  # fmt: skip
def test_what_a_person_said(
    said: dict[str, Any], texts: list[str], interrupted: bool, tmp_path: Path
) -> None:
    turns = after(tmp_path, said)
    assert [turn.text for turn in turns] == texts
    assert turns[0].interrupted is interrupted
    assert all(turn.at == f"t{n}" and turn.id == f"u{n}" for n, turn in enumerate(turns))


@pytest.mark.parametrize(
    ("parents", "again"),
    [
        (("u7", "u8"), [False, False]), (("u7", "u7"), [False, True]),
        ((None, None), [False, True]), (("u7", None), [False, False]),
    ],
)  # fmt: skip
def test_two_turns_after_the_same_line_are_a_turn_and_its_replacement(
    parents: tuple[str | None, str | None], again: list[bool], tmp_path: Path
) -> None:
    lines = [line(n, parentUuid=parent) for n, parent in enumerate(parents)]
    assert [turn.again for turn in claude(tmp_path, *lines).turns] == again
    command = "<command-name>/x</command-name><command-args>make it so</command-args>"
    lines = [one | {"message": {"content": command}} for one in lines]
    assert [turn.again for turn in claude(tmp_path, *lines).turns] == again


def a_command(name: str, arguments: str | None = " make it so ") -> str:
    given = "" if arguments is None else f"<command-args>{arguments}</command-args>"
    return f"<command-message>x</command-message><command-name>{name}</command-name>{given}"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (a_command("/tables"), [("make it so", ("tables",))]),
        (a_command(" tables "), [("make it so", ("tables",))]),
        (a_command("/plugin:more:tables"), [("make it so", ("tables",))]),
        (a_command("/tables", " "), []),
        (a_command("/tables", None), []),
        (a_command("/compact"), []),
        (a_command("/model", "x"), []),
        (a_command("/models", "a\nb"), [("a\nb", ("models",))]),
    ],
)
def test_a_command_is_a_request_with_a_skill(
    text: str, found: list[tuple[str, tuple[str, ...]]], tmp_path: Path
) -> None:
    session = claude(tmp_path, line(0, content=text))
    assert [(turn.text, turn.skills) for turn in session.turns] == found


def use(name: str, **given: Any) -> dict[str, Any]:
    return {"type": "tool_use", "name": name, "input": given}


@pytest.mark.parametrize(
    ("block", "field", "value"),
    [
        ({"type": "text", "text": " done "}, "answer", "done"),
        ({"type": "thinking", "text": "done"}, "answer", ""),
        *(
            (use(name, file_path="/w/a"), "files", ("/w/a",))
            for name in ("Write", "Edit", "MultiEdit", "NotebookEdit")
        ),
        (use("NotebookEdit", notebook_path="/w/n"), "files", ("/w/n",)),
        (use("Read", file_path="/w/a"), "files", ()),
        ({**use("Write", file_path="/w/a"), "type": "other"}, "files", ()),
        (use("Skill", skill="p:rules"), "skills", ("rules",)),
        (use("Skill", command="rules"), "skills", ("rules",)),
        (use("Skill", skill="a", command="b"), "skills", ("a",)),
        (use("Read", file_path="/x/rules/SKILL.md"), "skills", ("rules",)),
        (use("Bash", command="cat rules/SKILL.md"), "skills", ("rules",)),
        (use("Bash", command="cat rules.md"), "skills", ()),
        (use("Grep", file_path="/x/rules/SKILL.md"), "skills", ()),
        (use("Write", file_path="/x/rules/SKILL.md"), "skills", ()),
    ],
)
def test_what_an_agent_did(block: Any, field: str, value: Any, tmp_path: Path) -> None:
    (turn,) = after(tmp_path, line(1, "assistant", [5, block]))
    assert getattr(turn, field) == value
    (turn,) = after(tmp_path, line(1, "other", [block]))
    assert getattr(turn, field) == type(value)()


def attached(n: int, **values: Any) -> dict[str, Any]:
    return line(n, "attachment", attachment=values)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, True), ({"commandMode": "prompt"}, True), ({"commandMode": "bash"}, False),
        ({"origin": {"kind": "human"}}, True), ({"origin": {"kind": "task"}}, False),
        ({"type": "other"}, False), ({"prompt": " "}, False),
    ],
)  # fmt: skip
def test_what_was_said_while_an_agent_worked(
    values: dict[str, Any], said: bool, tmp_path: Path
) -> None:
    queued = {"type": "queued_command", "prompt": "in bold", **values}
    turns = after(tmp_path, attached(1, **queued))
    assert [turn.text for turn in turns[1:]] == (["in bold"] if said else [])
    if said:
        assert (turns[1].id, turns[1].at, turns[1].while_working) == ("u1", "t1", True)


def status(commit: str) -> dict[str, str]:
    return {"gitStatus": f"On main\n\nRecent commits:\n{commit} the first\nbbbbbbb other"}


@pytest.mark.parametrize(
    ("values", "commit"),
    [
        ([("session_context", status("abc1234"))], "abc1234"),
        ([("session_context", status("abc12"))], ""),
        ([("session_context", status("a" * 40)), ("session_context", status("def1234"))], "a" * 40),
        ([("session_context", {}), ("session_context", status("def1234"))], "def1234"),
        ([("other", status("abc1234"))], ""),
        ([("queued_command", status("abc1234"))], ""),
    ],
)
def test_the_commit_is_that_of_the_beginning(
    values: list[tuple[str, Any]], commit: str, tmp_path: Path
) -> None:
    lines = [attached(n, type=kind, context=told) for n, (kind, told) in enumerate(values)]
    assert claude(tmp_path, *lines).commit == commit


def event(kind: str, **payload: Any) -> dict[str, Any]:
    """A line of Codex."""
    return {"type": kind, "timestamp": "t", "payload": payload}


def told(kind: str, **payload: Any) -> dict[str, Any]:
    return event("event_msg", type=kind, **payload)


def item(kind: str, **payload: Any) -> dict[str, Any]:
    return event("response_item", type=kind, **payload)


def completed(kind: str, *content: Any, **more: Any) -> dict[str, Any]:
    return told("item_completed", item={"type": kind, "content": list(content), **more})


def text(words: str, **more: Any) -> dict[str, Any]:
    return {"type": "text", "text": words, **more}


META = event("session_meta", id="s", cwd="/w", cli_version="1", timestamp="t0")


def codex(folder: Path, *lines: dict[str, Any]) -> Session:
    found = read_codex(written(folder / "rollout-1.jsonl", *lines))
    assert found is not None
    return found


def turns_of(folder: Path, *lines: dict[str, Any]) -> list[Turn]:
    return list(codex(folder, META, told("user_message", message=ASKED), *lines).turns)


@pytest.mark.parametrize(
    ("said", "texts"),
    [
        (told("user_message", message="<context>x</context> in bold "), ["in bold"]),
        (told("user_message", message="<context>x</context>"), []),
        (told("user_message"), []),
        (completed("UserMessage", text("in"), text("bold")), ["in\nbold"]),
        (completed("UserMessage"), []),
        (completed("Other", text("in bold")), []),
        (event("other", type="user_message", message="in bold"), []),
        ({"type": "event_msg", "payload": "text"}, []),
        (told("item_completed", item="text"), []),
        (item("message", role="user", content=[text("in bold")]), []),
    ],
)
def test_what_a_person_said_to_codex(
    said: dict[str, Any], texts: list[str], tmp_path: Path
) -> None:
    turns = turns_of(tmp_path, said)
    assert [(turn.text, turn.id) for turn in turns] == [
        (ASKED, "s:1"), *((one, "s:2") for one in texts)
    ]  # fmt: skip
    assert {turn.at for turn in turns} == {"t"}


def test_a_turn_has_its_ordinal_or_its_line(tmp_path: Path) -> None:
    said = [told("user_message", message="x") | {"ordinal": n} for n in (7, "8", None)]
    assert [turn.id for turn in turns_of(tmp_path, *said)] == ["s:1", "s:7", "s:3", "s:4"]


@pytest.mark.parametrize(
    ("did", "field", "value"),
    [
        (told("agent_message", message=" done "), "answer", "done"),
        (told("task_complete", last_agent_message="done"), "answer", "done"),
        (told("other", message="done", last_agent_message="done"), "answer", ""),
        (completed("AgentMessage", text("all"), text("done")), "answer", "all\ndone"),
        (told("turn_aborted"), "interrupted", True),
        (
            told("patch_apply_begin", changes={"/w/a": 1, "file:///w/b%20c": 1}),
            "files",
            ("/w/a", "/w/b c"),
        ),
        (told("patch_apply_begin", changes=["/w/a"]), "files", ()),
        (told("other", changes={"/w/a": 1}), "files", ()),
        (completed("FileChange", status="completed", changes={"/w/a": 1}), "files", ("/w/a",)),
        (completed("FileChange", status="failed", changes={"/w/a": 1}), "files", ()),
        (completed("FileChange", status="completed", changes=["/w/a"]), "files", ()),
        (completed("Other", status="completed", changes={"/w/a": 1}), "files", ()),
        (
            item(
                "custom_tool_call",
                input="*** Add File: a\n*** Update File: b c\nx\n"
                "*** Delete File: d\n *** Add File: e",
            ),
            "files",
            ("a", "b c", "d"),
        ),
        (item("function_call", input="*** Add File: a"), "files", ()),
        *(
            (
                item(
                    kind,
                    arguments="cat a/SKILL.md",
                    input="cat b/SKILL.md",
                    action={"command": "c/SKILL.md"},
                ),
                "skills",
                ("a", "b", "c"),
            )
            for kind in ("function_call", "local_shell_call", "custom_tool_call")
        ),
        (item("message", role="user", arguments="cat a/SKILL.md"), "skills", ()),
        (item("other", arguments="cat a/SKILL.md"), "skills", ()),
    ],
)
def test_what_codex_did(did: dict[str, Any], field: str, value: Any, tmp_path: Path) -> None:
    (turn,) = turns_of(tmp_path, did)
    assert getattr(turn, field) == value


def test_a_skill_that_is_named_in_a_message_is_opened(tmp_path: Path) -> None:
    said = completed("UserMessage", text("with it"), text("", name="a"),
                     {"type": "skill", "name": "rules"})  # fmt: skip
    assert turns_of(tmp_path, said)[1].skills == ("rules",)


@pytest.mark.parametrize(
    ("between", "working"),
    [
        (told("task_complete"), False), (told("agent_message", message="done"), True),
        (told("turn_aborted"), False),
    ],
)  # fmt: skip
def test_a_turn_of_codex_is_finished_by_its_event(
    between: dict[str, Any], working: bool, tmp_path: Path
) -> None:
    turns = turns_of(tmp_path, between, told("user_message", message="and then"))
    assert turns[1].while_working is working


@pytest.mark.parametrize(
    ("meta", "values"),
    [
        ({}, {"id": "s", "folder": "/w", "version": "1", "parent": "", "base": ""}),
        ({"git": {"commit_hash": "abc"}, "timestamp": "t9"}, {"commit": "abc", "began": "t9"}),
        ({"parent_thread_id": "p", "source": {"subagent": {}}}, {"parent": "p"}),
        ({"source": {"subagent": {"thread_spawn": {"parent_thread_id": "q"}}}}, {"parent": "q"}),
        ({"source": "cli"}, {"parent": ""}),
        ({"source": {"subagent": {}}}, {"parent": "unknown"}),
        ({"source": {"other": {}}}, {"parent": ""}),
        ({"forked_from_id": "b", "history_base": {"thread_id": "c"}},
         {"base": "b", "base_end": None}),
        ({"history_base": {"thread_id": "c", "end_ordinal_exclusive": 7}},
         {"base": "c", "base_end": 7}),
        ({"history_base": {"thread_id": "c", "end_ordinal_exclusive": "7"}},
         {"base": "c", "base_end": None}),
        ({"history_base": "c"}, {"base": "", "base_end": None}),
    ],
)  # fmt: skip
def test_a_session_of_codex_is_told_by_its_first_line(
    meta: dict[str, Any], values: dict[str, Any], tmp_path: Path
) -> None:
    first = event("session_meta", **{**META["payload"], **meta})
    copied = event("session_meta", id="other", cwd="/x")
    found = codex(tmp_path, first, copied)
    assert (found.agent, found.file) == ("codex", tmp_path / "rollout-1.jsonl")
    assert {name: getattr(found, name) for name in values} == values


@pytest.mark.parametrize("lines", [[], [event("session_meta", cwd="/w")], [event("x", id="s")]])
def test_a_log_without_a_session_is_none(lines: list[dict[str, Any]], tmp_path: Path) -> None:
    assert read_codex(written(tmp_path / "a.jsonl", *lines)) is None


def shown(*words: str, role: str = "user") -> dict[str, Any]:
    return item("message", role=role, content=[text(word) for word in words])


def test_what_the_model_was_shown_counts_without_events(tmp_path: Path) -> None:
    lines = [
        META, shown("in", "bold"), shown("other", role="assistant"), shown("<context>x</context>"),
        shown("# AGENTS.md instructions\nx"), shown("more # AGENTS.md instructions"),
        item("other", role="user", content=[text("x")]),
    ]  # fmt: skip
    found = [(turn.id, turn.text, turn.at) for turn in codex(tmp_path, *lines).turns]
    assert found == [("s:1", "in\nbold", "t"), ("s:5", "more # AGENTS.md instructions", "t")]
    events = codex(tmp_path, *lines, told("user_message", message="said"))
    assert [turn.text for turn in events.turns] == ["said"]

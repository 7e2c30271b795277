"""Which conversation a request belongs to, and what a trajectory makes of its turns."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harnesses.base import Usage
from harnesses.gateway.exchange import MAIN, Exchange
from harnesses.gateway.wire import WIRE, WireWriter
from harnesses.protocols.base import (
    Conversation,
    Message,
    Reply,
    Thought,
    Tool,
    ToolCall,
    ToolResult,
)
from harnesses.trajectories.threads import Turn, Turns, main_conversation, turns
from harnesses.trajectories.trajectory import (
    SIDE_CHARS,
    build_trajectory,
    final_answer,
    has_text,
    skill_activated,
    skills_opened,
)

TOOLS = [{"function": {"name": "shell", "parameters": {}}}]
HI = {"role": "user", "content": "hi"}
SUMMARY = "Your task is to create a detailed summary of the conversation"


def asked(
    *messages: Any, at: float = 1.0, tools: bool = True, thread: str | None = None, **body: Any
) -> Exchange:
    whole = {"model": "m", "messages": list(messages) or [HI], **body}
    if tools:
        whole["tools"] = TOOLS
    return Exchange("chat", whole, Reply("x"), 200, "", at, at + 1, thread=thread)


def codex(source: Any, kind: Any, id: Any = "t1", **changes: Any) -> Exchange:
    told = {"thread_source": source, "request_kind": kind, "thread_id": id}
    data = {"x-codex-turn-metadata": json.dumps(told)}
    body = {"model": "m", "input": "hi", "client_metadata": data, **changes}
    return Exchange("responses", body, Reply("x"), 200, "", 1.0, 2.0)


def told(exchange: Exchange) -> tuple[str, str, str]:
    (turn,) = turns([exchange])
    return turn.thread, turn.kind, turn.label


@pytest.mark.parametrize(
    ("exchange", "sorted_as"),
    [
        # Codex.
        (codex("user", "turn"), (MAIN, "turn", "turn")),
        (codex("user", "compaction"), (MAIN, "compaction", "compaction")),
        (codex("user", "title"), (MAIN, "side", "title")),
        (codex("subagent", "turn"), ("t1", "turn", "turn")),
        (codex("subagent", "compaction", 7), ("7", "compaction", "compaction")),
        (codex("subagent", "title"), ("t1", "side", "title")),
        (codex("memory", "turn"), (MAIN, "side", "memory")),
        (codex(7, "turn"), (MAIN, "turn", "turn")), (codex("user", None), (MAIN, "turn", "turn")),
        (codex("memory", "turn", client_metadata="x"), (MAIN, "turn", "turn")),
        (codex("memory", "turn", client_metadata={"x-codex-turn-metadata": "{"}),
         (MAIN, "turn", "turn")),
        (codex("memory", "turn", client_metadata={"x-codex-turn-metadata": "[1]"}),
         (MAIN, "turn", "turn")),
        (codex("memory", "turn", client_metadata={"x-codex-turn-metadata": {}}),
         (MAIN, "turn", "turn")),
        # The other agents, by a header and their tools.
        (asked(thread="a"), ("a", "turn", "turn")), (asked(thread=MAIN), (MAIN, "turn", "turn")),
        (asked(thread="a", tools=False), ("a", "side", "without tools")),
        (asked(HI, {"role": "user", "content": SUMMARY}, thread="a"),
         ("a", "compaction", "compaction")),
        (asked({"role": "user", "content": SUMMARY}, HI, thread="a"), ("a", "turn", "turn")),
        (asked({"role": "user", "content": f"First: {SUMMARY.replace('the', 'this')}"},
               {"role": "assistant", "content": "x"}, thread="a", tools=False),
         ("a", "compaction", "compaction")),
        (asked({"role": "user", "content": "Here is the conversation so far:\n<conversation>"},
               thread="a"), ("a", "compaction", "compaction")),
        (asked({"role": "user", "content": "x Here is the conversation so far:\n<conversation>"},
               thread="a"), ("a", "turn", "turn")),
        # Claude Code's main conversation, which names itself in the body.
        (asked(metadata={"user_id": '{"session_id": "s"}'}, tools=False),
         (MAIN, "side", "without tools")),
        (asked(metadata={"user_id": '{"session_id": "s"}'}), (MAIN, "turn", "turn")),
        (asked(metadata={"user_id": "s"}, tools=False), (MAIN, "turn", "turn")),
        (asked(metadata={"user_id": '{"id": "s"}'}, tools=False), (MAIN, "turn", "turn")),
        # Nobody says anything: what is alone is the main conversation.
        (asked(), (MAIN, "turn", "turn")), (asked(tools=False), (MAIN, "turn", "turn")),
    ],
)  # fmt: skip
def test_where_a_request_belongs(exchange: Exchange, sorted_as: tuple[str, str, str]) -> None:
    assert told(exchange) == sorted_as


def test_what_says_nothing_is_compared_with_the_first_that_has_tools() -> None:
    other = {"role": "user", "content": "else"}
    empty = {"role": "user", "content": ""}
    system = {"role": "system", "content": "s"}
    found = turns([
        asked(other, at=1, tools=False), asked(system, empty, HI, at=2), asked(other, at=3),
        asked(HI, other, at=4), asked(other, HI, at=5, thread="a"), asked(HI, at=6, tools=False),
    ])  # fmt: skip
    assert [(turn.kind, turn.label, turn.thread) for turn in found] == [
        ("side", "without tools", MAIN), ("turn", "turn", MAIN), ("side", "another opening", MAIN),
        ("turn", "turn", MAIN), ("turn", "turn", "a"), ("side", "without tools", MAIN),
    ]  # fmt: skip
    assert main_conversation(found) == [found[1], found[3]]
    # What an agent reports is no opening of the others.
    found = turns([asked(other, at=1, thread="a"), asked(HI, at=2), asked(other, at=3)])
    assert [turn.kind for turn in found] == ["turn", "turn", "side"]


def test_turns_are_in_the_order_of_their_requests_and_what_cannot_be_read_is_none() -> None:
    odd = Exchange("chat", {"model": 7}, None, 400, "", 0.0, 0.0)
    found = turns([asked(at=3), odd, replace(asked(at=1), reply=None, part=4)])
    assert [turn.started for turn in found] == [1, 3]
    assert (found[0].reply, found[0].part, found[1].part) == (None, 4, 0)


def test_messages_that_come_again_are_kept_once() -> None:
    call = {"role": "assistant", "content": "", "tool_calls": [
        {"id": "c", "function": {"name": "shell", "arguments": "{}"}}]}  # fmt: skip
    results = [{"role": "tool", "tool_call_id": "c", "content": text} for text in ("a", "b")]
    first, second = turns([asked(HI, call, results[0]), asked(HI, call, results[1], at=2)])
    both = zip(first.shown.messages, second.shown.messages, strict=True)
    assert [one is other for one, other in both] == [True, True, False]
    assert second.shown.messages[2].results[0].text == "b"
    assert first.shown.tools is second.shown.tools
    (bare,) = turns([asked(tools=False)])
    assert bare.shown.tools == ()


def test_a_record_may_not_be_there_yet(tmp_path: Path) -> None:
    found = Turns(tmp_path / WIRE)
    assert found.so_far() == []
    writer = WireWriter(tmp_path / WIRE)
    for number in (2.0, 1.0):
        writer.add(asked(at=number))
        assert found.so_far()[0].started == number
    assert [turn.started for turn in found.so_far()] == [1.0, 2.0]


RUN = Tool("run", "Runs.", {"a": 1})


def turn(*messages: Message, at: float = 0.0, tools: bool = True, **fields: Any) -> Turn:
    reply = fields.pop("reply", Reply("ok", usage=Usage(1, 5, 2, 3)))
    shown = Conversation("m", messages or (Message("user", "hi"),), (RUN,) if tools else ())
    return Turn(shown, reply, at, **fields)


def built(*found: Turn, **changes: Any) -> dict[str, Any]:
    given: dict[str, Any] = {"agent": "a", "version": "1", "model": "m", "session_id": "s"}
    usage = Usage(9, 90, 40, 50, 0.5)
    trajectory = build_trajectory(found, **given, usage=usage, **changes)
    assert trajectory is not None
    return trajectory.to_json_dict()


def test_a_trajectory_field_by_field() -> None:
    thoughts = (Thought("hm"),)
    reply = Reply("done", (ToolCall("c", "run", {"x": 1}),), Usage(1, 5, 2, 3), thoughts=thoughts)
    first = turn(Message("system", "s"), Message("user", "hi"), reply=reply)
    result = Message("user", results=(ToolResult("c", "out"),))
    second = turn(*first.shown.messages, Message("assistant", "done"), result, at=1.5, reply=None)
    side = turn(kind="side", label="title", reply=Reply("t" * 600), at=2)
    assert built(first, second, side) == {
        "schema_version": "ATIF-v1.8",
        "session_id": "s",
        "agent": {
            "name": "a", "version": "1", "model_name": "m",
            "tool_definitions": [{"type": "function", "function": {
                "name": "run", "description": "Runs.", "parameters": {"a": 1}}}],
        },
        "steps": [
            {"step_id": 1, "timestamp": "1970-01-01T00:00:00Z", "source": "system",
             "message": "s"},
            {"step_id": 2, "timestamp": "1970-01-01T00:00:00Z", "source": "user",
             "message": "hi"},
            {"step_id": 3, "timestamp": "1970-01-01T00:00:00Z", "source": "agent",
             "message": "done", "reasoning_content": "hm",
             "tool_calls": [{"tool_call_id": "c", "function_name": "run", "arguments": {"x": 1}}],
             "observation": {"results": [{"source_call_id": "c", "content": "out"}]},
             "llm_call_count": 1,
             "metrics": {"prompt_tokens": 5, "completion_tokens": 3, "cached_tokens": 2}},
        ],
        "final_metrics": {
            "total_prompt_tokens": 90, "total_completion_tokens": 50, "total_cached_tokens": 40,
            "total_cost_usd": 0.5, "total_steps": 3,
        },
        "extra": {
            "side_requests": 1, "failed_requests": 1,
            "side": [{"timestamp": "1970-01-01T00:00:02Z", "for": "title",
                      "reply": "t" * SIDE_CHARS}],
        },
    }  # fmt: skip
    assert SIDE_CHARS == 500


def test_what_there_is_of_an_agent_that_got_nowhere() -> None:
    side = turn(kind="side", label="title", tools=False)
    alone = built(side)
    assert alone["extra"] == {"side_requests": 0, "failed_requests": 0}
    assert "tool_definitions" not in alone["agent"] and len(alone["steps"]) == 2
    sub = turn(thread="b", at=1)
    assert len(built(side, sub)["steps"]) == 2, "a sub-agent's is the conversation"
    assert set(built(side, sub)["steps"][1]) == {
        "step_id", "timestamp", "source", "message", "llm_call_count", "metrics",
    }  # fmt: skip
    calling = turn(thread="b", reply=Reply("", (ToolCall("c", "run", {}),)))
    summary = turn(*user("hi", SUMMARY), thread="b", kind="compaction", at=1)
    alone = built(calling, summary)
    assert [step["message"] for step in alone["steps"]] == ["hi", "", SUMMARY, "ok"]
    assert alone["steps"][1]["tool_calls"][0]["tool_call_id"] == "c"
    assert built(side, sub)["extra"]["side_requests"] == 1
    given: dict[str, Any] = {"agent": "a", "version": "1", "model": "m", "session_id": "s"}
    nothing = turn(Message("assistant", "x"), reply=None)
    assert build_trajectory([nothing], **given, usage=Usage()) is None
    assert build_trajectory([], **given, usage=Usage()) is None


CALL = Reply("", (ToolCall("c", "g__Task", {"prompt": "look", "message": 7}),))


@pytest.mark.parametrize(
    ("call", "result", "opening", "below"),
    [
        ({"name": "Agent", "arguments": {"prompt": "look"}}, None, "look here", True),
        ({"name": "g__spawn_agent", "arguments": {"message": "look"}}, None, "look", True),
        ({"name": "task", "arguments": {"prompt": " "}}, None, "look", False),
        ({"name": "task", "arguments": {"prompt": 7}}, None, "7", False),
        ({"name": "task", "arguments": {"other": "look"}}, None, "look", False),
        ({"name": "task", "arguments": {"prompt": "else"}}, None, "look", False),
        ({"name": "other", "arguments": {"prompt": "look"}}, "sub-1", "look", False),
        ({"name": "Task", "arguments": {}}, "started sub-1", "look", True),
        ({"name": "Task", "arguments": {}}, "started sub-2", "look", False),
    ],
)
def test_a_sub_agent_is_below_the_call_that_started_it(
    call: dict[str, Any], result: str | None, opening: str, below: bool
) -> None:
    made = ToolCall("c", **call)
    first = turn(reply=Reply("", (made,)))
    results = (Message("user", results=(ToolResult("c", result),)),) if result else ()
    last = turn(Message("user", "hi"), *results, at=5)
    sub = turn(Message("system", "look"), Message("user", opening), thread="sub-1", at=2)
    document = built(first, sub, last)
    (inner,) = document["subagent_trajectories"]
    assert (inner["trajectory_id"], inner["session_id"]) == ("sub-1", "s")
    assert "tool_definitions" not in inner["agent"]
    observed = document["steps"][1].get("observation", {}).get("results", [])
    refs = [one.get("subagent_trajectory_ref") for one in observed]
    wanted = [{"trajectory_id": "sub-1", "session_id": "s"}]
    assert (wanted in refs) is below
    assert [one.get("content") for one in observed] == ([result] if below or result else [])


def test_a_sub_agent_that_said_nothing_has_no_trajectory() -> None:
    silent = turn(Message("assistant", "x"), thread="b", reply=None)
    assert "subagent_trajectories" not in built(turn(), silent)


def user(*texts: str) -> tuple[Message, ...]:
    return tuple(Message("user", text) for text in texts)


def sources(document: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    return [
        (step["message"], step.get("extra"), step.get("is_copied_context"))
        for step in document["steps"]
    ]


def test_where_a_conversation_was_summarised_or_resumed() -> None:
    found = [
        turn(*user("a")),
        turn(*user("a", "b"), at=1),
        turn(*user("a", "b", SUMMARY), at=2, kind="compaction", reply=Reply("in short")),
        turn(Message("system", "s"), *user("in short", "a"), at=3),
        turn(Message("system", "s"), *user("in short", "a", "c"), at=4, part=1),
    ]
    assert sources(built(*found)) == [
        ("a", None, None), ("ok", None, None), ("b", None, None), ("ok", None, None),
        ("in short", {"kind": "compaction"}, None),
        ("s", None, None), ("in short", {"joins": ["compaction"]}, True), ("ok", None, None),
        ("c", {"joins": ["resume"]}, None), ("ok", None, None),
    ]  # fmt: skip
    both = [found[2], replace(found[3], part=1)]
    assert sources(built(turn(*user("a")), *both))[3:5] == [
        ("s", None, None), ("in short", {"joins": ["compaction", "resume"]}, True),
    ]  # fmt: skip
    # A summary that is asked for at the beginning is a conversation as any.
    alone = turn(*user(SUMMARY), kind="compaction", reply=Reply("in short"))
    assert sources(built(alone)) == [
        (SUMMARY, None, None), ("in short", {"kind": "compaction"}, None),
    ]  # fmt: skip
    assert [step["step_id"] for step in built(*found)["steps"]] == list(range(1, 11))


def test_without_a_message_of_the_user_the_first_has_the_join() -> None:
    found = [
        turn(*user("a")), turn(*user(SUMMARY), at=1, kind="compaction", reply=None),
        turn(Message("system", "s"), at=2), turn(Message("system", "s"), at=3, part=1),
    ]  # fmt: skip
    assert sources(built(*found))[2:] == [
        ("s", {"joins": ["compaction"]}, True), ("ok", None, None), ("ok", None, None),
    ]  # fmt: skip


def test_results_of_ids_that_come_again_after_the_conversation_began_anew() -> None:
    call = Reply("", (ToolCall("c", "run", {}),))

    def shown(*texts: str) -> tuple[Message, ...]:
        return (*user("a"), *(Message("user", results=(ToolResult("c", t),)) for t in texts))

    found = [
        turn(*shown(), reply=call), turn(*shown("one"), at=1, reply=call),
        turn(*shown(), at=2, reply=call), turn(*shown("three"), at=3),
    ]  # fmt: skip
    steps = [step for step in built(*found)["steps"] if step["source"] == "agent"]
    told = [step.get("observation", {"results": [{}]})["results"][0] for step in steps]
    assert [one.get("content") for one in told] == ["one", None, "three", None]
    ids = [step["tool_calls"][0]["tool_call_id"] for step in steps[:3]]
    assert ids == ["c", "c#2", "c#3"]


def test_results_that_come_later_and_of_calls_with_one_id() -> None:
    call = ToolCall("c", "run", {})

    def shown(*texts: str) -> tuple[Message, ...]:
        return (*user("a"), *(Message("user", results=(ToolResult("c", t),)) for t in texts))

    found = [
        turn(*shown(), reply=Reply("", (call,))), turn(*shown(), at=1, reply=None),
        turn(*shown("one"), at=2, reply=Reply("", (call, call))), turn(*shown("one"), at=3),
        turn(*shown("one", "two", "three"), at=4),
    ]  # fmt: skip
    told = [step["observation"] for step in built(*found)["steps"] if "observation" in step]
    assert [[one["content"] for one in observed["results"]] for observed in told] == [
        ["one"], ["two", "three"],
    ]  # fmt: skip


def test_the_last_words_are_the_answer() -> None:
    said = [turn(reply=Reply(text), at=n) for n, text in enumerate(("a", " ", ""))]
    assert final_answer(said) == "a"
    assert final_answer([*said, turn(reply=None, at=4), turn(thread="b", at=5)]) == "a"
    assert final_answer([turn(thread="b", reply=Reply("sub"))]) == "sub"
    assert final_answer([turn(kind="side", reply=Reply("side")), *said]) == "a"


@pytest.mark.parametrize(
    ("body", "shown", "there"),
    [
        ("a\n\n b \n", "x a y", True),
        ("a\nb", "b", True),
        ("a\nb\nc", "a", False),
        ("a\nb\nc", "c and b", True),
        ("", "a", False),
        (" \n", "", False),
    ],
)
def test_half_of_the_lines_are_enough(body: str, shown: str, there: bool, tmp_path: Path) -> None:
    skill = tmp_path / "s"
    skill.mkdir()
    (skill / "SKILL.md").write_text(f"---\nname: s\ndescription: d\n---\n{body}")
    result = Message("user", results=(ToolResult("c", "-"), ToolResult("d", shown)))
    for message in (Message("user", shown), result):
        assert has_text([Message("user", "-"), message], skill) is there
        found = [turn(message)]
        assert skill_activated(found, skill) is there
        assert skills_opened(found, [skill]) == ("s",) * there
    # In two messages it is in none.
    if body == "a\nb\nc":
        assert not has_text(user("a", "b"), skill)

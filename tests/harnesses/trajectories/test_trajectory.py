"""Trajectories from recorded exchanges: complete, of one shape, valid against the schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from atif import Trajectory

from harnesses.base import Usage
from harnesses.gateway.exchange import MAIN, Exchange
from harnesses.gateway.wire import read_wire
from harnesses.protocols.base import Reply, ToolCall
from harnesses.trajectories.threads import turns
from harnesses.trajectories.trajectory import (
    body_lines,
    build_trajectory,
    final_answer,
    skill_activated,
)
from tests.helpers.atif_schema import SCHEMA

SKILL = "---\nname: s\ndescription: d\n---\n\n# Rules\n\n- Negative in parentheses.\n- UTC.\n"


def exchange(messages: list[dict[str, Any]], reply: Reply | None, tools: bool = True) -> Exchange:
    body: dict[str, Any] = {"model": "m", "messages": messages}
    if tools:
        body["tools"] = [{"function": {"name": "shell", "parameters": {}}}]
    exchange.time += 1  # type: ignore[attr-defined]
    now = exchange.time  # type: ignore[attr-defined]
    return Exchange("chat", body, reply, 200 if reply else 500, "", now, now)


exchange.time = 0.0  # type: ignore[attr-defined]


def call_of(command: str, id: str) -> tuple[dict[str, Any], ToolCall]:
    function = {"name": "shell", "arguments": json.dumps({"command": command})}
    written = {"role": "assistant", "content": "", "tool_calls": [{"id": id, "function": function}]}
    return written, ToolCall(id, "shell", {"command": command})


def conversation() -> list[Exchange]:
    exchange.time = 0.0  # type: ignore[attr-defined]
    opening = [{"role": "system", "content": "be good"}, {"role": "user", "content": "do it"}]
    said, call = call_of("ls", "c1")
    result = {"role": "tool", "tool_call_id": "c1", "content": "a.txt"}
    injected = {"role": "user", "content": "by the way"}
    return [
        exchange([{"role": "user", "content": "give a title"}], Reply("Title"), tools=False),
        exchange(opening, None),
        exchange(opening, Reply("", (call,), Usage(1, 10, 0, 2), "tool_calls")),
        exchange([*opening, said, result, injected], Reply("done", usage=Usage(1, 20, 10, 3))),
    ]


def trajectory_of(exchanges: list[Exchange], usage: Usage) -> Trajectory | None:
    return build_trajectory(
        turns(exchanges), agent="a", version="1", model="m", session_id="s", usage=usage
    )


def build(exchanges: list[Exchange]) -> dict[str, Any]:
    trajectory = build_trajectory(
        turns(exchanges),
        agent="a",
        version="1",
        model="m",
        session_id="s",
        usage=Usage(3, 30, 10, 5, None),
    )
    assert trajectory is not None
    return trajectory.to_json_dict()


def test_steps_calls_results_and_tokens_are_all_there_in_order() -> None:
    document = build(conversation())
    jsonschema.validate(document, SCHEMA)
    steps = document["steps"]
    assert [(s["source"], s["message"]) for s in steps] == [
        ("system", "be good"),
        ("user", "do it"),
        ("agent", ""),
        ("user", "by the way"),
        ("agent", "done"),
    ]
    assert steps[2]["tool_calls"][0]["arguments"] == {"command": "ls"}
    assert steps[2]["observation"]["results"][0]["content"] == "a.txt"
    assert steps[4]["metrics"] == {
        "prompt_tokens": 20,
        "completion_tokens": 3,
        "cached_tokens": 10,
    }
    side = {"timestamp": "1970-01-01T00:00:01Z", "for": "without tools", "reply": "Title"}
    assert document["extra"] == {"side_requests": 1, "failed_requests": 1, "side": [side]}
    # An unknown cost is left out, not written as 0.
    assert "total_cost_usd" not in document["final_metrics"]


def test_the_answer_is_that_of_the_main_conversation() -> None:
    assert final_answer(turns(conversation())) == "done"
    assert final_answer(turns(conversation()[:1])) == "Title"
    assert final_answer([]) == ""


def test_without_any_request_there_is_no_trajectory() -> None:
    assert (
        build_trajectory([], agent="a", version="1", model="m", session_id="s", usage=Usage())
        is None
    )


@pytest.mark.parametrize(
    ("shown", "activated"),
    [
        ("- s: d (file: r0/s/SKILL.md)", False),
        (SKILL, True),
        ("# Rules\n- Negative in parentheses.", True),
        ("- UTC.", False),
    ],
)
def test_a_skill_counts_as_opened_when_its_body_was_shown(
    shown: str, activated: bool, tmp_path: Path
) -> None:
    (tmp_path / "SKILL.md").write_text(SKILL)
    said, call = call_of("cat SKILL.md", "c1")
    result = {"role": "tool", "tool_call_id": "c1", "content": shown}
    exchanges = [exchange([said, result], Reply("ok", (call,)))]
    assert skill_activated(turns(exchanges), tmp_path) is activated
    assert skill_activated(turns(exchanges), None) is None


def test_broken_front_matter_and_missing_files_give_no_body(tmp_path: Path) -> None:
    assert body_lines(tmp_path) == []
    (tmp_path / "SKILL.md").write_text("---\nname: s\nno end\n- UTC.\n")
    assert body_lines(tmp_path) == []


def codex_body(turn: Any, text: str = "do it") -> dict[str, Any]:
    metadata = turn if isinstance(turn, str) else json.dumps(turn)
    return {
        "model": "m",
        "input": [{"role": "user", "content": text}],
        "tools": [{"type": "function", "name": "shell"}],
        "client_metadata": {"x-codex-turn-metadata": metadata},
    }


def claude_body(text: str, tools: bool = True) -> dict[str, Any]:
    return {
        "model": "m",
        "messages": [{"role": "user", "content": text}],
        "tools": [{"name": "Bash", "input_schema": {}}] if tools else [],
        "metadata": {"user_id": json.dumps({"session_id": "s"})},
    }


def chat_body(text: str, tools: bool = True) -> dict[str, Any]:
    function = {"type": "function", "function": {"name": "bash", "parameters": {}}}
    body: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": text}]}
    return body | ({"tools": [function]} if tools else {})


OPENCODE_SUMMARY = "Here is the conversation so far:\n\n<conversation>\n[User]: do it"


@pytest.mark.parametrize(
    ("protocol", "body", "agent", "thread", "kind"),
    [
        (
            "responses",
            codex_body({"thread_source": "user", "request_kind": "turn"}),
            "",
            MAIN,
            "turn",
        ),
        (
            "responses",
            codex_body({"thread_source": "subagent", "request_kind": "turn", "thread_id": "t1"}),
            "",
            "t1",
            "turn",
        ),
        (
            "responses",
            codex_body({"thread_source": "thread_title", "request_kind": "turn"}),
            "",
            MAIN,
            "side",
        ),
        (
            "responses",
            codex_body({"thread_source": "user", "request_kind": "compaction"}),
            "",
            MAIN,
            "compaction",
        ),
        ("messages", claude_body("do it"), "", MAIN, "turn"),
        ("messages", claude_body("do it"), "a1", "a1", "turn"),
        ("messages", claude_body("a title", tools=False), "", MAIN, "side"),
        ("messages", claude_body("a title", tools=False), None, MAIN, "side"),
        ("chat", chat_body("do it"), "", MAIN, "turn"),
        ("chat", chat_body("do it"), "ses_1", "ses_1", "turn"),
        ("chat", chat_body("a title", tools=False), "", MAIN, "side"),
        ("chat", chat_body(OPENCODE_SUMMARY, tools=False), "", MAIN, "compaction"),
        ("chat", chat_body(OPENCODE_SUMMARY, tools=False), "ses_1", "ses_1", "compaction"),
        # A chat without tools, of an agent that says nothing of itself.
        ("chat", chat_body("a question", tools=False), None, MAIN, "turn"),
        *[
            ("responses", codex_body(odd), "", MAIN, "turn")
            for odd in ("", "{", "[]", "3", '{"thread_source": 3}', [1], {"request_kind": "turn"})
        ],
    ],
)
def test_what_agents_say_of_their_requests_is_read_and_nothing_odd_breaks_it(
    protocol: Any, body: dict[str, Any], agent: str | None, thread: str, kind: str
) -> None:
    (turn,) = turns([Exchange(protocol, body, Reply("ok"), 200, "", 1.0, 2.0, thread=agent)])
    assert (turn.thread, turn.kind) == (thread, kind)


def test_only_sub_agents_still_give_a_trajectory() -> None:
    exchanges = [
        Exchange("messages", claude_body("x"), Reply("ok"), 200, "", 1.0, 2.0, thread="a1")
    ]
    assert [step["message"] for step in build(exchanges)["steps"]] == ["x", "ok"]


def test_sub_agents_of_sub_agents_are_inside_theirs() -> None:
    def asks(text: str, agent: str, *replies: Reply) -> list[Exchange]:
        return [
            Exchange("messages", claude_body(text), reply, 200, "", 1.0, 2.0, thread=agent)
            for reply in replies
        ]

    def spawning(text: str) -> Reply:
        return Reply("", (ToolCall(f"call-{text}", "Agent", {"prompt": text}),))

    exchanges = [
        *asks("top", "", spawning("middle")),
        *asks("middle", "m", spawning("bottom")),
        *asks("bottom", "b", Reply("deep")),
        *asks("stray", "s", Reply("who began me?")),
    ]
    top = build(exchanges)
    jsonschema.validate(top, SCHEMA)
    assert [sub["trajectory_id"] for sub in top["subagent_trajectories"]] == ["m", "s"]
    (bottom,) = top["subagent_trajectories"][0]["subagent_trajectories"]
    assert bottom["steps"][-1]["message"] == "deep"


def test_a_torn_wire_log_gives_its_whole_lines(tmp_path: Path) -> None:
    (tmp_path / "wire.jsonl").write_text('{"protocol": "chat"}\n[]\nnull\n{"protocol": "ch')
    assert read_wire(tmp_path / "wire.jsonl") == []


@pytest.mark.parametrize("agent", ["", "a1"])
def test_requests_that_say_nothing_give_no_trajectory(agent: str) -> None:
    body = claude_body("x") | {"messages": []}
    exchanges = [Exchange("messages", body, None, 500, "no", 1.0, 2.0, thread=agent)]
    assert trajectory_of(exchanges, Usage()) is None
    summary = claude_body("Your task is to create a detailed summary of the conversation")
    exchanges.append(Exchange("messages", summary, None, 500, "no", 3.0, 4.0, thread=agent))
    exchanges.append(Exchange("messages", claude_body("go"), Reply("ok"), 200, "", 5.0, 6.0))
    assert [step["message"] for step in build(exchanges)["steps"]][-2:] == ["go", "ok"]


@pytest.mark.parametrize("ids", [["call_0"] * 3, ["call_0", "call_1", "call_0"]])
def test_a_call_has_its_own_result_though_ids_come_again(ids: list[str]) -> None:
    messages: list[dict[str, Any]] = [{"role": "user", "content": "do it"}]
    exchanges = []
    for n, id in enumerate(ids):
        said, call = call_of(f"echo {n}", id)
        exchanges.append(exchange(list(messages), Reply("", (call,), stop="tool_calls")))
        messages += [said, {"role": "tool", "tool_call_id": id, "content": f"out {n}"}]
    # After a summary the conversation begins anew, and an id with it.
    said, call = call_of("echo anew", ids[0])
    again = messages[:1]
    exchanges.append(exchange(list(messages), Reply("", (call,), stop="tool_calls")))
    exchanges.append(exchange(again, Reply("", (call,), stop="tool_calls")))
    result = {"role": "tool", "tool_call_id": ids[0], "content": "anew"}
    exchanges.append(exchange([*again, said, result], Reply("done")))
    steps = [step for step in build(exchanges)["steps"] if step.get("tool_calls")]
    shown = [
        step["observation"]["results"][0]["content"] if step.get("observation") else None
        for step in steps
    ]
    assert shown == ["out 0", "out 1", "out 2", None, "anew"]
    own = [call["tool_call_id"] for step in steps for call in step["tool_calls"]]
    assert len(set(own)) == len(own) and own[0] == ids[0]


def test_calls_of_one_reply_with_one_id_have_their_results_in_order() -> None:
    said, call = call_of("echo", "x")
    said["tool_calls"] *= 2
    results = [{"role": "tool", "tool_call_id": "x", "content": f"out {n}"} for n in range(2)]
    opening = [{"role": "user", "content": "do it"}]
    found = build([
        exchange(opening, Reply("", (call, call), stop="tool_calls")),
        exchange([*opening, said, *results], Reply("done")),
    ])  # fmt: skip
    (step,) = [step for step in found["steps"] if step.get("tool_calls")]
    assert [r["content"] for r in step["observation"]["results"]] == ["out 0", "out 1"]

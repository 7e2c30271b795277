"""Trajectories from recorded exchanges: complete, of one shape, valid against the schema."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from atif import Trajectory

from harnesses.base import Usage
from harnesses.gateway.exchange import MAIN, Exchange
from harnesses.gateway.wire import read_wire
from harnesses.protocols.base import Reply, Thought, ToolCall
from harnesses.trajectories.threads import main_conversation, turns
from harnesses.trajectories.trajectory import (
    body_lines,
    build_trajectory,
    final_answer,
    skill_activated,
    skills_opened,
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


@pytest.mark.parametrize("calls", [(1,), (2,), (3,), (4,), (2, 3), (3, 1, 3)])
def test_calls_of_one_reply_with_one_id_have_their_results_in_order(calls: tuple[int, ...]) -> None:
    messages: list[dict[str, Any]] = [{"role": "user", "content": "do it"}]
    exchanges, wanted = [], []
    for number, count in enumerate(calls):
        said, call = call_of("echo", "x")
        said["tool_calls"] *= count
        exchanges.append(exchange(list(messages), Reply("", (call,) * count, stop="tool_calls")))
        wanted.append([f"out {number} {n}" for n in range(count)])
        results = [{"role": "tool", "tool_call_id": "x", "content": out} for out in wanted[-1]]
        messages += [said, *results]
    found = build([*exchanges, exchange(messages, Reply("done"))])
    steps = [step for step in found["steps"] if step.get("tool_calls")]
    assert [[r["content"] for r in step["observation"]["results"]] for step in steps] == wanted
    ids = [call["tool_call_id"] for step in steps for call in step["tool_calls"]]
    assert ids == ["x", *(f"x#{n}" for n in range(2, sum(calls) + 1))]


def at(time: float, exchange: Exchange) -> Exchange:
    return replace(exchange, started=time, ended=time + 0.5)


def claude(
    messages: list[tuple[str, str]],
    reply: str,
    time: float,
    thread: str = "",
    part: int = 0,
    calls: tuple[ToolCall, ...] = (),
) -> Exchange:
    body = claude_body("x") | {"messages": [{"role": r, "content": t} for r, t in messages]}
    said = Reply(reply, calls)
    return Exchange("messages", body, said, 200, "", time, time + 0.5, thread=thread, part=part)


def test_replies_that_end_out_of_order_are_in_the_order_of_their_requests() -> None:
    """Sub-agents work at the same time: a long reply is recorded after later ones."""
    late = claude([("user", "main")], "first", 1.0)
    sub_late, sub = (claude([("user", f"sub {n}")], f"sub {n}", 2.0 + n, "a1") for n in (1, 0))
    more = claude([("user", "main"), ("assistant", "first"), ("user", "go on")], "last", 9.0)
    found = turns([sub_late, more, sub, late])
    assert [turn.started for turn in found] == [1.0, 2.0, 3.0, 9.0]
    assert final_answer(found) == "last"
    document = build([sub_late, more, sub, late])
    assert [step["message"] for step in document["steps"]] == ["main", "first", "go on", "last"]
    (below,) = document["subagent_trajectories"]
    assert [step["message"] for step in below["steps"]] == ["sub 0", "sub 0", "sub 1", "sub 1"]


def test_the_opening_of_an_agent_that_says_nothing_is_that_of_its_first_request() -> None:
    exchange.time = 0.0  # type: ignore[attr-defined]
    first = exchange([{"role": "user", "content": "do it"}], Reply("done"))
    other = exchange([{"role": "user", "content": "check it"}], Reply("checked"))
    alone = exchange([{"role": "user", "content": "do it"}], Reply("title"), tools=False)
    kinds = [(turn.kind, turn.label) for turn in turns([other, alone, first])]
    assert kinds == [("turn", "turn"), ("side", "another opening"), ("side", "without tools")]


SUMMARISE = "Your task is to create a detailed summary of the conversation"


def test_a_second_summary_is_one_too() -> None:
    """After each the conversation is counted from the start: what is said again was said again."""
    exchanges, said, time = [], [("user", "do it")], 1.0
    for number in (1, 2, 3):
        exchanges.append(claude(said, f"step {number}", time))
        more = [*said, ("assistant", f"step {number}"), ("user", "go on")]
        exchanges.append(claude(more, f"more {number}", time + 1))
        if number < 3:
            asked = [*more, ("assistant", f"more {number}"), ("user", SUMMARISE)]
            exchanges.append(claude(asked, f"summary {number}", time + 2))
        said = [("user", f"summary {number}"), ("user", "do it")]
        time += 3
    document = build(exchanges)
    jsonschema.validate(document, SCHEMA)
    assert [(step["source"], step["message"]) for step in document["steps"]] == [
        ("user", "do it"), ("agent", "step 1"), ("user", "go on"), ("agent", "more 1"),
        ("agent", "summary 1"),
        ("user", "summary 1"), ("agent", "step 2"), ("user", "go on"), ("agent", "more 2"),
        ("agent", "summary 2"),
        ("user", "summary 2"), ("agent", "step 3"), ("user", "go on"), ("agent", "more 3"),
    ]  # fmt: skip
    joins = [step.get("extra", {}).get("joins") for step in document["steps"]]
    assert [n for n, one in enumerate(joins) if one] == [5, 10]
    assert joins[5] == joins[10] == ["compaction"]
    copied = [bool(step.get("is_copied_context")) for step in document["steps"]]
    assert [n for n, one in enumerate(copied) if one] == [5, 10]
    kinds = [step.get("extra", {}).get("kind") for step in document["steps"]]
    assert [n for n, one in enumerate(kinds) if one] == [4, 9]
    assert [step["step_id"] for step in document["steps"]] == list(range(1, 15))
    assert final_answer(turns(exchanges)) == "more 3"
    assert final_answer(turns(exchanges[:3])) == "more 1", "a summary is no answer"


def test_each_start_of_a_program_is_where_it_resumed() -> None:
    said = [("user", "do it")]
    parts = [
        claude(said, "a", 1.0, part=0),
        claude([*said, ("assistant", "a"), ("user", "again")], "b", 2.0, part=1),
        claude([*said, ("user", "again"), ("user", "and more")], "c", 3.0, part=1),
        claude([*said, ("user", "again"), ("user", "and more"), ("user", "!")], "d", 4.0, part=2),
    ]
    steps = build(parts)["steps"]
    joins = {step["message"]: step["extra"]["joins"] for step in steps if step.get("extra")}
    assert joins == {"again": ["resume"], "!": ["resume"]}
    assert not any(step.get("is_copied_context") for step in steps)


def test_a_message_that_is_said_twice_is_there_twice() -> None:
    said = [("user", "go on")]
    again = [*said, ("assistant", "a"), ("user", "go on")]
    exchanges = [claude(said, "a", 1.0), claude(again, "b", 2.0), claude(again, "c", 3.0)]
    messages = [step["message"] for step in build(exchanges)["steps"]]
    assert messages == ["go on", "a", "go on", "b", "c"]


@pytest.mark.parametrize(
    ("lines", "shown", "opened"),
    [
        (["a", "b", "c", "d"], "a\nb", True),  # Half of them.
        (["a", "b", "c", "d"], "a", False),
        (["a", "b", "c"], "a", False),
        (["a", "b", "c"], "a\nc", True),
        (["a"], "a", True),
        ([], "a", False),
    ],
)
def test_half_of_a_skills_lines_in_one_message_open_it(
    lines: list[str], shown: str, opened: bool, tmp_path: Path
) -> None:
    body = "\n\n".join(f"- rule {line}" for line in lines)
    (tmp_path / "SKILL.md").write_text(f"---\nname: s\ndescription: d\n---\n\n{body}\n")
    said = "\n".join(f"- rule {line}" for line in shown.splitlines())
    found = turns([claude([("user", "hi"), ("user", said)], "ok", 1.0)])
    assert skill_activated(found, tmp_path) is opened
    assert skills_opened(found, [tmp_path]) == ((tmp_path.name,) if opened else ())
    # Not from several messages together.
    apart = turns([claude([("user", line) for line in said.splitlines()], "ok", 1.0)])
    assert skill_activated(apart, tmp_path) is (opened and len(lines) == 1)


def task(id: str, text: str, name: str = "Task", key: str = "prompt") -> ToolCall:
    return ToolCall(id, name, {key: text})


@pytest.mark.parametrize(
    ("call", "below"),
    [
        (task("c1", "look there"), True),
        (task("c1", "look there", key="message"), True),
        (task("c1", "look there", name="mcp__agents__Task"), True),
        (task("c1", "  "), False),
        (task("c1", "something else"), False),
        (task("c1", "look there", name="Bash"), False),
        (task("c1", "look there", key="description"), False),
    ],
)
def test_a_call_that_starts_a_sub_agent_is_known_by_its_text(call: ToolCall, below: bool) -> None:
    main = claude([("user", "do it")], "", 1.0, calls=(call,))
    sub = claude([("user", "please look there")], "seen", 2.0, "a1")
    document = build([main, sub])
    step = next(step for step in document["steps"] if step.get("tool_calls"))
    refs = step["observation"]["results"][0]["subagent_trajectory_ref"] if below else None
    assert (refs and refs[0]["trajectory_id"]) == ("a1" if below else None)
    assert below or "observation" not in step
    assert document["subagent_trajectories"][0]["trajectory_id"] == "a1"


def test_two_calls_start_two_sub_agents_though_they_say_the_same() -> None:
    calls = (task("c1", "look"), task("c2", "look"))
    main = claude([("user", "do it")], "", 1.0, calls=calls)
    subs = [claude([("user", "look")], f"seen {n}", 2.0 + n, f"a{n}") for n in (1, 2)]
    step = build([main, *subs])["steps"][1]
    refs = [one["subagent_trajectory_ref"][0]["trajectory_id"]
            for one in step["observation"]["results"]]  # fmt: skip
    assert refs == ["a1", "a2"]


def test_the_last_word_of_a_sub_agent_is_not_the_answer() -> None:
    main, sub = claude([("user", "do it")], "done", 1.0), claude([("user", "x")], "seen", 2.0, "a1")
    found = turns([main, sub])
    assert final_answer(found) == "done"
    assert [turn.reply.text for turn in main_conversation(found) if turn.reply] == ["done"]


def test_a_trajectory_has_the_first_requests_tools_and_the_whole_usage() -> None:
    exchanges = conversation()
    last = exchanges[-1]
    other = [{"function": {"name": "other", "parameters": {}}}]
    exchanges[-1] = replace(last, request={**last.request, "tools": other})
    document = build(exchanges)
    assert document["agent"]["tool_definitions"] == [
        {"type": "function", "function": {"name": "shell", "description": "", "parameters": {}}}
    ]
    metrics = document["final_metrics"]
    assert metrics["total_prompt_tokens"] == 30 and metrics["total_completion_tokens"] == 5
    assert metrics["total_cached_tokens"] == 10 and metrics["total_steps"] == 5
    alone = [Exchange("chat", chat_body("hi", tools=False), Reply("ok"), 200, "", 1.0, 2.0)]
    assert "tool_definitions" not in build(alone)["agent"], "none is not an empty list"


def test_what_the_model_thought_is_kept_apart_and_nothing_is_no_empty_list() -> None:
    body = claude_body("x") | {"messages": [{"role": "user", "content": "do it"}]}
    reply = Reply("done", thoughts=(Thought("first"), Thought("then")))
    document = build([Exchange("messages", body, reply, 200, "", 1.0, 2.0, thread="")])
    agent = document["steps"][-1]
    assert (agent["message"], agent["reasoning_content"]) == ("done", "first\nthen")
    assert "subagent_trajectories" not in document
    assert "tool_calls" not in agent and "observation" not in agent


def test_a_lost_result_is_not_taken_from_the_conversation_that_began_anew() -> None:
    said, call = call_of("echo", "x")
    opening = [{"role": "user", "content": "do it"}]
    results = {
        name: {"role": "tool", "tool_call_id": "x", "content": name} for name in ("a", "b", "c")
    }
    shown = [
        opening,
        [*opening, said, results["a"]],
        opening,
        [*opening, said, results["b"]],
        [*opening, said, results["b"], said, results["c"]],
    ]
    replies = [*[Reply("", (call,), stop="tool_calls")] * 4, Reply("done")]
    found = build([exchange(*pair) for pair in zip(shown, replies, strict=True)])
    steps = [step for step in found["steps"] if step.get("tool_calls")]
    assert [
        step["observation"]["results"][0]["content"] if step.get("observation") else None
        for step in steps
    ] == ["a", None, "b", "c"]


def test_a_message_that_was_left_out_for_a_while_is_no_new_one() -> None:
    short = [("user", "a")]
    long = [*short, ("assistant", "x"), ("user", "b")]
    shown = [short, long, short, long]
    found = build([claude(one, f"r{n}", float(n)) for n, one in enumerate(shown, 1)])
    assert [step["message"] for step in found["steps"]] == ["a", "r1", "b", "r2", "r3", "r4"]


def test_a_sub_agent_that_says_its_own_task_again_has_not_started_itself() -> None:
    main = claude([("user", "do it")], "ok", 1.0)
    sub = claude([("user", "look there")], "", 2.0, "a1", calls=(task("c1", "look there"),))
    document = build([main, sub])
    assert [one["trajectory_id"] for one in document["subagent_trajectories"]] == ["a1"]


def test_only_the_main_conversations_failures_are_counted() -> None:
    main = claude([("user", "do it")], "ok", 1.0)
    lost = replace(claude([("user", "do it")], "", 2.0), reply=None, status=500)
    sub = replace(claude([("user", "look")], "", 3.0, "a1"), reply=None, status=500)
    assert build([main, lost, sub])["extra"]["failed_requests"] == 1

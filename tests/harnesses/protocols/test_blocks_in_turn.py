"""Blocks and items whose pieces come in turn, or that lack a beginning or an end."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harnesses.protocols.base import CallBegun, ProtocolError, Reply, TextPiece
from harnesses.protocols.registry import CODECS
from tests.helpers.cells import examples

Event = dict[str, Any]


def start(index: int | None, **block: Any) -> Event:
    return {"type": "content_block_start", "index": index, "content_block": block}


def delta(index: int | None, kind: str, text: str) -> Event:
    key = {"text_delta": "text", "thinking_delta": "thinking"}.get(kind, "partial_json")
    return {"type": "content_block_delta", "index": index, "delta": {"type": kind, key: text}}


def stop(index: int | None) -> Event:
    return {"type": "content_block_stop", "index": index}


MESSAGE_END = [
    {"type": "message_delta", "delta": {"stop_reason": "tool_use"}},
    {"type": "message_stop"},
]


def message(*events: Event) -> Reply:
    return CODECS["messages"].read_stream(iter([*events, *MESSAGE_END]))


def call(index: int, text: str, id: str = "") -> list[Event]:
    return [
        start(index, type="tool_use", id=id or f"c{index}", name=f"tool{index}", input={}),
        *(delta(index, "input_json_delta", part) for part in text),
        stop(index),
    ]


def facts(reply: Reply) -> tuple[str, str, list[Any]]:
    calls = [[c.name, dict(c.arguments)] for c in reply.calls]
    return reply.reasoning, reply.text, calls


RIGHT = ("hm", "Look", [["tool2", {"a": 1}], ["tool3", {}]])
BLOCKS = [
    [start(0, type="thinking", thinking=""), delta(0, "thinking_delta", "h"),
     delta(0, "thinking_delta", "m"), stop(0)],
    [start(1, type="text", text=""), delta(1, "text_delta", "Lo"), delta(1, "text_delta", "ok"),
     stop(1)],
    call(2, '{"a": 1}'),
    call(3, ""),
]  # fmt: skip


@settings(max_examples=examples(100))
@given(st.data())
def test_blocks_of_messages_may_come_in_turn_and_without_an_end(data: st.DataObject) -> None:
    without = data.draw(st.sets(st.integers(0, 3)))
    blocks = [block[:-1] if n in without else block for n, block in enumerate(BLOCKS)]
    assert facts(message(*in_turn(blocks, data))) == RIGHT


def in_turn(blocks: list[list[Event]], data: st.DataObject) -> list[Event]:
    """The events of all blocks, in any order in which blocks begin one after another."""
    waiting, events, begun = [list(block) for block in blocks], [], 0
    while any(waiting):
        ready = [n for n, left in enumerate(waiting) if left and n <= begun]
        turn = data.draw(st.sampled_from(ready)) if len(ready) > 1 else ready[0]
        begun = max(begun, turn + 1)
        events.append(waiting[turn].pop(0))
    return events


@pytest.mark.parametrize(
    ("name", "events", "right"),
    [
        ("a text that was not begun", [delta(0, "text_delta", "Look")], ("", "Look", [])),
        ("a thought that was not begun", [delta(0, "thinking_delta", "hm"),
                                          delta(1, "text_delta", "Look")], ("hm", "Look", [])),
        ("no index", [start(None, type="text", text=""), delta(None, "text_delta", "Look"),
                      stop(None)], ("", "Look", [])),
        ("one index for all", [*call(0, '{"a": 1}', "x"), *call(0, '{"b": 2}', "y")],
         ("", "", [["tool0", {"a": 1}], ["tool0", {"b": 2}]])),
        ("one index for all, without ends",
         [*call(0, '{"a": 1}', "x")[:-1], *call(0, '{"b": 2}', "y")[:-1]],
         ("", "", [["tool0", {"a": 1}], ["tool0", {"b": 2}]])),
        ("the arguments in the beginning",
         [start(0, type="tool_use", id="a", name="run", input={"a": 1}), stop(0)],
         ("", "", [["run", {"a": 1}]])),
        ("an id null", [start(0, type="tool_use", id=None, name="run", input={}), stop(0)],
         ("", "", [["run", {}]])),
        ("an index as a float", [start(0.0, type="text", text="Look"), stop(0)],  # type: ignore[arg-type]
         ("", "Look", [])),
        ("an end of nothing", [stop(7), delta(0, "text_delta", "Look")], ("", "Look", [])),
        ("a text within the beginning", [start(0, type="text", text="Look")], ("", "Look", [])),
    ],
)  # fmt: skip
def test_other_habits_of_messages_services(name: str, events: list[Event], right: Any) -> None:
    reply = message(*events, delta(9, "text_delta", "")) if right[1] else message(*events)
    assert facts(reply) == right
    assert all(call.id for call in reply.calls)


def test_arguments_of_no_call_are_an_error() -> None:
    for events in ([delta(0, "input_json_delta", "{}")], [*call(0, ""), BLOCKS[2][1]]):
        with pytest.raises(ProtocolError, match="has not begun"):
            message(*events)


def item_events(index: int, kind: str, text: str, **item: Any) -> list[Event]:
    deltas = {"message": "output_text", "reasoning": "reasoning_summary_text",
              "function_call": "function_call_arguments"}  # fmt: skip
    at = {"output_index": index, "item_id": f"i{index}"}
    name = f"response.{deltas[kind]}"
    return [
        {"type": "response.output_item.added", **at,
         "item": {"type": kind, "id": f"i{index}", **item}},
        *({"type": f"{name}.delta", **at, "delta": part} for part in text),
        {"type": "response.output_item.done", **at,
         "item": {"type": kind, "id": f"i{index}", **item, **filled(kind, text)}},
    ]  # fmt: skip


def filled(kind: str, text: str) -> Event:
    return {
        "message": {"content": [{"type": "output_text", "text": text}]},
        "reasoning": {"summary": [{"type": "summary_text", "text": text}]},
        "function_call": {"arguments": text},
    }[kind]


ITEMS = [
    item_events(0, "reasoning", "hm"),
    item_events(1, "message", "Look"),
    item_events(2, "function_call", '{"a": 1}', call_id="c2", name="tool2"),
    item_events(3, "function_call", "{}", call_id="c3", name="tool3"),
]


def response(*events: Event, **last: Any) -> Reply:
    end = {"type": "response.completed", "response": {"status": "completed", **last}}
    return CODECS["responses"].read_stream(iter([*events, end]))


@settings(max_examples=examples(100))
@given(st.data())
def test_items_of_responses_may_come_in_turn_and_in_parts(data: st.DataObject) -> None:
    items = []
    for item in ITEMS:
        way = data.draw(
            st.sampled_from(["all", "no deltas", "no beginning", "end alone", "no end"])
        )
        begun, *deltas, done = item
        called = "call_id" in begun["item"]
        items.append({
            "all": item, "no deltas": [begun, done], "end alone": [done],
            "no beginning": [*deltas, done] if not called else [begun, done],
            "no end": [begun, *deltas],
        }[way])  # fmt: skip
    assert facts(response(*in_turn(items, data))) == RIGHT


BEGUN, *DELTAS, DONE = ITEMS[2]


@pytest.mark.parametrize(
    ("name", "events", "right"),
    [
        ("the rest in the end", [BEGUN, *DELTAS[:3], DONE], [["tool2", {"a": 1}]]),
        ("the name in the end alone",
         [{**BEGUN, "item": {"type": "function_call", "id": "i2"}}, *DELTAS, DONE],
         [["tool2", {"a": 1}]]),
        ("no ids, no indices", [
            {key: e[key] for key in ("type", "item", "delta") if key in e} for e in ITEMS[2]],
         [["tool2", {"a": 1}]]),
        ("another item id in each event",
         [{**e, "item_id": f"x{n}"} for n, e in enumerate(ITEMS[2])], [["tool2", {"a": 1}]]),
        ("the arguments' end, no item's end",
         [BEGUN, {"type": "response.function_call_arguments.done", "output_index": 2,
                  "arguments": '{"a": 1}'}], [["tool2", {"a": 1}]]),
        ("an empty end", [BEGUN, *DELTAS, {**DONE, "item": {**DONE["item"], "arguments": ""}}],
         [["tool2", {"a": 1}]]),
        ("other blanks in the end",
         [BEGUN, *DELTAS, {**DONE, "item": {**DONE["item"], "arguments": '{"a":1}'}}],
         [["tool2", {"a": 1}]]),
        ("one index for all", [{**e, "output_index": 0} for n in (2, 3) for e in ITEMS[n]],
         [["tool2", {"a": 1}], ["tool3", {}]]),
    ],
)  # fmt: skip
def test_other_habits_of_responses_services(name: str, events: list[Event], right: Any) -> None:
    assert facts(response(*events))[2] == right
    output = [e["item"] for e in events if e["type"].endswith("item.done")]
    assert facts(response(*events, output=output))[2] == right


def test_an_end_that_contradicts_its_pieces_is_an_error() -> None:
    done = {**DONE, "item": {**DONE["item"], "arguments": '{"b": 2}'}}
    with pytest.raises(ProtocolError, match="ended with"):
        response(BEGUN, *DELTAS, done)


def test_arguments_without_a_name_are_an_error() -> None:
    with pytest.raises(ProtocolError, match="no name"):
        response(*DELTAS)


def test_items_that_only_the_end_has_are_read() -> None:
    whole = [DONE["item"], ITEMS[3][-1]["item"]]
    assert facts(response(*ITEMS[2], output=whole))[2] == [["tool2", {"a": 1}], ["tool3", {}]]


def test_the_first_block_is_passed_on_as_it_comes() -> None:
    reader = CODECS["messages"].reader()
    list(reader.read(start(0, type="text", text="")))
    assert TextPiece("Lo") in list(reader.read(delta(0, "text_delta", "Lo")))
    assert list(reader.read(start(1, type="tool_use", id="a", name="run"))) == []
    assert CallBegun("a", "run") in list(reader.read(stop(0)))
    assert json.dumps([p.text for p in reader.read(delta(1, "input_json_delta", "{"))]) == '["{"]'  # type: ignore[union-attr]

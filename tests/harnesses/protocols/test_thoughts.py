"""Thoughts are split off a reply wherever a service puts them, whole and streamed."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harnesses.protocols.base import Conversation, Message, Reply, Thought
from harnesses.protocols.chat import ChatCodec
from harnesses.protocols.registry import CODECS

TEXTS = [
    ("<think>hm</think>Paris", "hm", "Paris"),
    ("<think>\nI should {think}\n</think>\n\nhello", "I should {think}", "hello"),
    ("\n <think>hm</think>\nParis", "hm", "Paris"),
    ("<think>\n\n</think>\n\nParis", "", "Paris"),
    ("<think>a</think>\n<think>b</think>\nParis", "a\nb", "Paris"),
    ("<thinking>hm</thinking>\nParis", "hm", "Paris"),
    ("<thought>hm</thought>Paris", "hm", "Paris"),
    ("<Think>hm</THINK>Paris", "hm", "Paris"),
    ("<seed:think>hm</seed:think>Paris", "hm", "Paris"),
    ("[THINK]hm[/THINK]Paris", "hm", "Paris"),
    ("<think>a < b </ c <think> d</think>Paris", "a < b </ c <think> d", "Paris"),
    ("<think>cut at its lim", "cut at its lim", ""),
    ("<think>hm</think>", "hm", ""),
    ("<think>hm</think>\n\nThe tag `</think>` ends it.", "hm", "The tag `</think>` ends it."),
    ("hm {x}\n</think>\n\nParis", "hm {x}", "Paris"),
    ("hm.</think>Paris", "hm.", "Paris"),
    ("</think>\nParis", "", "Paris"),
    ("Paris", "", "Paris"),
    ("  Paris", "", "  Paris"),
    ("", "", ""),
    ("<", "", "<"),
    ("<thin", "", "<thin"),
    ("<thinker>Rodin</thinker>", "", "<thinker>Rodin</thinker>"),
    ("Write <think> first, then </think> after it.", "",
     "Write <think> first, then </think> after it."),
    ("Text with <think>a</think> inside.", "", "Text with <think>a</think> inside."),
    ("The tag `</think>` ends a thought.", "", "The tag `</think>` ends a thought."),
    ("```\n</think>\n```", "", "```\n</think>\n```"),
    ("It ends with </think> as a rule.", "", "It ends with </think> as a rule."),
]  # fmt: skip
Block = dict[str, Any]


def whole(name: Any, text: str) -> Reply:
    bodies: dict[str, Block] = {
        "chat": {"choices": [{"message": {"content": text}, "finish_reason": "stop"}]},
        "messages": {"content": [{"type": "text", "text": text}], "stop_reason": "end_turn"},
        "responses": {
            "status": "completed",
            "output": [{"type": "message", "content": [{"type": "output_text", "text": text}]}],
        },
    }
    return CODECS[name].read_response(bodies[name])


def streamed(name: Any, parts: list[str]) -> Reply:
    events: list[Block] = []
    if name == "chat":
        events = [{"choices": [{"delta": {"content": part}}]} for part in parts]
        events.append({"choices": [{"delta": {"content": ""}, "finish_reason": "stop"}]})
    elif name == "messages":
        events = [{"type": "content_block_start", "index": 0, "content_block": {"type": "text"}}]
        events += [{"type": "content_block_delta", "index": 0,
                    "delta": {"type": "text_delta", "text": part}} for part in parts]  # fmt: skip
        events.append({"type": "message_delta", "delta": {"stop_reason": "end_turn"}})
        events.append({"type": "message_stop"})
    else:
        kind = "response.output_text.delta"
        events = [{"type": "response.output_item.added", "item": {"type": "message"}}]
        events += [{"type": kind, "output_index": 0, "delta": part} for part in parts]
        events.append({"type": "response.completed", "response": {"status": "completed"}})
    return CODECS[name].read_stream(iter(events))


@pytest.mark.parametrize("name", CODECS)
@pytest.mark.parametrize(("text", "thought", "answer"), TEXTS)
def test_a_thought_between_tags_is_no_text(name: Any, text: str, thought: str, answer: str) -> None:
    for reply in (whole(name, text), streamed(name, [text]), streamed(name, list(text))):
        assert (reply.reasoning, reply.text) == (thought, answer)


PARTS = ["<think>", "</think>", "<", "think", ">", "/", "\n", " ", "a", "`", "[THINK]", "[/THINK]"]


@given(st.lists(st.sampled_from(PARTS), max_size=12), st.data())
def test_whole_and_streamed_are_read_the_same(parts: list[str], data: st.DataObject) -> None:
    text = "".join(parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=5)))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    for name in CODECS:
        assert streamed(name, pieces) == whole(name, text)


@pytest.mark.parametrize(
    ("message", "thought", "text"),
    [
        ({"content": "a", "reasoning_content": "hm"}, "hm", "a"),
        ({"content": "a", "reasoning": "hm"}, "hm", "a"),
        ({"content": "a", "reasoning": None, "reasoning_content": "hm"}, "hm", "a"),
        ({"content": "a", "reasoning": {"content": "hm"}}, "hm", "a"),
        ({"content": "a", "reasoning_details": [{"type": "reasoning.text", "text": "h"},
                                                {"type": "reasoning.summary", "summary": "m"},
                                                {"type": "reasoning.encrypted", "data": "x"}]},
         "hm", "a"),
        ({"content": "a", "reasoning": "hm",
          "reasoning_details": [{"type": "reasoning.text", "text": "hm"}]}, "hm", "a"),
        ({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
                      {"type": "text", "text": "a"}]}, "hm", "a"),
        ({"content": [{"type": "reasoning", "text": "hm"}, {"type": "text", "text": "a"}]},
         "hm", "a"),
        ({"content": "<think>so</think>a", "reasoning_content": "hm"}, "hm\nso", "a"),
        ({"content": None, "reasoning_content": "hm"}, "hm", ""),
    ],
)  # fmt: skip
def test_each_field_for_thoughts_is_read_whole_and_streamed(
    message: Block, thought: str, text: str
) -> None:
    codec = ChatCodec()
    body = codec.read_response({"choices": [{"message": message, "finish_reason": "stop"}]})
    stream = codec.read_stream(iter([{"choices": [{"delta": message, "finish_reason": "stop"}]}]))
    for reply in (body, stream):
        assert (reply.reasoning, reply.text) == (thought, text)


def test_a_service_gets_a_thought_back_as_it_wrote_it() -> None:
    for text, again in (
        ("<think>hm</think>Paris", "<think>\nhm\n</think>\n\nParis"),
        ("[THINK]hm[/THINK]Paris", "[THINK]\nhm\n[/THINK]\n\nParis"),
    ):
        reply = whole("chat", text)
        said = Message("assistant", reply.text, thoughts=reply.thoughts)
        body = CODECS["chat"].write_request(Conversation("m", (Message("user", "?"), said)))
        assert body["messages"][1] == {"role": "assistant", "content": again}
    assert whole("messages", "<think>hm</think>Paris").thoughts == (Thought("hm"),)

"""Words and counts that clients cannot read are made readable; all else stays as it is."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harnesses.gateway.readable import readable


@pytest.mark.parametrize(
    ("before", "word", "after"),
    [
        ("", '"stop"', '"stop"'),
        ("", '"length"', '"length"'),
        ("", "null", "null"),
        ("", '"weird_but_done"', '"stop"'),
        ("", '"end_turn"', '"stop"'),
        ("", '"we\\"ird"', '"stop"'),
        ('"tool_calls": [{"index": 0}]', '"weird_but_done"', '"tool_calls"'),
        ('"tool_calls": []', '"weird_but_done"', '"stop"'),
        ('"tool_calls": [{"index": 0}]', '"stop"', '"stop"'),
    ],
)
def test_the_end_of_a_chat_reply(before: str, word: str, after: str) -> None:
    plain = readable("chat")
    assert plain(f"data: {{{before}}}\n".encode()) == f"data: {{{before}}}\n".encode()
    shown = plain(f'data: {{"finish_reason": {word}}}\n\n'.encode())
    assert shown == f'data: {{"finish_reason": {after}}}\n\n'.encode()


@pytest.mark.parametrize(
    ("usage", "full"),
    [
        (
            {"input_tokens": 3, "output_tokens": 4},
            {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7},
        ),
        ({}, {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}),
        (
            {"input_tokens": 1, "output_tokens": 1, "total_tokens": 9, "input_tokens_details": {}},
            {
                "input_tokens": 1, "output_tokens": 1, "total_tokens": 9,
                "input_tokens_details": {"cached_tokens": 0},
            },
        ),
    ],
)  # fmt: skip
def test_the_usage_of_a_response(usage: object, full: object) -> None:
    event = {"type": "response.completed", "response": {"id": "r", "usage": usage}}
    lines = f"event: response.completed\ndata: {json.dumps(event)}\n\n".encode()
    shown = readable("responses")(lines).decode().split("\n")
    assert shown[0] == "event: response.completed" and shown[2:] == ["", ""]
    assert json.loads(shown[1].removeprefix("data: "))["response"]["usage"] == full
    whole = readable("responses")(json.dumps({"id": "r", "usage": usage}).encode())
    assert json.loads(whole)["usage"] == full


@given(st.binary(), st.sampled_from(["chat", "messages", "responses"]))
def test_what_is_no_reply_stays_as_it_is(raw: bytes, protocol: str) -> None:
    text = b'"usage" ' + raw.replace(b"finish_reason", b"")
    assert readable(protocol)(text) == text  # type: ignore[arg-type]


def test_a_full_usage_is_not_written_anew() -> None:
    usage = '{"input_tokens":1,  "output_tokens":2,"total_tokens":3}'
    line = f'data: {{"response": {{"usage": {usage}}}}}\n'.encode()
    assert readable("responses")(line) == line
    odd = b'data: {"response": {"usage": null}}\n'
    assert readable("responses")(odd) == odd

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


@pytest.mark.parametrize("protocol", ["chat", "messages", "responses"])
@pytest.mark.parametrize(
    ("told", "read"),
    [
        ('"input_tokens": 5.0,', '"input_tokens": 5,'),
        ('"tokens":5.00}', '"tokens":5}'),
        ('"tokens": 5.0 ]', '"tokens": 5 ]'),
        ('"tokens": 5.5,', '"tokens": 5.5,'),
        ('"tokens": 5.0e3,', '"tokens": 5.0e3,'),
        ('"token": 5.0,', '"token": 5.0,'),
    ],
)
def test_a_count_is_a_whole_number(protocol: str, told: str, read: str) -> None:
    plain = readable(protocol)  # type: ignore[arg-type]
    assert plain(told.encode()) == read.encode()


@pytest.mark.parametrize(
    ("usage", "full"),
    [
        ({"input_tokens": "3", "output_tokens": None, "total_tokens": "x"}, (0, 0, 0)),
        ({"input_tokens": 3}, (3, 0, 3)),
        ({"output_tokens": 3}, (0, 3, 3)),
        ({"input_tokens": 3, "output_tokens": 4, "total_tokens": 0}, (3, 4, 0)),
    ],
)
def test_a_count_that_is_missing_is_nought(
    usage: dict[str, object], full: tuple[int, int, int]
) -> None:
    names = ("input_tokens", "output_tokens", "total_tokens")
    details = {"output_tokens_details": {"reasoning_tokens": None, "x": 1}}
    for prefix in ("data:", "data: "):
        line = f"{prefix}{json.dumps({'usage': {**usage, **details}})}".encode()
        shown = readable("responses")(line)
        assert shown.startswith(b"data: {")
        found = json.loads(shown[6:])["usage"]
        assert tuple(found[name] for name in names) == full
        assert found["output_tokens_details"] == {"reasoning_tokens": 0, "x": 1}
        assert "input_tokens_details" not in found


@pytest.mark.parametrize(
    "line", ['data: {"usage":', "data: [1]", 'data: {"response": 7, "usage": {}}', 'x: "usage"']
)
def test_a_line_that_cannot_be_read_stays(line: str) -> None:
    raw = f'{line}\ndata: {{"usage": {{}}}}'.encode()
    found = readable("responses")(raw).split(b"\n")
    assert found[0] == line.encode() and b"total_tokens" in found[1]


def test_a_call_is_known_over_the_chunks_of_one_reply_alone() -> None:
    end = b'{"finish_reason": "odd"}'
    plain = readable("chat")
    assert plain(b'"tool_calls" : [ {') == b'"tool_calls" : [ {'
    assert plain(b": ping") == b": ping" and b'"tool_calls"' in plain(end)
    assert b'"stop"' in readable("chat")(end)
    for word in (b"stop", b"length", b"tool_calls", b"content_filter", b"function_call"):
        assert word in plain(b'{"finish_reason":"' + word + b'"}')

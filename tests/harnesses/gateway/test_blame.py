"""What a refusal says: whose fault it is, and whether a wait, less, or money would help."""

from __future__ import annotations

import json

import pytest

from harnesses.gateway.blame import HINTS, Refusal, refusal_of

TOO_LONG = "prompt is too long"


@pytest.mark.parametrize(
    ("status", "text", "kind", "too_long"),
    [
        (400, TOO_LONG, "", True),
        (400, "x", "context_length_exceeded", True),
        (400, "x", "request_too_large", True),
        (400, "your messages are too large", "", True),
        (400, "PROMPT IS\nTOO LONG", "", True),
        (400, "input exceeds the context window", "", True),
        (400, "it is larger than the model's maximum prompt ", "", True),
        (400, "the context overflows", "", True),
        (400, "context window is full", "", True),
        (400, "too many prompt tokens", "", True),
        (400, "please reduce the length", "", True),
        (400, "too many tokens", "", False),
        (400, "the name is too long", "", False),
        (413, "", "", True),
        (412, "", "", False),
        (414, "", "", False),
        # It says which tokens are too many: those of the reply.
        (413, "max_tokens: 9 > 8", "", False),
        (400, f"{TOO_LONG}: lower max_output_tokens", "", False),
    ],
)
def test_a_conversation_that_is_too_long(status: int, text: str, kind: str, too_long: bool) -> None:
    assert Refusal(status, text, kind).too_long is too_long


@pytest.mark.parametrize(
    ("status", "text", "reply_tokens"),
    [
        (400, "max_tokens: 9 > 8", True), (422, "max_completion_tokens is large", True),
        (0, "MAX_NEW_TOKENS", True), (400, "tokens", False), (401, "max_tokens", False),
        (423, "max_tokens", False), (413, "max_tokens", False), (1, "max_tokens", False),
    ],
)  # fmt: skip
def test_a_reply_for_which_there_is_no_room(status: int, text: str, reply_tokens: bool) -> None:
    assert Refusal(status, text).reply_tokens is reply_tokens


@pytest.mark.parametrize(
    ("status", "text", "content"),
    [
        (400, "content_filter", True), (403, "flagged", True), (500, "moderation", True),
        (401, "flagged", False), (404, "flagged", False), (429, "flagged", False),
        (400, "contents", False),
    ],
)  # fmt: skip
def test_content_that_is_not_accepted(status: int, text: str, content: bool) -> None:
    assert Refusal(status, text).content is content
    assert Refusal(status, "", text).content is content, "by its code too"


@pytest.mark.parametrize(
    ("text", "kind", "quota", "plan"),
    [
        ("insufficient_quota", "", True, False),
        ("your credit balance is too low", "", True, False),
        ("credits are all used up", "", True, False),
        ("not enough funds", "", True, False),
        ("quota for this day is exhausted", "", True, False),
        ("see billing", "", True, False),
        ("x", "insufficient_quota", True, False),
        ("x", "usage_limit_reached", True, True),
        ("x", "subscription_sharing_usage_limit_exceeded", True, True),
        # Its words alone are no code.
        ("usage_limit_reached", "", False, False),
        ("x", "usage_limit", False, False),
    ],
)
def test_what_money_would_mend(text: str, kind: str, quota: bool, plan: bool) -> None:
    said = Refusal(429, text, kind)
    assert (said.quota, said.plan_limit) == (quota, plan)
    # An agent cannot pay, whatever else is said.
    blamed = Refusal(400, f"{text}: {TOO_LONG}", kind).blame
    assert blamed == ("service" if quota else "agent")


@pytest.mark.parametrize(
    ("status", "blame"),
    [(0, "agent"), (200, "agent"), (400, "agent"), (401, "service"), (402, "service"),
     (403, "agent"), (404, "service"), (413, "agent"), (422, "agent"), (429, "service"),
     (499, "agent"), (500, "service"), (501, "service"), (529, "service")],
)  # fmt: skip
def test_some_statuses_are_never_the_agents(status: int, blame: str) -> None:
    assert Refusal(status, TOO_LONG).blame == Refusal(status, "flagged").blame == blame
    assert Refusal(status, "no").blame == ("agent" if status == 413 else "service")


@pytest.mark.parametrize(
    ("body", "text", "kind"),
    [
        ({"error": {"message": "m", "code": "c", "type": "t", "status": "s"}}, "m", "c t s"),
        ({"error": {"message": "m", "code": 7, "type": None}}, "m", "7"),
        ({"message": "m", "type": "t"}, "m", "t"),
        ([{"error": {"message": "m"}}], "m", ""),
        ([{"error": {"message": "m"}}, {}], None, ""),
        ([], None, ""),
        ({"error": "words"}, "words", ""),
        ("words", "words", ""),
        ({"error": 7}, None, ""),
        ({"error": {"code": "c"}}, None, "c"),
        ({"error": {"message": 7}}, None, ""),
        ({"error": {"message": "m", "metadata": {"raw": "r" * 2000}}}, "m: " + "r" * 1000, ""),
        ({"error": {"message": "m", "metadata": {"raw": 7}}}, "m", ""),
        ({"error": {"message": "m", "metadata": "raw"}}, "m", ""),
    ],
)  # fmt: skip
def test_the_words_of_any_form_of_refusal(body: object, text: str | None, kind: str) -> None:
    raw = json.dumps(body)
    said = refusal_of(400, f"  {raw}\n".encode())
    assert said == Refusal(400, raw if text is None else text, kind)


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"plain words ", "plain words"),
        (b"<!DOCTYPE html><TITLE a='b'>Not <b>found</b>\n here</TITLE><p>x", "(Not found here)"),
        (b"<html><title></title></html>", "a web page (without a title)"),
        (b"<html>", "a web page (without a title)"),
        (b"<xml>", "<xml>"),
        (b"x" * 3000, "x" * 2000),
    ],
)
def test_the_words_of_what_is_no_json(raw: bytes, text: str) -> None:
    found = refusal_of(404, raw).text
    assert found == text or (text.startswith("(") and found == f"a web page {text}")


@pytest.mark.parametrize("code", HINTS)
def test_a_refusal_of_a_plans_route_says_what_to_do(code: str) -> None:
    said = refusal_of(403, json.dumps({"error": {"message": "no", "code": code}}).encode())
    assert said == Refusal(403, f"no ({HINTS[code]})", code)

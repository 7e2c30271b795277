"""The tries of one call: what is asked again, what is passed on, and when no try is left."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import pytest

from harnesses.base import ModelSpec
from harnesses.clock import now
from harnesses.gateway.patience import Patience
from harnesses.gateway.service import Service, Wait
from harnesses.gateway.service_time import ServiceTime
from harnesses.gateway.tries import GivenUpError, Tries
from harnesses.gateway.upstreams import Answer, Call, UnusableUpstreamError, UpstreamError
from harnesses.protocols.base import ProtocolName, Reply
from harnesses.protocols.chat import ChatCodec

Act = Callable[[], Awaitable[Answer]]
QUICK = Patience(total_s=20, pause_s=0.0, first_byte_s=0.01)
REPLY = json.dumps(ChatCodec().write_response(Reply("ok"), "m", "1")).encode()
STREAM = b"".join(ChatCodec().write_stream(Reply("ok"), "m", "1"))


class Upstream:
    """Answers as its script says, of which the last act repeats."""

    protocols: frozenset[ProtocolName] = frozenset({"chat"})
    max_concurrency = 1
    key_env = "THE_KEY"

    def __init__(self, *script: Any) -> None:
        self.script = list(script)
        self.asked = 0
        self.held: list[int] = []
        """The slots that were held at each request."""
        self.ended = 0
        """The answers that were read to their end, or closed."""
        self.service = Service("up", self, QUICK, lambda wait: None)

    async def send(self, call: Call) -> Answer:
        self.asked += 1
        self.held.append(self.service.slots.held)
        act = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(act, Exception):
            raise act
        status, body, headers = (*act, {})[:3] if isinstance(act, tuple) else (act, "no", {})
        kind = "text/event-stream" if body == STREAM else "application/json"
        raw = body if isinstance(body, bytes) else json.dumps({"error": {"message": body}}).encode()
        return Answer(status, kind, self._chunks(raw), headers=headers)

    async def _chunks(self, raw: bytes) -> AsyncIterator[bytes]:
        try:
            while raw:
                part, raw = raw[:50_000], raw[50_000:]
                yield part
                if part.startswith(b"{silence"):
                    await asyncio.sleep(5)
        finally:
            self.ended += 1

    async def close(self) -> None:
        """Nothing to close."""


def tries(upstream: Upstream, patience: Patience = QUICK, **options: Any) -> Tries:
    service = upstream.service
    service.patience = patience
    given: dict[str, Any] = {"first_byte_s": 5.0, "waited": ServiceTime()} | options
    call = Call("chat", "/v1/chat/completions", {"model": "m"}, {}, 1)
    return Tries(service, call, ModelSpec("up", "m"), 7, "token", **given)


async def told(made: Tries) -> tuple[int, bytes]:
    answer = await made.answer()
    return answer.status, b"".join([chunk async for chunk in answer.chunks])


def outcome(made: Tries) -> Any:
    """The answer that is passed on, or why there is none."""
    try:
        return asyncio.run(told(made))
    except GivenUpError as error:
        return str(error)


PAGE = b"<html><title>Sign in</title></html>"
LONG = "prompt is too long"


def failure(message: str, code: str = "") -> bytes:
    return json.dumps({"error": {"message": message, "code": code}}).encode()


@pytest.mark.parametrize(
    ("script", "asked"),
    [
        ([(200, REPLY)], 1),
        # What passes by itself is asked again, also an answer that is no reply.
        ([500, (200, REPLY)], 2),
        ([408, 429, 503, 529, 524, (200, REPLY)], 6),
        ([UpstreamError("broke"), (200, REPLY)], 2),
        ([(200, PAGE), (200, b""), (200, REPLY)], 3),
        ([(200, failure("overloaded")), (200, REPLY)], 2),
        ([(429, "no", {"retry-after": "0"}), (200, REPLY)], 2),
        # What does not is asked once more.
        ([400, (200, REPLY)], 2),
        ([418, (200, REPLY)], 2),
        # Credit that is said to come back soon.
        ([(429, "insufficient_quota", {"retry-after": "0"}), (200, REPLY)], 2),
        ([(200, failure("no", "usage_limit_reached"), {"x-should": "1", "retry-after": "0"}),
          (200, REPLY)], 0),
    ],
)  # fmt: skip
def test_a_service_is_asked_until_it_replies(script: list[Any], asked: int) -> None:
    upstream = Upstream(*script)
    made = tries(upstream)
    if not asked:  # A plan's limit within a reply, without a time at which it ends.
        assert "the plan's limit is reached" in outcome(made)
        return
    assert outcome(made) == (200, REPLY)
    assert (upstream.asked, made.count, made.refusal) == (asked, asked, None)
    assert upstream.held == [1] * asked and upstream.service.health.replies == 1
    answers = sum(not isinstance(act, Exception) for act in script)
    assert upstream.ended == answers, "no connection of a try is left open"
    assert upstream.service.slots.held == 1, "as long as the reply passes"
    made.give_back()
    made.give_back()
    assert upstream.service.slots.held == 0


@pytest.mark.parametrize(
    ("script", "status", "asked", "blame"),
    [
        ([(400, LONG)], 400, 1, "agent"),
        ([(413, "no")], 413, 1, "agent"),
        ([(403, "flagged")], 403, 1, "agent"),
        ([400], 400, 2, "service"),
        ([500, 400], 400, 2, "service"),
        ([UpstreamError("broke"), 422], 422, 2, "service"),
        ([(200, failure(LONG))], 400, 1, "agent"),
    ],
)
def test_a_refusal_that_is_final_is_passed_on(
    script: list[Any], status: int, asked: int, blame: str
) -> None:
    upstream = Upstream(*script)
    made = tries(upstream)
    found = outcome(made)
    assert found[0] == status and isinstance(found[1], bytes)
    words = next((word for word in (LONG, "flagged") if word in str(script)), "no")
    assert words.encode() in found[1]
    assert made.refusal is not None and made.refusal.blame == blame
    assert (upstream.asked, made.count) == (asked, asked)


@pytest.mark.parametrize(
    ("script", "why", "asked"),
    [
        ([UnusableUpstreamError("no key")], "model service failed: no key", 1),
        ([401], "model service refused the key: status 401: no; check the key in THE_KEY", 1),
        ([403], "model service refused the key: status 403", 1),
        ([404], "model service does not know 'm'", 1),
        ([500, 404], "model service does not know 'm'", 2),
        ([402], "credit or quota is used up: no", 1),
        ([(402, "no", {"retry-after": "0"})], "credit or quota is used up: no", 1),
        ([(429, "insufficient_quota")], "credit or quota is used up: insufficient_quota", 1),
        ([(429, "no", {"retry-after": "21"})], "it is to be there again at", 1),
        ([(500, "no", {"retry-after": "21"})], "it is to be there again at", 1),
        ([(429, "no", {"retry-after": "20"})], "model service failed: status 429: no", 1),
        ([(429, failure("no", "usage_limit_reached"), {"retry-after": "20"})],
         "the plan's limit is reached (plan used up", 1),
    ],
)  # fmt: skip
def test_what_no_wait_mends_is_given_up_at_once(script: list[Any], why: str, asked: int) -> None:
    upstream = Upstream(*script)
    found = outcome(tries(upstream))
    assert isinstance(found, str) and why in found and "tries" not in found
    assert upstream.asked == asked


@pytest.mark.parametrize(
    ("act", "why"),
    [
        ((500, "x" * 700), "model service failed: status 500: " + "x" * 600 + " (after"),
        (UpstreamError("broke"), "model service failed: broke (after"),
        ((200, PAGE), "model service failed: the answer is not JSON"),
        ((200, b""), "model service failed: the answer is not JSON: b''"),
    ],
)
def test_an_outage_ends_with_the_words_of_its_last_failure(act: Any, why: str) -> None:
    upstream = Upstream(act)
    found = outcome(tries(upstream, Patience(total_s=20, outage_s=0.005, pause_s=0.001)))
    assert isinstance(found, str) and found.startswith(why)
    assert found.endswith(f" (after {upstream.asked} tries)") and upstream.asked > 1


def test_a_service_that_is_blocked_is_not_asked() -> None:
    upstream = Upstream((200, REPLY))
    upstream.service.blocked = "used up"
    made = tries(upstream)
    assert (outcome(made), upstream.asked, made.count) == ("used up", 0, 0)
    assert GivenUpError("x").exit_code == 3


def test_only_so_much_of_a_refusal_is_read() -> None:
    upstream = Upstream((400, LONG.encode() + b"x" * 1_000_000))
    status, raw = outcome(tries(upstream))
    assert status == 400 and len(raw) == 65536 and upstream.ended == 1


def test_a_stream_is_one_if_it_was_asked_for() -> None:
    assert outcome(tries(Upstream((200, STREAM)), streamed=True)) == (200, STREAM)
    status, raw = outcome(tries(Upstream((200, STREAM))))
    assert status == 200 and json.loads(raw)["choices"][0]["message"]["content"] == "ok"


def test_silence_in_a_reply_is_borne_as_long_as_it_is_usual() -> None:
    upstream = Upstream((200, b"{silence"), (200, REPLY))
    made = tries(upstream, thinking_s=0.0)
    assert outcome(made) == (200, REPLY) and upstream.asked == 2
    # The time in which a try has failed is not the agent's.
    assert 0.005 < made.waited.seconds < 2
    upstream = Upstream((200, b"{silence"))
    found = outcome(tries(upstream, Patience(5, 0.0, 0.01, 0.001), thinking_s=0.0))
    assert found == "model service failed: the reply stalled"


def test_a_service_that_does_not_begin_is_given_up() -> None:
    class Slow(Upstream):
        async def send(self, call: Call) -> Answer:
            await asyncio.sleep(5)
            raise AssertionError

    found = outcome(tries(Slow(1), Patience(total_s=0.01), first_byte_s=0.01))
    assert isinstance(found, str)
    assert "model service up: no reply began; this rollout has waited 0 s" in found
    assert "patience is 0.01 s" in found


def test_what_is_no_answer_is_the_fault_of_the_upstreams_code() -> None:
    class Odd(Upstream):
        async def send(self, call: Call) -> Any:
            return {"status": 200}

    with pytest.raises(TypeError, match=r"send\(\) returned \{'status': 200\}; return an Answer"):
        outcome(tries(Odd(1)))


def test_one_who_finds_no_slot_says_how_many_there_are() -> None:
    upstream = Upstream((200, REPLY))

    async def play() -> str:
        await upstream.service.slots.take("another", 1)
        made = tries(upstream, Patience(total_s=0.01))
        with pytest.raises(GivenUpError) as error:
            await made.answer()
        made.give_back()
        assert upstream.service.slots.held == 1, "it had none to give back"
        assert made.waited.seconds > 0.005
        return str(error.value)

    assert "all 1 calls run (its max_concurrency)" in asyncio.run(play())
    assert upstream.asked == 0


def test_a_wait_that_another_gateway_was_asked_for_is_kept() -> None:
    upstream = Upstream((200, REPLY))
    upstream.service.held_until = began = now() + 0.02
    made = tries(upstream)
    assert outcome(made) == (200, REPLY) and now() >= began
    assert made.waited.seconds > 0


@pytest.mark.parametrize(
    ("status", "headers", "limited"),
    [(429, {"retry-after": "21"}, 21.0), (503, {"retry-after": "30"}, 30.0),
     (500, {"retry-after": "21"}, 0.0), (429, {}, 0.0)],
)  # fmt: skip
def test_a_limit_is_known_for_other_gateways(
    status: int, headers: Mapping[str, str], limited: float
) -> None:
    upstream = Upstream((status, "no", headers), (200, REPLY))
    made = tries(upstream)
    outcome(made)
    made.give_back()
    found = upstream.service.limited_until
    assert found == 0 if not limited else limited - 1 < found - now() <= limited
    # A shorter one does not replace it.
    upstream.service.limited_until = now() + 50
    upstream.script = [(429, "no", {"retry-after": "0"}), (200, REPLY)]
    outcome(tries(upstream))
    assert upstream.service.limited_until > now() + 45


@pytest.mark.parametrize("act", [(200, REPLY), (400, LONG)])
def test_what_an_answer_tells_of_a_plan_is_kept(act: tuple[int, Any]) -> None:
    upstream = Upstream((*act, {"anthropic-ratelimit-unified-5h-utilization": "0.5"}))
    outcome(tries(upstream))
    assert [window.used for window in upstream.service.windows] == [0.5]


def test_who_waits_for_the_next_try_is_told_of() -> None:
    waits: list[Wait] = []
    upstream = Upstream((500, "no"), (200, REPLY))
    upstream.service.on_wait = waits.append
    upstream.service.health.down_since = now() - 6
    outcome(tries(upstream))
    assert [(wait.reason, wait.until is None) for wait in waits] == [
        ("status 500: no", False),
        ("status 500: no", True),
    ]


@pytest.mark.parametrize(("thinking", "usual"), [(None, 2.0), (1.0, 2.0), (9.0, 9.0)])
def test_silence_is_the_services_when_it_is_unusual(
    thinking: float | None, usual: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [1000.0]
    for module in ("tries", "service_time"):
        monkeypatch.setattr(f"harnesses.gateway.{module}.now", lambda: clock[0])
    made = tries(Upstream(1), Patience(first_byte_s=60.0), thinking_s=thinking)
    for begin, unusual_in in (
        (made.content, usual),
        (lambda: made.silent_since(999.0), usual - 1),
        (lambda: made.silent_since(900.0), 0.0),
        (made.waits, 0.0),
        (lambda: made.waits(5.0), 5.0),
    ):
        clock[0], made.waited = 1000.0, ServiceTime()
        begin()
        clock[0] += unusual_in + 3
        assert made.waited.seconds == 3
        made.rests()
        clock[0] += 100
        assert made.waited.seconds == 3


def test_a_reply_that_never_says_anything_is_given_up() -> None:
    made = tries(Upstream((200, REPLY)), Patience(total_s=5))
    made.waited.add(0.0, 7.0)
    found = outcome(made)
    assert "model service up: a reply without content; this rollout has waited 7 s" in found

"""One call on its way: what passes, what is recorded of it, and who is to blame."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from harnesses.base import ModelSpec, Usage
from harnesses.gateway import forward
from harnesses.gateway.blame import Refusal
from harnesses.gateway.door import EVENTS, JSON
from harnesses.gateway.exchange import GONE, Exchange
from harnesses.gateway.forward import CUT_STREAMS, OVER, BrokenStreamError, Forward, Passing
from harnesses.gateway.patience import Patience
from harnesses.gateway.plan_upstreams import ProgramToken
from harnesses.gateway.routes import passing, route_of
from harnesses.gateway.service import Service
from harnesses.gateway.session import Grant, Session
from harnesses.gateway.upstreams import Answer, Call, UpstreamError
from harnesses.protocols.base import ProtocolName, Reply
from harnesses.protocols.registry import CODECS
from harnesses.protocols.sse import event

CHAT = CODECS["chat"]
HELLO = Reply("hello", usage=Usage(1, 9, 0, 1), model="m")
WHOLE = json.dumps(CHAT.write_response(HELLO, "m", "1")).encode()
STREAM = list(CHAT.write_stream(HELLO, "m", "1"))
BODY = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
FAILED = event({"error": {"message": "broken", "code": "c", "type": "t"}})
LONG = {"error": {"message": "prompt is too long"}}


class Upstream:
    """Gives one answer, chunk by chunk; an exception among the chunks breaks it off."""

    protocols: frozenset[ProtocolName] = frozenset({"chat"})
    max_concurrency = 2
    key_env = "K"

    def __init__(self, *chunks: Any, status: int = 200, kind: str = JSON) -> None:
        self.chunks, self.status, self.kind = chunks, status, kind
        self.closed = False
        self.headers = {"x-limit": "9", "server": "s", "x-echo": "the-key"}

    def secrets(self) -> tuple[str, ...]:
        return ("the-key",)

    async def send(self, call: Call) -> Answer:
        if isinstance(self.chunks[0], Exception):
            raise self.chunks[0]
        return Answer(self.status, self.kind, self._given(), headers=self.headers)

    async def _given(self) -> AsyncIterator[bytes]:
        try:
            for chunk in self.chunks:
                if isinstance(chunk, Exception):
                    raise chunk
                yield chunk
        finally:
            self.closed = True

    async def close(self) -> None:
        """Nothing to close."""


class Run:
    """A call that was forwarded: what the client got, and what is kept."""

    def __init__(
        self,
        upstream: Upstream,
        *,
        stream: bool = False,
        alive: Callable[[], bool] = lambda: True,
        sent: Callable[[Any], Awaitable[None]] | None = None,
        session: Session | None = None,
        patience: Patience = Patience(20, 0.0, 0.5, 0.0),  # noqa: B008  # It is frozen.
        raw: bool = False,
    ) -> None:
        self.sent: list[Any] = []
        self.session = session or opened()
        self.service = Service("up", upstream, patience, lambda wait: None)
        self.error: BaseException | None = None
        body = BODY | {"stream": stream}
        route = route_of(self.session, upstream, "chat", body, {})
        if raw:
            self.session.login = ProgramToken("V", "x")
            route = passing(self.session, "chat", body, {}, (b"{}", ""))
        price = lambda usage: Usage(**{**vars(usage), "cost_usd": 5.0})  # noqa: E731
        self.forward = Forward(self.session, route, self.service, price, alive)
        self._also = sent
        try:
            asyncio.run(self._call())
        except (BrokenStreamError, asyncio.CancelledError, OSError) as error:
            self.error = error

    async def _call(self) -> None:
        async def nothing() -> Any:
            await asyncio.sleep(9)

        await self.forward({}, nothing, self._send)

    async def _send(self, message: Any) -> None:
        self.sent.append(message)
        if self._also is not None:
            await self._also(message)

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    @property
    def headers(self) -> dict[str, str]:
        return {name.decode(): value.decode() for name, value in self.sent[0]["headers"]}

    @property
    def body(self) -> bytes:
        return b"".join(message["body"] for message in self.sent[1:])

    @property
    def kept(self) -> Exchange:
        (exchange,) = self.session.exchanges
        return exchange


def opened(**grant: Any) -> Session:
    return Session("t", Grant(ModelSpec("up", "m"), 7, **grant), lambda token: None, Path("s"))


def test_a_reply_passes_and_is_recorded_and_priced() -> None:
    run = Run(Upstream(WHOLE))
    assert (run.status, run.body) == (200, WHOLE)
    assert run.headers == {"x-limit": "9", "content-type": JSON}
    assert [message.get("more_body") for message in run.sent] == [None, True, False]
    assert (run.kept.reply, run.kept.status, run.kept.error) == (HELLO, 200, "")
    assert (run.kept.blame, run.kept.tries, run.kept.protocol) == (None, 1, "chat")
    assert run.session.usage == Usage(1, 9, 0, 1, cost_usd=5.0)
    assert (run.session.active, run.session.failure, run.session.cuts) == (0, "", 0)
    assert run.service.slots.held == 0 and not run.session.service_time._open


def test_a_stream_passes_as_it_comes() -> None:
    run = Run(Upstream(*STREAM, kind=EVENTS), stream=True)
    assert run.body == b"".join(STREAM) and run.headers["content-type"] == EVENTS
    assert run.kept.reply == HELLO and run.session.usage.completion_tokens == 1


def test_the_record_is_there_before_the_client_has_all() -> None:
    seen: list[int] = []
    session = opened()

    async def look(message: Any) -> None:
        seen.append(len(session.exchanges))
        assert session.active == 1

    Run(Upstream(WHOLE), session=session, sent=look)
    assert seen == [0, 0, 1]


def test_words_that_no_client_knows_are_made_readable_unless_all_passes_as_it_is() -> None:
    odd = WHOLE.replace(b'"stop"', b'"done_well"')
    run = Run(Upstream(odd))
    assert run.body == WHOLE and run.kept.reply is not None
    assert run.kept.reply.odd_stop == "done_well"
    assert Run(Upstream(odd), raw=True).body == odd


@pytest.mark.parametrize(
    ("answers", "status", "error", "blame", "refused"),
    [
        (Upstream(json.dumps(LONG).encode(), status=400), 400, "too long", "agent", ""),
        (Upstream(b'{"error": {"message": "no"}}', status=400), 400, "no", "service",
         "model service refused the request: status 400: no"),
        (Upstream(b'{"error": {"message": "max_tokens: 9"}}', status=400), 400, "max_tokens",
         "service", "max_tokens: 9; ask for fewer tokens"),
        (Upstream(json.dumps(LONG).encode()), 400, "too long", "agent", ""),
    ],
)  # fmt: skip
def test_a_refusal_passes_with_its_words(
    answers: Upstream, status: int, error: str, blame: str, refused: str
) -> None:
    run = Run(answers)
    assert run.status == run.kept.status == status and error in run.kept.error
    assert (run.kept.reply, run.kept.blame) == (None, blame)
    assert refused in run.session.refused and bool(run.session.refused) is bool(refused)
    assert run.session.usage == Usage() and run.session.failure == "" and run.session.cuts == 0
    # The time until the program asks again is the service's, if it was its fault.
    assert bool(run.session.service_time._open) is (blame == "service")
    assert run.service._refusals == ({} if not refused else run.service._refusals)


def test_a_service_that_is_given_up_ends_the_rollout() -> None:
    run = Run(Upstream(b"no", status=401))
    assert run.status == 400 and OVER in run.body.decode()
    assert run.headers["content-length"] == str(len(run.body))
    assert "refused the key" in run.session.failure
    assert (run.kept.status, run.kept.blame, run.kept.reply) == (0, "service", None)
    assert run.kept.error == run.session.failure and run.session.usage == Usage()
    session = opened()
    session.failure = "an earlier one"
    assert Run(Upstream(b"no", status=401), session=session).session.failure == "an earlier one"
    assert run.service.slots.held == 0


@pytest.mark.parametrize(
    ("end", "words"),
    [
        ([UpstreamError("it broke")], "it broke"),
        ([], "stream: ended without finish_reason"),
        ([FAILED], "stream: error: broken"),
    ],
)
def test_a_stream_that_breaks_is_the_services_fault(end: list[Any], words: str) -> None:
    session = opened()
    for number in range(1, CUT_STREAMS + 1):
        run = Run(Upstream(*STREAM[:2], *end, kind=EVENTS), stream=True, session=session)
        exchange = session.exchanges[-1]
        assert words in exchange.error and exchange.reply is None
        assert (exchange.blame, exchange.status) == ("service", 200)
        assert session.cuts == number
        assert isinstance(run.error, BrokenStreamError) is bool(
            end and isinstance(end[0], Exception)
        )
        assert bool(session.failure) is (number == CUT_STREAMS)
    assert session.failure.startswith("model service cut 3 streams, last: ")
    assert words in session.failure and session.refused == ""
    session.failure = "another"
    Run(Upstream(*STREAM[:2], *end, kind=EVENTS), stream=True, session=session)
    assert session.failure == "another"


def test_a_limit_in_a_stream_that_has_begun_is_who_is_to_blame() -> None:
    said = event({"error": {"message": "prompt is too long"}})
    run = Run(Upstream(*STREAM[:2], said, kind=EVENTS), stream=True)
    assert run.kept.blame == "agent" and run.session.cuts == 0


def test_a_rollout_that_has_ended_gets_no_byte() -> None:
    left = [True, False]
    upstream = Upstream(*STREAM, kind=EVENTS)
    run = Run(upstream, stream=True, alive=lambda: left.pop(0) if left else False)
    assert isinstance(run.error, BrokenStreamError) and run.kept.error == "the rollout has ended"
    assert run.body == STREAM[0] and upstream.closed


def test_a_client_that_goes_away_is_nobodys_fault() -> None:
    async def leave(message: Any) -> None:
        if message.get("more_body"):
            raise asyncio.CancelledError

    upstream = Upstream(*STREAM[:3], *[b": ping\n\n"] * 9, kind=EVENTS)
    run = Run(upstream, stream=True, sent=leave)
    assert isinstance(run.error, asyncio.CancelledError) and upstream.closed
    assert (run.kept.error, run.kept.blame, run.kept.reply) == (GONE, None, None)
    usage = run.session.usage
    assert usage.estimated and usage.prompt_tokens > 10 and usage.cost_usd == 5.0
    assert run.session.cuts == 0 and not run.session.service_time._open
    assert run.service.slots.held == 0 and run.session.active == 0


@pytest.mark.parametrize("events", [1, 2, 3])
def test_what_had_come_before_a_client_left_is_paid_for(events: int) -> None:
    passed: list[bytes] = []

    async def leave(message: Any) -> None:
        passed.extend([message["body"]] if message.get("more_body") else [])
        if len(passed) == events:
            raise asyncio.CancelledError

    run = Run(Upstream(STREAM[0], *[STREAM[1]] * 9, kind=EVENTS), stream=True, sent=leave)
    usage = run.session.usage
    assert (usage.requests, usage.completion_tokens, usage.estimated) == (1, events, True)
    assert usage.prompt_tokens == len(json.dumps(BODY | {"stream": True})) // 4


def test_one_that_leaves_with_the_last_byte_has_its_reply() -> None:
    async def leave(message: Any) -> None:
        if message.get("more_body") is False or b"[DONE]" in message.get("body", b""):
            raise asyncio.CancelledError

    run = Run(Upstream(*STREAM, kind=EVENTS), stream=True, sent=leave)
    assert run.kept.reply == HELLO and run.kept.error == ""
    assert run.session.usage == Usage(1, 9, 0, 1, cost_usd=5.0)


def test_counts_that_a_service_leaves_out_are_estimated() -> None:
    body = json.loads(WHOLE)
    del body["usage"]
    run = Run(Upstream(json.dumps(body).encode()))
    assert run.session.usage.estimated and run.session.usage.prompt_tokens > 10
    assert run.session.usage.cost_usd == 5.0


def test_one_who_leaves_while_the_service_is_asked_may_have_cost_something() -> None:
    class Slow(Upstream):
        async def send(self, call: Call) -> Answer:
            raise asyncio.CancelledError

    run = Run(Slow(b""))
    assert (run.kept.error, run.kept.status, run.kept.blame) == (GONE, 0, None)
    assert run.session.usage.estimated and run.session.usage.requests == 1
    assert run.session.active == 0 and run.service.slots.held == 0


def test_one_who_leaves_before_has_cost_nothing() -> None:
    run = Run(Upstream(WHOLE), sent=None)
    other = Forward(run.session, run.forward._route, run.service, lambda usage: usage, lambda: True)
    other._record(None, 0, GONE, None)
    assert run.session.usage.requests == 1 and len(run.session.exchanges) == 2
    other._record(None, 0, GONE, None)
    assert len(run.session.exchanges) == 2, "once"


@pytest.mark.parametrize(
    ("grant", "patience", "first"),
    [(0.2, 9.0, 0.2), (9.0, 0.3, 0.3), (None, 0.3, 0.3)],
)
def test_the_first_byte_is_the_agents_for_the_shorter_time(
    grant: float | None, patience: float, first: float
) -> None:
    given = {} if grant is None else {"first_byte_s": grant}
    run = Run(Upstream(WHOLE), session=opened(**given), patience=Patience(9, 0.0, patience, 0.0))
    assert run.forward._tries.first_byte_s == first
    thinking = Run(Upstream(WHOLE), session=opened(silence_s=7.0, **given))
    assert thinking.forward._tries.first_byte_s == thinking.forward._tries.thinking_s == 7.0


def test_a_client_that_does_not_read_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[bool] = []
    runs: list[Forward] = []

    async def slow(message: Any) -> None:
        if message.get("more_body"):
            monkeypatch.setattr(forward, "UNREAD_S", 50.0)
            found.append(runs_of().unread)
            monkeypatch.setattr(forward, "UNREAD_S", -1.0)
            found.append(runs_of().unread)

    def runs_of() -> Forward:
        return runs[0]

    class Kept(Forward):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            runs.append(self)

    monkeypatch.setattr(f"{__name__}.Forward", Kept)
    Run(Upstream(WHOLE), sent=slow)
    assert found == [False, True]
    assert not runs[0].unread, "it has read all"


async def nothing() -> AsyncIterator[bytes]:
    return
    yield b""


def parts(kind: str, status: int = 200, refusal: Refusal | None = None) -> Passing:
    return Passing("chat", Answer(status, kind, nothing()), refusal)


def test_what_passes_is_parsed_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(forward, "now", lambda: clock[0])
    monkeypatch.setattr(forward, "_HELD_BYTES", 500)
    found = parts(EVENTS)
    assert found.feed(b": ping\n\n") is False and found.events == 0
    assert found.feed(STREAM[0]) is False, "not parsed yet"
    clock[0] += forward.PARSE_S
    assert found.feed(STREAM[1]) is True and found.events == 2
    assert found.feed(b": ping\n\n") is True, "as likely as the one before"
    clock[0] += forward.PARSE_S
    assert found.feed(b": ping\n\n") is False
    assert found.feed(STREAM[1] + b":" * (500 - len(STREAM[1]))) is False
    assert found.feed(b"\n") is True and found.events == 3, "too much is held"
    clock[0] += forward.PARSE_S
    found.feed(FAILED)
    assert found.error and found.feed(STREAM[1]) is False
    assert found.refusal == Refusal(0, found.error, "c t")


@pytest.mark.parametrize(
    ("raw", "status", "error"),
    [
        (b"{", 200, "Expecting"), (b'{"choices": 7}', 200, "expected a list"),
        (b"no words", 400, "no words"), (b"x" * 3000, 400, "x" * 2000), (WHOLE, 200, ""),
        (WHOLE, 400, WHOLE.decode()),
    ],
)  # fmt: skip
def test_a_whole_answer_is_judged_at_its_end(raw: bytes, status: int, error: str) -> None:
    found = parts(JSON, status)
    assert found.feed(raw[:2]) and found.feed(raw[2:]) and found.events == 0
    found.ended()
    assert error in found.error and bool(found.error) is bool(error)
    assert len(found.error) <= 2000
    assert (found.reply is None) is bool(error)


def test_what_broke_keeps_why() -> None:
    found = parts(JSON)
    found.feed(WHOLE)
    found.broke("it broke")
    found.ended()
    assert found.error == "it broke" and found.reply is None
    known = Refusal(400, "no")
    found = parts(EVENTS, refusal=known)
    found.feed(FAILED)
    found.ended()
    assert found.refusal is known and "broken" in found.error
    gone = parts(JSON)
    gone.feed(WHOLE[:9])
    gone.left()
    assert gone.error == GONE

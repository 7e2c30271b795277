"""The gateway as clients meet it: real HTTP over its socket, and a real HTTP service behind it."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from harnesses.base import Budget, ModelSpec, Usage
from harnesses.gateway.addresses import protocols_of
from harnesses.gateway.exchange import GONE
from harnesses.gateway.gateway import Gateway, GatewayError
from harnesses.gateway.patience import Patience
from harnesses.gateway.session import Grant, Session
from harnesses.gateway.upstreams import Answer, Call, HttpUpstream
from harnesses.gateway.wire import read_wire
from harnesses.protocols.base import ProtocolName, Reply, ToolCall
from harnesses.protocols.chat import ChatCodec
from harnesses.protocols.registry import CODECS
from tests.helpers.patience import QUICK
from tests.helpers.scripted_model import ScriptedAgentModel
from tests.helpers.services import KEY, ask, client, serve


class Service:
    """An OpenAI-compatible server with a script: one entry per request, the last one repeats."""

    def __init__(self, *script: str) -> None:
        self.script = list(script)
        self.seen: list[dict[str, Any]] = []
        self.left = threading.Event()
        """Set when an endless stream is no longer read."""

    async def answer(self, request: Request) -> Response:
        self.seen.append({"headers": dict(request.headers), "body": await request.json()})
        act = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        codec = ChatCodec()
        reply = Reply("hello", usage=Usage(1, 100, 40, 7), model="m")
        if act.isdigit():
            headers = {"retry-after": "0"} if act == "429" else {}
            return JSONResponse({"error": {"message": "no"}}, int(act), headers)
        if act == "stream":
            return StreamingResponse(
                iter(list(codec.write_stream(reply, "m", "1"))), media_type="text/event-stream"
            )
        if act == "endless":
            return StreamingResponse(self._endless(), media_type="text/event-stream")
        if act == "endless 400":
            return StreamingResponse(self._endless(1000), 400, media_type="application/json")
        if act == "cut":
            return StreamingResponse(self._cut(), media_type="text/event-stream")
        return JSONResponse(codec.write_response(reply, "m", "1"))

    async def _endless(self, times: int = 1) -> AsyncIterator[bytes]:
        try:
            while True:
                yield _BEGUN * times
                await asyncio.sleep(0.01)
        finally:
            self.left.set()

    async def _cut(self) -> AsyncIterator[bytes]:
        yield _BEGUN
        raise RuntimeError("cut")


_BEGUN = b"".join(islice(ChatCodec().write_stream(Reply("hello"), "m", "1"), 2))
"""A stream as far as its first text."""


@contextmanager
def gateway(url: str, socket: Path, patience: Patience = QUICK) -> Iterator[Gateway]:
    upstream = HttpUpstream("openai-compatible", url, "TEST_KEY", protocols_of("openai-compatible"))
    price = lambda model, usage: usage.prompt_tokens / 1000  # noqa: E731
    with Gateway({"up": upstream}, socket, price, patience) as running:
        yield running


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_KEY", KEY)


@pytest.fixture
def socket(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("g") / "s"


def grant(record: Path | None = None, **options: Any) -> Grant:
    return Grant(ModelSpec("up", "m"), seed=1, record=record, **options)


@pytest.mark.parametrize("script", ["json", "stream"])
def test_an_exchange_is_passed_on_recorded_and_priced(
    script: str, socket: Path, tmp_path: Path
) -> None:
    service = Service(script)
    with (
        serve(service.answer) as url,
        gateway(url, socket) as running,
        running.open(grant(tmp_path)) as session,
    ):
        answer = ask(session, stream=script == "stream")
    assert answer.status_code == 200 and "hello" in answer.text
    assert session.exchanges[0].reply is not None
    assert session.exchanges[0].reply.text == "hello"
    assert session.usage == Usage(1, 100, 40, 7, 0.1)
    lines = (tmp_path / "wire.jsonl").read_text().splitlines()
    assert read_wire(tmp_path / "wire.jsonl")[0].request["messages"][0]["content"] == "hi"
    # The service sees the real key, the record and the client never do.
    assert service.seen[0]["headers"]["authorization"] == f"Bearer {KEY}"
    assert KEY not in lines[0] and session.token not in lines[0]


def test_a_token_is_refused_after_its_session_and_never_reaches_the_service(socket: Path) -> None:
    service = Service("json")
    with serve(service.answer) as url, gateway(url, socket) as running:
        with running.open(grant()) as session:
            assert ask(session).status_code == 200
        answer = ask(session)
        assert answer.status_code == 401
        assert "does not belong to a running rollout" in answer.json()["error"]["message"]
        with client(running, "so-guess") as http:
            assert http.get("/v1/models").status_code == 401
    assert len(service.seen) == 1


def test_another_model_is_refused(socket: Path) -> None:
    service = Service("json")
    with (
        serve(service.answer) as url,
        gateway(url, socket) as running,
        running.open(grant()) as session,
    ):
        answer = ask(session, model="gpt-expensive")
        assert answer.status_code == 403
        assert "gpt-expensive" in answer.text
    assert service.seen == []


def test_a_service_that_loses_its_model_is_not_the_agents_fault(socket: Path) -> None:
    with (
        serve(Service("json", "404").answer) as url,
        gateway(url, socket) as running,
        running.open(grant()) as session,
    ):
        assert [ask(session).status_code for _ in range(2)] == [200, 400]
        assert "check the model's name" in session.failure


def test_the_budget_of_requests_ends_the_session(socket: Path) -> None:
    with (
        serve(Service("json").answer) as url,
        gateway(url, socket) as running,
        running.open(grant(budget=Budget(requests=2))) as session,
    ):
        assert [ask(session).status_code for _ in range(3)] == [200, 200, 403]
        assert "2 model requests" in session.exhausted


@pytest.mark.parametrize("trouble", ["500", "503", "429", "529"])
def test_passing_trouble_is_retried_out_of_the_agents_sight(trouble: str, socket: Path) -> None:
    service = Service(trouble, trouble, "json")
    with (
        serve(service.answer) as url,
        gateway(url, socket, Patience(pause_s=0.01)) as running,
        running.open(grant()) as session,
    ):
        assert ask(session).status_code == 200
        assert session.failure == "" and len(session.exchanges) == 1
    assert len(service.seen) == 3


def test_a_service_that_stays_down_fails_the_session_and_stops_the_agent(socket: Path) -> None:
    service = Service("500")
    with (
        serve(service.answer) as url,
        gateway(url, socket) as running,
        running.open(grant()) as session,
    ):
        assert ask(session).status_code == 400  # not retried by the CLIs
        tries = len(service.seen)
        assert f"status 500: no (after {tries} tries)" in session.failure and tries > 2
        assert ask(session).status_code == 400
    assert len(service.seen) == tries, "a session that was given up asks no more"


def test_a_service_that_is_not_there_fails_the_session(socket: Path) -> None:
    with gateway("http://127.0.0.1:9", socket) as running, running.open(grant()) as session:
        assert ask(session).status_code == 400
        assert "ConnectError" in session.failure


def test_a_missing_key_is_named(socket: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TEST_KEY")
    with (
        serve(Service("json").answer) as url,
        gateway(url, socket) as running,
        running.open(grant()) as session,
    ):
        # The agent, who may be the one to ask, is told no more than that it need not go on.
        answer = ask(session)
        assert (answer.status_code, "TEST_KEY" in answer.text) == (400, False)
        assert "TEST_KEY is not set" in session.failure
        assert session.exchanges[0].tries == 1, "to ask again is no use"


def test_streams_that_break_again_and_again_fail_the_session(socket: Path) -> None:
    with (
        serve(Service("cut").answer) as url,
        gateway(url, socket) as running,
        running.open(grant()) as session,
    ):
        for _ in range(3):
            with pytest.raises(httpx2.HTTPError):
                ask(session, stream=True)
        assert "cut 3 streams" in session.failure
        assert all(exchange.reply is None for exchange in session.exchanges)
        assert ask(session, stream=True).status_code == 400


def test_a_call_in_another_protocol_is_translated_and_recorded_as_the_client_made_it(
    socket: Path, tmp_path: Path
) -> None:
    service = Service("json")
    with (
        serve(service.answer) as url,
        gateway(url, socket) as running,
        running.open(grant(tmp_path)) as session,
        client(running, session.token) as http,
    ):
        body = {"model": "m", "max_tokens": 9, "metadata": {"user_id": "u"},
                "messages": [{"role": "user", "content": "hi"}]}  # fmt: skip
        answer = http.post("/v1/messages", json=body)
        broken = http.post("/v1/messages", json={**body, "messages": [{"role": "judge"}]})
    assert answer.status_code == 200
    assert answer.json()["content"] == [{"type": "text", "text": "hello"}]
    sent = service.seen[0]["body"]
    assert sent["messages"] == [{"role": "user", "content": "hi"}] and "metadata" not in sent
    assert session.usage == Usage(1, 100, 40, 7, 0.1)
    (exchange,) = read_wire(tmp_path / "wire.jsonl")
    assert (exchange.protocol, exchange.spoken) == ("messages", "chat")
    assert exchange.request == body and exchange.left_out == ("metadata",)
    assert exchange.reply is not None and exchange.reply.text == "hello"
    # What cannot be read is refused before it reaches the service, in the client's own words.
    assert broken.status_code == 400 and broken.json()["type"] == "error"
    assert "'judge' is not user" in broken.json()["error"]["message"]
    assert len(service.seen) == 1


@pytest.mark.parametrize("trouble", ["413", "cut"])
def test_trouble_behind_a_translation_is_told_in_the_clients_protocol(
    trouble: str, socket: Path
) -> None:
    with (
        serve(Service(trouble).answer) as url,
        gateway(url, socket) as running,
        running.open(grant()) as session,
        client(running, session.token) as http,
    ):
        body = {"model": "m", "input": "hi", "stream": True}
        if trouble == "413":
            answer = http.post("/v1/responses", json=body)
            assert answer.status_code == 413 and answer.json()["error"]["message"] == "no"
        else:
            for _ in range(3):
                with pytest.raises(httpx2.HTTPError):
                    http.post("/v1/responses", json=body)
            assert "cut 3 streams" in session.failure
    assert all(exchange.reply is None for exchange in session.exchanges)


@pytest.mark.slow
@pytest.mark.parametrize("spoken", ["chat", "responses", "messages"])
def test_the_official_sdks_stream_from_a_service_of_any_protocol(
    spoken: ProtocolName, socket: Path
) -> None:
    import anthropic
    import openai

    call = ToolCall("c1", "run", {"cmd": "ls"})
    model = ScriptedAgentModel(
        [lambda _: Reply("I look.", (call,), Usage(1, 50, 20, 5), "tool_calls")]
    )
    model.protocols = frozenset({spoken})
    with (
        Gateway({"up": model}, socket, lambda *_: 0.0) as running,
        running.open(grant()) as session,
        client(running, session.token) as http,
    ):
        given = {"api_key": session.token, "http_client": http, "max_retries": 0}
        tool = {"name": "run", "description": "d", "input_schema": {"type": "object"}}
        messages = anthropic.Anthropic(base_url="http://gateway", **given)
        with messages.messages.stream(
            model="m", max_tokens=99, messages=[{"role": "user", "content": "q"}], tools=[tool]
        ) as stream:  # type: ignore[list-item]
            said = stream.get_final_message()
        assert [block.type for block in said.content] == ["text", "tool_use"]
        assert said.content[1].input == {"cmd": "ls"} and said.stop_reason == "tool_use"
        assert (said.usage.input_tokens, said.usage.cache_read_input_tokens) == (30, 20)
        other = openai.OpenAI(base_url="http://gateway/v1", **given)
        with other.responses.stream(model="m", input="q") as events:
            done = next(e for e in events if e.type == "response.completed").response
        assert done.output_text == "I look." and done.output[1].name == "run"
        assert done.usage is not None and done.usage.total_tokens == 55
        asked = {"model": "m", "messages": [{"role": "user", "content": "q"}]}
        with other.chat.completions.stream(**asked) as deltas:
            choice = deltas.get_final_completion().choices[0]
        assert choice.message.content == "I look." and choice.finish_reason == "tool_calls"
    calls = [
        call for exchange in session.exchanges if exchange.reply for call in exchange.reply.calls
    ]
    assert [(c.name, c.arguments) for c in calls] == [(call.name, call.arguments)] * 3
    assert calls[0].id == call.id


def until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not done() and time.monotonic() < deadline:
        time.sleep(0.01)


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
def test_a_client_that_goes_away_ends_the_call_and_is_not_the_services_fault(
    path: str, socket: Path
) -> None:
    service = Service("endless")
    body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
    with (
        serve(service.answer) as url,
        gateway(url, socket) as running,
        running.open(grant()) as session,
    ):
        for _ in range(4):
            service.left.clear()
            with (
                client(running, session.token) as http,
                http.stream("POST", path, json=body) as answer,
            ):
                chunks = answer.iter_bytes()
                next(chunks)
                assert not service.left.is_set()
            assert service.left.wait(5)
        until(lambda: len(session.exchanges) == 4)
        assert session.failure == "" and session.cuts == 0
        assert [e.error for e in session.exchanges] == [GONE] * 4
        # Breaking off is no way around the budget: what the service did not tell is estimated.
        assert session.usage.requests == 4
        assert session.usage.prompt_tokens >= 40 and session.usage.completion_tokens >= 4
        assert session.usage.cost_usd


def test_a_client_that_goes_away_with_the_last_event_has_its_reply(socket: Path) -> None:
    body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
    with (
        serve(Service("stream").answer) as url,
        gateway(url, socket) as running,
        running.open(grant()) as session,
        client(running, session.token) as http,
    ):
        with http.stream("POST", "/v1/chat/completions", json=body) as answer:
            seen = b""
            for chunk in answer.iter_bytes():
                seen += chunk
                if b"[DONE]" in seen:
                    break
        until(lambda: bool(session.exchanges))
    assert session.exchanges[0].reply is not None and session.exchanges[0].error == ""


@pytest.mark.parametrize("body", [b"", b"nonsense", b"[]", b'{"model": 3}', b"{}"])
def test_malformed_requests_are_refused(body: bytes, socket: Path) -> None:
    service = Service("json")
    with (
        serve(service.answer) as url,
        gateway(url, socket) as running,
        running.open(grant()) as session,
        client(running, session.token) as http,
    ):
        assert http.post("/v1/chat/completions", content=body).status_code in (400, 403)
    assert service.seen == []


def test_an_unknown_upstream_is_named_with_the_known_ones(socket: Path) -> None:
    named = pytest.raises(GatewayError, match="no upstream named 'x'; there are: up")
    with gateway("http://127.0.0.1:9", socket) as running, named:
        running.open(Grant(ModelSpec("x", "m"), seed=1))


def test_anthropic_gets_its_own_kind_of_key_and_version(socket: Path) -> None:
    seen: list[dict[str, str]] = []

    async def answer(request: Request) -> Response:
        seen.append(dict(request.headers))
        return JSONResponse(CODECS["messages"].write_response(Reply("hi"), "m", "1"))

    upstream = HttpUpstream("anthropic", "", "TEST_KEY", protocols_of("anthropic"))
    with (
        serve(answer, "/v1/messages") as upstream.base_url,
        Gateway({"up": upstream}, socket, lambda *_: None) as running,
        running.open(grant()) as session,
        client(running, session.token) as http,
    ):
        body = {"model": "m", "max_tokens": 9, "messages": []}
        assert http.post("/v1/messages?beta=true", json=body).status_code == 200
        headers = {"anthropic-beta": "b1", "x-secret-of-the-agent": "s"}
        http.post("/v1/messages", json=body, headers=headers)
    assert {h["x-api-key"] for h in seen} == {KEY} and "authorization" not in seen[0]
    assert {h["anthropic-version"] for h in seen} == {"2023-06-01"}
    assert seen[1]["anthropic-beta"] == "b1" and "x-secret-of-the-agent" not in seen[1]
    assert session.usage.cost_usd is None  # unknown, not free


def test_tokens_are_counted_and_models_listed_without_the_service(socket: Path) -> None:
    service = Service("json")
    with (
        serve(service.answer) as url,
        gateway(url, socket) as running,
        running.open(grant()) as session,
        client(running, session.token) as http,
    ):
        counted = http.post("/v1/messages/count_tokens", json={"messages": ["x" * 400]}).json()
        assert 95 < counted["input_tokens"] < 120
        assert [m["id"] for m in http.get("/v1/models").json()["data"]] == ["m"]
    assert service.seen == []


@pytest.mark.parametrize(
    ("headers", "thread"),
    [
        ({}, None),
        ({"x-claude-code-agent-id": "a1"}, "a1"),
        ({"x-session-id": "ses_1"}, ""),
        ({"x-session-id": "ses_2", "x-parent-session-id": "ses_1"}, "ses_2"),
    ],
)
def test_the_conversation_that_a_client_names_is_recorded(
    headers: dict[str, str], thread: str | None, socket: Path, tmp_path: Path
) -> None:
    with (
        serve(Service("json").answer) as url,
        gateway(url, socket) as running,
        running.open(grant(record=tmp_path)) as session,
    ):
        ask(session, headers=headers)
        (exchange,) = session.exchanges
    (read,) = read_wire(tmp_path / "wire.jsonl")
    assert exchange.thread == read.thread == thread


@dataclass
class Upstream:
    send: Callable[[Call], Awaitable[Answer]]
    max_concurrency: int
    protocols: frozenset[ProtocolName] = frozenset({"chat"})

    async def close(self) -> None:
        """There is nothing to close."""


def _gateway_of(answer: Callable[[Call], Awaitable[Answer]], socket: Path, places: int) -> Gateway:
    upstream = Upstream(answer, places)
    return Gateway({"up": upstream}, socket, lambda *_: 0.0, Patience(pause_s=0.3))


@pytest.mark.slow
def test_a_call_that_waits_for_its_next_try_keeps_no_place_from_others(socket: Path) -> None:
    failed: set[str] = set()

    async def answer(call: Call) -> Answer:
        text = call.body["messages"][0]["content"]
        if text == "limited" and text not in failed:
            failed.add(text)
            return Answer(429, "application/json", _once(b"{}"), retry_after_s=1.5)
        body = ChatCodec().write_response(Reply("ok"), "m", "1")
        return Answer(200, "application/json", _once(json.dumps(body).encode()))

    with _gateway_of(answer, socket, 1) as running:
        first, second = running.open(grant()), running.open(grant())
        with ThreadPoolExecutor() as pool:
            limited = pool.submit(_say, first, "limited")
            until(lambda: bool(failed))
            assert _say(second, "hello").status_code == 200
            assert not limited.done()
            assert limited.result().status_code == 200
    assert first.service_time.seconds > 1.4 and second.service_time.seconds < 0.5


def test_a_session_cannot_take_all_places(socket: Path) -> None:
    let_go = threading.Event()

    async def answer(call: Call) -> Answer:
        if call.body["messages"][0]["content"] == "long":
            while not let_go.is_set():
                await asyncio.sleep(0.01)
        body = ChatCodec().write_response(Reply("ok"), "m", "1")
        return Answer(200, "application/json", _once(json.dumps(body).encode()))

    with _gateway_of(answer, socket, 4) as running:
        greedy, modest = running.open(grant()), running.open(grant())
        with ThreadPoolExecutor() as pool:
            long = [pool.submit(_say, greedy, "long") for _ in range(4)]
            until(lambda: greedy.active == 4)
            assert _say(modest, "hello").status_code == 200
            let_go.set()
            assert [one.result().status_code for one in long] == [200] * 4


def _say(session: Session, text: str) -> httpx2.Response:
    with client(session, session.token) as http:
        body = {"model": "m", "messages": [{"role": "user", "content": text}]}
        return http.post("/v1/chat/completions", json=body)


async def _once(raw: bytes) -> AsyncIterator[bytes]:
    yield raw


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
def test_the_targets_sampling_wins_over_what_the_agent_asks(path: str, socket: Path) -> None:
    service = Service("json")
    asked = {"temperature": 0.9, "top_p": 0.5, "max_tokens": 9, "stream": False}
    model = ModelSpec("up", "m", {"temperature": 0.1, "seed": 7, "stream": True})
    with (
        serve(service.answer) as url,
        gateway(url, socket) as running,
        running.open(Grant(model, seed=1)) as session,
        client(running, session.token) as http,
    ):
        body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], **asked}
        assert http.post(path, json=body).status_code == 200
    sent = service.seen[0]["body"]
    assert (sent["temperature"], sent["seed"], sent["top_p"]) == (0.1, 7, 0.5)
    assert not sent.get("stream"), "whether a reply is a stream is the client's to say"
    # What is recorded is what the service was asked.
    assert sent.get("max_tokens", sent.get("max_completion_tokens")) == 9


@pytest.mark.parametrize(
    ("budget", "answers", "exhausted"),
    [
        # Each reply has 107 tokens; what is used up is looked at before a request is passed on.
        (Budget(tokens=107), [200, 403, 403], "budget of 107 tokens is used up"),
        (Budget(tokens=108), [200, 200, 403], "budget of 108 tokens is used up"),
        (Budget(requests=1, tokens=107), [200, 403, 403], "budget of 1 model requests is used up"),
    ],
)
def test_a_budget_binds_at_its_number_and_not_before(
    budget: Budget, answers: list[int], exhausted: str, socket: Path
) -> None:
    service = Service("json")
    with (
        serve(service.answer) as url,
        gateway(url, socket) as running,
        running.open(grant(budget=budget)) as session,
    ):
        assert [ask(session).status_code for _ in range(3)] == answers
        assert session.exhausted == exhausted
    assert len(service.seen) == answers.count(200)


def test_a_refusal_without_end_is_not_read_to_its_end(socket: Path) -> None:
    service = Service("endless 400")
    with (
        serve(service.answer) as url,
        gateway(url, socket) as running,
        running.open(grant()) as session,
    ):
        assert ask(session).status_code == 400
        assert service.left.wait(3)


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses"])
def test_no_byte_of_a_reply_passes_after_its_session(path: str, socket: Path) -> None:
    """The agent was stopped, or is said to be: what it holds open ends, and nobody pays for more of
    it."""
    service = Service("endless")
    said = [{"role": "user", "content": "hi"}]
    body = {"model": "m", "stream": True, "messages": said, "input": said}
    with serve(service.answer) as url, gateway(url, socket) as running:
        session = running.open(grant())
        with (
            client(running, session.token) as http,
            http.stream("POST", path, json=body) as answer,
        ):
            chunks = answer.iter_bytes()
            next(chunks)
            session.revoke(session.token)
            with pytest.raises(httpx2.RemoteProtocolError):
                for _ in islice(chunks, 100_000):
                    pass
        assert service.left.wait(3)
        until(lambda: session.exchanges)
        assert session.exchanges[0].error == "the rollout has ended"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"authorization": "Bearer TOKEN"}, 200),
        ({"authorization": "Bearer  TOKEN"}, 200),
        ({"x-api-key": "TOKEN"}, 200),
        # A key that is no token is not made good by a bearer that is one: it is what counts.
        ({"x-api-key": "other", "authorization": "Bearer TOKEN"}, 401),
        ({"x-api-key": "TOKEN", "authorization": "Bearer other"}, 200),
        ({"authorization": "Bearer other"}, 401),
        ({"authorization": "Bearer"}, 401),
        ({}, 401),
    ],
)
def test_who_has_a_token(headers: dict[str, str], status: int, socket: Path) -> None:
    with gateway("http://127.0.0.1:9", socket) as running, running.open(grant()) as session:
        own = {name: value.replace("TOKEN", session.token) for name, value in headers.items()}
        transport = httpx2.HTTPTransport(uds=str(running.socket))
        with httpx2.Client(transport=transport, base_url="http://gateway", headers=own) as http:
            assert http.get("/v1/models").status_code == status
            assert http.post("/v1/messages/count_tokens", json={}).status_code == status

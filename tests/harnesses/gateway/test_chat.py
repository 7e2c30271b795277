"""The SDKs' calls through a session, with a gateway of a test behind their connection."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import httpx2
import pytest

from harnesses.base import ModelSpec, Usage
from harnesses.gateway.chat import ChatClient, ChatError
from harnesses.gateway.exchange import Exchange
from harnesses.gateway.session import Grant, Session
from harnesses.protocols.base import Conversation, Message, ProtocolName, Reply
from harnesses.protocols.registry import CODECS

Handler = Callable[[httpx2.Request], httpx2.Response]
SHOWN = Conversation("m", (Message("user", "hi"),))
HELLO = Reply("hello", usage=Usage(1, 9, 0, 1), model="m")
ASKED: dict[ProtocolName, str] = {"chat": "/v1/chat/completions", "messages": "/v1/messages"}


class AnthropicError(Exception):
    pass


class Anthropic:
    """As much of Anthropic's SDK as is used, which takes a second to import."""

    def __init__(self, *, api_key: str, base_url: str, http_client: httpx2.Client,
                 max_retries: int, default_headers: dict[str, str]) -> None:  # fmt: skip
        assert max_retries == 0
        self._http, self._url = http_client, f"{base_url}/v1/messages"
        self._headers = {"x-api-key": api_key, **default_headers}
        self.messages = SimpleNamespace(with_raw_response=self)

    def create(self, *, model: str, messages: Any, max_tokens: int, extra_body: Any) -> Any:
        body = {"model": model, "messages": messages, "max_tokens": max_tokens, **extra_body}
        answer = self._http.post(self._url, json=body, headers=self._headers)
        if answer.status_code != 200:
            raise AnthropicError("BadRequestError")
        return SimpleNamespace(http_response=answer)


@pytest.fixture(autouse=True)
def anthropic(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("anthropic")
    vars(module).update(Anthropic=Anthropic, AnthropicError=AnthropicError)
    monkeypatch.setitem(sys.modules, "anthropic", module)


def session(*protocols: ProtocolName) -> Session:
    grant = Grant(ModelSpec("up", "m"), 1)
    return Session("the-token", grant, lambda token: None, Path("s"), frozenset(protocols))


@contextmanager
def chat(
    opened: Session, answer: Handler, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[ChatClient, list[httpx2.Request]]]:
    seen: list[httpx2.Request] = []

    def handle(request: httpx2.Request) -> httpx2.Response:
        seen.append(request)
        return answer(request)

    options: list[Any] = []

    def transport(**given: Any) -> httpx2.MockTransport:
        options.append(given)
        return httpx2.MockTransport(handle)

    monkeypatch.setattr(httpx2, "HTTPTransport", transport)
    with ChatClient(opened) as client:
        assert options == [{"uds": "s", "verify": False}] and client._http.timeout.read is None
        yield client, seen
    assert client._http.is_closed


def whole(protocol: ProtocolName, reply: Reply = HELLO, kind: str = "application/json") -> Handler:
    raw = json.dumps(CODECS[protocol].write_response(reply, "m", "1")).encode()
    return lambda _: httpx2.Response(200, content=raw, headers={"content-type": kind})


def streamed(protocol: ProtocolName) -> Handler:
    raw = b"".join(CODECS[protocol].write_stream(HELLO, "m", "1"))
    kind = "text/event-stream; charset=utf-8"
    return lambda _: httpx2.Response(200, content=raw, headers={"content-type": kind})


@pytest.mark.parametrize(
    ("spoken", "used"),
    [(["chat"], "chat"), (["messages"], "messages"), (["chat", "messages"], "chat"),
     (["responses"], "chat"), (["responses", "messages"], "messages")],
)  # fmt: skip
@pytest.mark.parametrize("made", [whole, streamed])
def test_a_service_is_asked_in_a_protocol_that_it_speaks(
    spoken: list[ProtocolName],
    used: ProtocolName,
    made: Callable[[ProtocolName], Handler],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with chat(session(*spoken), made(used), monkeypatch) as (client, seen):
        schema = {"type": "object", "properties": {}}
        assert client.say(SHOWN) == HELLO
        assert client.say(SHOWN, schema) == HELLO
    assert [request.url.path for request in seen] == [ASKED[used]] * 2
    body = json.loads(seen[0].content)
    assert body == CODECS[used].write_request(SHOWN)
    assert CODECS[used].read_request(json.loads(seen[1].content)).schema == schema
    heard = seen[0].headers
    if used == "messages":
        assert (heard["x-api-key"], heard["anthropic-version"]) == ("the-token", "2023-06-01")
    else:
        assert heard["authorization"] == "Bearer the-token"


def exchange(reply: Reply | None = None, status: int = 200, blame: Any = "service") -> Exchange:
    return Exchange("chat", {}, reply, status, "e", 1, 2, blame=blame)


@pytest.mark.parametrize("protocol", ["chat", "messages"])
@pytest.mark.parametrize(
    ("failure", "exhausted", "refused", "blame", "words"),
    [
        ("failed", "used up", "refused", "service", "failed"),
        ("", "used up", "refused", "service", "used up"),
        ("", "", "refused", "service", "refused"),
        ("", "", "refused", "agent", "BadRequestError"),
        ("", "", "refused", None, "BadRequestError"),
    ],
)
def test_a_failure_says_what_the_session_knows(
    protocol: ProtocolName, failure: str, exhausted: str, refused: str, blame: Any, words: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    opened = session(protocol)
    opened.failure, opened.exhausted, opened.refused = failure, exhausted, refused
    if blame:
        opened.exchanges += [exchange(blame="agent"), exchange(blame=blame)]
    with (
        chat(opened, lambda _: httpx2.Response(400, json={}), monkeypatch) as (client, seen),
        pytest.raises(ChatError, match=words),
    ):
        client.say(SHOWN)
    assert len(seen) == 1, "the gateway has tried again, and no SDK does"


@pytest.mark.parametrize("protocol", ["chat", "messages"])
def test_what_is_no_reply_is_a_failure(
    protocol: ProtocolName, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd: Handler = lambda _: httpx2.Response(200, content=b"[1]")  # noqa: E731
    with (
        chat(session(protocol), odd, monkeypatch) as (client, _),
        pytest.raises(ChatError, match="ProtocolError: the reply is not an object"),
    ):
        client.say(SHOWN)


@pytest.mark.parametrize(
    ("stream", "last", "change", "asked"),
    [
        (True, exchange(), {}, 2),
        (False, exchange(), {}, 1),
        (True, exchange(status=400), {}, 1),
        (True, exchange(HELLO), {}, 1),
        (True, None, {}, 1),
        (True, exchange(), {"failure": "x"}, 1),
        (True, exchange(), {"exhausted": "x"}, 1),
        (True, exchange(), {"refused": "x"}, 1),
    ],
)
def test_a_stream_that_broke_is_asked_for_again(
    stream: bool, last: Exchange | None, change: dict[str, str], asked: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    opened = session("chat")
    answers: list[Handler] = [lambda _: httpx2.Response(200, content=b"broken"), whole("chat")]

    def answer(request: httpx2.Request) -> httpx2.Response:
        if last:
            opened.exchanges[:] = [exchange(HELLO), last]
        for name, value in change.items():
            setattr(opened, name, value)
        return answers.pop(0)(request)

    shown = Conversation("m", SHOWN.messages, stream=stream)
    with chat(opened, answer, monkeypatch) as (client, seen):
        if asked == 2:
            assert client.say(shown) == HELLO
        else:
            with pytest.raises(ChatError):
                client.say(shown)
    assert len(seen) == asked


def test_a_companion_is_asked_with_the_sessions_token(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = session("chat")
    answers: list[Any] = [
        httpx2.Response(200, json={"total": 1}), httpx2.Response(503, text="no more"),
        httpx2.Response(200, json=[]), httpx2.ConnectError("gone"),
    ]  # fmt: skip

    def answer(_: httpx2.Request) -> httpx2.Response:
        found = answers.pop(0)
        if isinstance(found, Exception):
            raise found
        assert isinstance(found, httpx2.Response)
        return found

    with chat(opened, answer, monkeypatch) as (client, seen):
        assert client.companion({"add": 1}) == {"total": 1}
        assert seen[0].headers["authorization"] == "Bearer the-token"
        assert seen[0].url.path == "/companion" and json.loads(seen[0].content) == {"add": 1}
        for words in ("companion: no more", "is not an object", "ConnectError: gone"):
            with pytest.raises(Exception, match=words):
                client.companion({})

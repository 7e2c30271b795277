"""Model services as they are: local servers that check address and key like each of them does."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from harnesses.base import ModelSpec, Usage
from harnesses.gateway.addresses import address, protocols_of
from harnesses.gateway.chat import ChatClient
from harnesses.gateway.gateway import Gateway
from harnesses.gateway.session import Grant, Session
from harnesses.gateway.upstreams import Call, HttpUpstream
from harnesses.protocols.base import Conversation, GenerationOptions, Message, ProtocolName, Reply
from harnesses.protocols.registry import CODECS
from skillopt.config.upstreams import HttpConfig
from tests.helpers.patience import QUICK
from tests.helpers.services import KEY, ask, client, serve

PATHS: dict[str, ProtocolName] = {
    "/v1/responses": "responses",
    "/v1/chat/completions": "chat",
    "/v1/messages": "messages",
    "/openai/v1/responses": "responses",
    "/openai/v1/chat/completions": "chat",
    "/openai/deployments/my dep/chat/completions": "chat",
    "/openai/responses": "responses",
    "/anthropic/v1/messages": "messages",
}


class Service:
    """Answers calls to known addresses that bring the right key, as the real ones do."""

    def __init__(self, header: str, prefix: str = "", model: str = "m") -> None:
        self.header, self.value, self.model = header, prefix + KEY, model
        self.seen: list[tuple[str, dict[str, Any]]] = []

    async def answer(self, request: Request) -> Response:
        body, path = await request.json(), request.url.path
        address = request.scope["raw_path"].decode()
        query = f"?{request.url.query}" if request.url.query else ""
        self.seen.append((address + query, body))
        if request.headers.get(self.header) != self.value:
            message = f"bad key {request.headers.get(self.header)}"
            return JSONResponse({"error": {"message": message}}, 401)
        if path not in PATHS or body.get("model") != self.model:
            return JSONResponse({"error": {"message": "no such model"}}, 404)
        codec = CODECS[PATHS[path]]
        return JSONResponse(codec.write_response(Reply("hi", usage=Usage(1, 5, 0, 2)), "m", "1"))


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_KEY", KEY)


@contextmanager
def session(
    service: Service, kind: str, folder: Path, base: str = "", model: str = "m", **options: Any
) -> Iterator[Session]:
    upstream = HttpUpstream(kind, "", "TEST_KEY", protocols_of(kind), **options)
    record = folder / "record"
    record.mkdir()
    with (
        serve(service.answer, "/{path:path}") as url,
        Gateway({"up": upstream}, folder / "s", lambda *_: None, QUICK) as gateway,
        gateway.open(Grant(ModelSpec("up", model), 1, record)) as opened,
    ):
        upstream.base_url = url + base
        yield opened


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("u")


@pytest.mark.parametrize(
    ("kind", "header", "prefix", "base", "options", "addresses"),
    [
        ("openai", "authorization", "Bearer ", "", {}, ["/v1/responses", "/v1/chat/completions"]),
        ("openai-compatible", "authorization", "Bearer ", "/", {}, ["/v1/chat/completions"]),
        ("anthropic", "x-api-key", "", "", {}, ["/v1/messages"]),
        ("anthropic", "x-api-key", "", "/anthropic", {}, ["/anthropic/v1/messages"]),
        ("azure-openai", "api-key", "", "", {},
         ["/openai/v1/responses", "/openai/v1/chat/completions"]),
        ("azure-openai", "api-key", "", "", {"api_version": "2025-04-01-preview"},
         ["/openai/responses?api-version=2025-04-01-preview",
          "/openai/deployments/my%20dep/chat/completions?api-version=2025-04-01-preview"]),
    ],
)  # fmt: skip
def test_each_service_is_called_where_and_as_it_wants(
    kind: str, header: str, prefix: str, base: str, options: dict[str, str],
    addresses: list[str], folder: Path,
) -> None:  # fmt: skip
    model = "my dep" if options else "m"
    service = Service(header, prefix, model)
    with (
        session(service, kind, folder, base, model, **options) as opened,
        client(opened, opened.token) as http,
    ):
        body = {"model": model, "input": "hi", "messages": [{"role": "user", "content": "hi"}]}
        # Each protocol's client; those that the service does not speak are translated.
        for path in ("/v1/responses", "/v1/messages", "/v1/chat/completions"):
            assert http.post(path, json=body).status_code == 200, service.seen
    assert sorted({address for address, _ in service.seen}) == sorted(addresses)
    assert all(exchange.reply and exchange.reply.text == "hi" for exchange in opened.exchanges)
    assert KEY not in (folder / "record" / "wire.jsonl").read_text()


def test_openai_gets_the_token_limit_by_its_new_name(folder: Path) -> None:
    service = Service("authorization", "Bearer ")
    with session(service, "openai", folder) as opened, ChatClient(opened) as chat:
        shown = Conversation("m", (Message("user", "hi"),), options=GenerationOptions(max_tokens=7))
        assert chat.say(shown).text == "hi"
    assert (
        service.seen[0][1]["max_completion_tokens"] == 7 and "max_tokens" not in service.seen[0][1]
    )


@pytest.mark.parametrize(("protocol", "requests"), [("chat", 2), ("messages", 1)])
def test_a_refusal_that_no_change_ends_is_not_asked_for_again(
    protocol: ProtocolName, requests: int
) -> None:
    asked: list[Any] = []

    async def answer(request: Request) -> Response:
        asked.append(await request.json())
        said = "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."
        return JSONResponse({"error": {"message": said}}, 400)

    async def sent(url: str) -> int:
        upstream = HttpUpstream("openai-compatible", url, "TEST_KEY", frozenset({protocol}))
        async with asyncio.timeout(10):
            call = Call(protocol, "/v1", {"model": "m", "max_tokens": 7}, {}, 1)
            status = (await upstream.send(call)).status
        await upstream.close()
        return status

    with serve(answer, "/{path:path}") as url:
        assert asyncio.run(sent(url)) == 400
    assert len(asked) == requests


@pytest.mark.parametrize("kind", ["openai", "azure-openai", "anthropic", "openai-compatible"])
def test_a_refused_key_is_named_by_its_variable_and_never_told(kind: str, folder: Path) -> None:
    service = Service("authorization", "never ")
    with session(service, kind, folder) as opened:
        answer = ask(opened)
    assert answer.status_code in (400, 401) and len(service.seen) == 1
    assert "refused the key" in opened.failure and "check the key in TEST_KEY" in opened.failure
    said = answer.text + opened.failure + (folder / "record" / "wire.jsonl").read_text()
    assert KEY not in said


def test_an_unknown_model_is_named(folder: Path) -> None:
    service = Service("authorization", "Bearer ", model="other")
    with session(service, "openai", folder) as opened:
        ask(opened)
    assert "does not know 'm'" in opened.failure and "no such model" in opened.failure
    assert "base_url" in opened.failure and len(service.seen) == 1


@pytest.mark.parametrize("value", ["schlüssel-geheim"])
def test_what_is_no_key_is_not_sent_and_not_told(
    value: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_KEY", value)
    service = Service("authorization", "Bearer ")
    with session(service, "openai", folder) as opened:
        ask(opened)
    assert "TEST_KEY contains characters" in opened.failure and value not in opened.failure
    assert service.seen == []


@pytest.mark.parametrize(
    ("base_url", "why"),
    [
        ("https://me:marker-pass@h.example/v1", "has a password or a key in it.* key_env"),
        ("https://marker-token@h.example", "has a password or a key"),
        ("https://h.example/v1?key=marker", "has a password or a key"),
        ("https://h.example/v1?a=b&subscription-key=marker", "has a password or a key"),
        ("https://h.example?apiKey=marker", "has a password or a key"),
        ("https://h.example?accessToken=marker", "has a password or a key"),
        ("http://[::1", "its host or port"),
        ("http://h.example:port/v1", "its host or port"),
        ("http://h.example:99999", "its host or port"),
        ("https://ü..example", "its host or port"),
        ("ftp://h.example", "must begin with http"),
        ("h.example/v1", "must begin with http"),
        ("http://:8000", "must begin with http"),
        ("", "must begin with http"),
        ("https://h.example\\v1", "a backslash"),
        ("https://h.example/v1#marker", "a '#'"),
        ("https://h.example/\u200b/v1", "has a space"),
    ],
)
def test_what_is_no_address_is_refused_and_not_told(base_url: str, why: str) -> None:
    with pytest.raises(ValueError, match=why) as refused:
        HttpConfig(kind="openai-compatible", base_url=base_url)
    (problem,) = cast("ValidationError", refused.value).errors()
    assert problem["loc"] == ("base_url",) and "marker" not in problem["msg"]


@pytest.mark.parametrize(
    ("base_url", "called"),
    [
        ("HTTPS://H.example/V1", "https://H.example/V1/chat/completions"),
        (" https://h.example/v1/ ", "https://h.example/v1/chat/completions"),
        ("http://[::1]:8000", "http://[::1]:8000/v1/chat/completions"),
        ("https://bücher.example", "https://bücher.example/v1/chat/completions"),
        ("https://h.example/V1/Messages/", "https://h.example/V1/chat/completions"),
        (
            "https://h.example/v1?api-version=preview&a=",
            "https://h.example/v1/chat/completions?api-version=preview&a=",
        ),
    ],
)
def test_an_address_may_be_written_in_other_ways(base_url: str, called: str) -> None:
    config = HttpConfig(kind="openai-compatible", base_url=base_url)
    assert address(config.kind, config.base_url or "", "chat", "m") == called

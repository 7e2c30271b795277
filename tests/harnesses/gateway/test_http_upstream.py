"""What a service is sent and what comes of its answer, without a server."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harnesses.accounts.vault import AccountError, AccountUnreachableError
from harnesses.gateway import upstreams
from harnesses.gateway.fast_streams import watch
from harnesses.gateway.plan_upstreams import (
    CLAUDE_TOKEN,
    ChatGptPlan,
    ClaudePlan,
    PlanError,
    login_of,
    program_token,
    secrets_of,
    token_in,
)
from harnesses.gateway.upstreams import (
    Call,
    HttpUpstream,
    UnusableUpstreamError,
    UpstreamError,
    refused_advice,
    refused_request,
)
from harnesses.protocols.base import ProtocolName

URL = "https://h.example"
TOKEN = "sk-ant-oat01-Marker_0815-and-so-on"
Handler = Callable[[httpx2.Request], httpx2.Response]


class Service:
    """Remembers what it is sent; answers as a function says."""

    def __init__(self, answer: Handler) -> None:
        self.answer, self.seen = answer, list[httpx2.Request]()
        self.timeouts: list[Any] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.seen.append(request)
        self.timeouts.append(request.extensions["timeout"])
        return self.answer(request)

    def sent(self, upstream: HttpUpstream, *calls: Call) -> list[tuple[int, bytes, Any]]:
        async def run() -> list[tuple[int, bytes, Any]]:
            transport = httpx2.MockTransport(self)
            upstream._clients.append(httpx2.AsyncClient(transport=transport))
            found = []
            for call in calls:
                answer = await upstream.send(call)
                raw = b"".join([chunk async for chunk in answer.chunks])
                found.append((answer.status, raw, answer))
            await upstream.close()
            assert upstream._clients == []
            return found

        return asyncio.run(run())


def call(protocol: ProtocolName = "chat", **options: Any) -> Call:
    body = options.pop("body", {"model": "m", "stream": True})
    headers = options.pop("headers", {"x-app": "cli", "authorization": "Bearer theirs"})
    return Call(protocol, f"/v1/{protocol}?beta=1", body, headers, 1, **options)


def upstream(kind: str = "openai-compatible", key: str = "THE_KEY", **options: Any) -> HttpUpstream:
    return HttpUpstream(kind, URL, key, frozenset({"chat"}), **options)


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THE_KEY", " sk-of-the-user\n")


def ok(_: httpx2.Request) -> httpx2.Response:
    return httpx2.Response(200, json={"a": 1}, headers={"X-Limit": "9"})


@pytest.mark.parametrize(
    ("kind", "protocol", "headers", "wanted"),
    [
        ("openai-compatible", "chat", {}, {"authorization": "Bearer sk-of-the-user"}),
        ("anthropic", "messages", {},
         {"x-api-key": "sk-of-the-user", "anthropic-version": "2023-06-01"}),
        ("anthropic", "messages", {"anthropic-version": "2099-01-01"},
         {"x-api-key": "sk-of-the-user", "anthropic-version": "2099-01-01"}),
        ("openai", "chat", {"anthropic-version": "x"}, {"anthropic-version": "x"}),
    ],
)  # fmt: skip
def test_a_service_gets_the_key_and_the_clients_headers(
    kind: str, protocol: ProtocolName, headers: dict[str, str], wanted: dict[str, str]
) -> None:
    service, to = Service(ok), upstream(kind)
    given = {"x-app": "cli", "authorization": "Bearer theirs", **headers}
    ((status, raw, answer),) = service.sent(to, call(protocol, headers=given))
    assert (status, json.loads(raw)) == (200, {"a": 1})
    assert answer.headers["x-limit"] == "9" and answer.content_type == "application/json"
    heard = service.seen[0].headers
    assert wanted.items() <= dict(heard).items() and heard["x-app"] == "cli"
    assert heard["accept-encoding"] == "identity"
    assert ("anthropic-version" in heard) is (protocol == "messages" or bool(headers))
    assert json.loads(service.seen[0].content) == {"model": "m", "stream": True}
    assert to.called == str(service.seen[0].url)


def test_vertex_has_its_version_in_the_body_alone() -> None:
    service = Service(ok)
    to = HttpUpstream("vertex", f"{URL}/v1/projects/p/locations/l", "THE_KEY", frozenset())
    service.sent(to, call("messages", headers={"anthropic-version": "x"}))
    assert "anthropic-version" not in service.seen[0].headers
    assert "anthropic_version" in json.loads(service.seen[0].content)
    assert str(service.seen[0].url).endswith("/models/m:streamRawPredict")


def test_the_address_is_told_without_its_query() -> None:
    to = HttpUpstream("azure-openai", f"{URL}?a=b", "THE_KEY", frozenset(), api_version="9")
    service = Service(ok)
    service.sent(to, call("responses"))
    assert to.called == f"{URL}/openai/responses"
    assert str(service.seen[0].url) == f"{URL}/openai/responses?a=b&api-version=9"
    assert to.secrets() == ("sk-of-the-user",)


@pytest.mark.parametrize(
    ("silence", "read"), [(None, 600.0), (5.0, 600.0), (700.0, 700.0), (0.0, 600.0)]
)
def test_a_service_may_be_silent_for_the_longer_time(silence: float | None, read: float) -> None:
    service = Service(ok)
    service.sent(upstream(), call(silence_s=silence))
    plan = ClaudePlan("anthropic", URL, "", frozenset())
    service.sent(plan, call("messages", silence_s=silence, raw=b"{}", bearer=TOKEN))
    assert [(one["read"], one["connect"]) for one in service.timeouts] == [(read, 10.0)] * 2


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("THE_KEY", None, "environment variable THE_KEY is not set"),
        ("THE_KEY", " \n", "environment variable THE_KEY is not set"),
        ("THE_KEY", "two words", "contains characters that no key has"),
        ("THE_KEY", "é", "contains characters that no key has"),
        ("THE_KEY", "a\tb", "contains characters that no key has"),
        ("THE_KEY", "!", ""),
        ("", None, ""),
    ],
)
def test_a_key_is_one_word(
    variable: str, value: str | None, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("THE_KEY")
    if value:
        monkeypatch.setenv("THE_KEY", value)
    service, to = Service(ok), upstream(key=variable)
    if words:
        with pytest.raises(UnusableUpstreamError, match=words):
            service.sent(to, call())
        assert service.seen == []
    else:
        service.sent(to, call())
        known = {"authorization": "Bearer !"} if value else {}
        assert known.items() <= dict(service.seen[0].headers).items()
        assert ("authorization" in service.seen[0].headers) is bool(value)
    assert to.secrets() == ((value.strip(),) if value and value.strip() else ())


@pytest.mark.parametrize(
    ("error", "words", "others"),
    [
        (httpx2.ReadTimeout("late"), "no byte of a reply within 600 s", "running"),
        (httpx2.ConnectError("no"), "ConnectError: no; is the service running, and is", ""),
    ],
)  # fmt: skip
def test_a_service_that_cannot_be_reached_is_named(
    error: Exception, words: str, others: str
) -> None:
    def fail(_: httpx2.Request) -> httpx2.Response:
        raise error

    to = upstream()
    with pytest.raises(UpstreamError, match=f"^{URL}/v1/chat/completions: {words}") as raised:
        Service(fail).sent(to, call())
    assert not others or others not in str(raised.value)
    plan = ClaudePlan("anthropic", URL, "", frozenset())
    with pytest.raises(UpstreamError, match=f"{URL}/v1/messages.*: {type(error).__name__}: "):
        Service(fail).sent(plan, call("messages", raw=b"{}", bearer=TOKEN))


class Pieces(httpx2.AsyncByteStream):
    def __init__(self, *pieces: bytes, error: Exception | None = None) -> None:
        self.pieces, self.error = pieces, error
        self.closed = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self.pieces:
            yield piece
        if self.error:
            raise self.error

    async def aclose(self) -> None:
        self.closed += 1


def chunked(*pieces: bytes, status: int = 200, error: Exception | None = None) -> Handler:
    return lambda _: httpx2.Response(status, stream=Pieces(*pieces, error=error))


SECRET = b"sk-of-the-user"


@pytest.mark.parametrize(
    ("pieces", "passed"),
    [
        ([b"a", b"b"], b"ab"),
        ([b"x" + SECRET + b"y"], b"x[key]y"),
        ([b"x" + SECRET[:1], SECRET[1:] + b"y"], b"x[key]y"),
        ([b"x" + SECRET[:-1], SECRET[-1:] + b"y"], b"x[key]y"),
        ([SECRET[n : n + 1] for n in range(len(SECRET))], b"[key]"),
        ([b"x" + SECRET[:5], b"y"], b"x" + SECRET[:5] + b"y"),
        ([b"x" + SECRET[:5]], b"x" + SECRET[:5]),
        ([SECRET + SECRET], b"[key][key]"),
    ],
)
def test_a_service_that_repeats_the_key_does_not_show_it(
    pieces: list[bytes], passed: bytes
) -> None:
    ((_, raw, answer),) = Service(chunked(*pieces)).sent(upstream(), call())
    assert raw == passed and answer.content_type == "application/json"
    assert Service(chunked(*pieces)).sent(upstream(key=""), call())[0][1] == b"".join(pieces)


@given(
    st.text("ab", min_size=1, max_size=6), st.text("ab", max_size=40),
    st.lists(st.integers(0, 40), max_size=12),
)  # fmt: skip
def test_a_key_is_cut_out_wherever_a_stream_is_cut(key: str, text: str, at: list[int]) -> None:
    places = sorted({0, len(text), *(place for place in at if place < len(text))})
    without = upstreams._Without(key)
    found = [without(text[a:b].encode()) for a, b in itertools.pairwise(places)]
    assert b"".join(found) + without.rest() == text.replace(key, "[key]").encode()


def test_a_stream_that_breaks_says_so() -> None:
    service = Service(chunked(b"a", error=httpx2.ReadError("gone")))
    with pytest.raises(UpstreamError, match=f"{URL}/v1/chat/completions: stream broke: ReadError"):
        service.sent(upstream(), call())


OLD = b'{"error": {"message": "max_tokens is gone, use max_completion_tokens"}}'


def test_what_a_service_refuses_is_left_out_of_the_next_try() -> None:
    def picky(request: httpx2.Request) -> httpx2.Response:
        old = "max_tokens" in json.loads(request.content)
        return httpx2.Response(400, content=OLD) if old else httpx2.Response(200, content=b"ok")

    service, to = Service(picky), upstream()
    body = {"model": "m", "max_tokens": 5}
    found = service.sent(to, call(body=body), call(body=body))
    assert [one[:2] for one in found] == [(200, b"ok")] * 2 and len(service.seen) == 3
    same = Service(chunked(b"no", status=400))
    assert same.sent(upstream(), call(body=body))[0][:2] == (400, b"no") and len(same.seen) == 1
    other = Service(chunked(OLD, status=422))
    assert other.sent(upstream(), call(body=body))[0][:2] == (422, OLD) and len(other.seen) == 1


def test_a_refusal_is_read_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upstreams, "_ERROR_BYTES", 4)
    service = Service(chunked(b"ab", b"cd", b"e", b"f", status=400))
    assert service.sent(upstream(), call())[0][1] == b"abcde"


def test_another_client_is_made_after_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[object] = []

    class Client:
        async def aclose(self) -> None:
            closed.append(self)

    monkeypatch.setattr(httpx2, "AsyncClient", Client)
    to = upstream()
    first = to._client()
    assert to._client() is first
    asyncio.run(to.close())
    assert closed == [first] and to._client() is not first


@pytest.mark.parametrize(
    ("status", "called", "key", "words"),
    [
        (404, "https://a.example/v1", "K", "model service at https://a.example/v1 does not know "
         "'m' or has no such address: status 404: no; check the model's name"),
        (404, "", "K", "model service does not know 'm'"),
        (401, "", "K", "refused the key: status 401: no; check the key in K, and its permissions"),
        (403, "", "", "status 403: no; set key_env to the variable that holds the key"),
    ],
)  # fmt: skip
def test_the_advice_for_a_refusal(status: int, called: str, key: str, words: str) -> None:
    to = upstream(key=key)
    to.called = called
    assert words in refused_advice(status, "no", "m", to)


def test_the_advice_for_a_request() -> None:
    said = "model service refused the request: status 400: no"
    assert refused_request(400, "no", False) == said
    assert refused_request(400, "no", True).startswith(f"{said}; ask for fewer tokens")


class Tokens:
    """Gives tokens one after another."""

    def __init__(self, *given: str | Exception) -> None:
        self.given = list(given)
        self.refused: list[str] = []

    async def token(self) -> str:
        found = self.given.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    async def renewed(self, refused: str) -> str:
        self.refused.append(refused)
        return await self.token()


def plan(*given: str | Exception) -> tuple[ChatGptPlan, Tokens]:
    tokens = Tokens(*given)
    return ChatGptPlan("openai", URL, "", frozenset({"responses"}), tokens=tokens), tokens


def allowed(token: str) -> Handler:
    def answer(request: httpx2.Request) -> httpx2.Response:
        right = request.headers["authorization"] == f"Bearer {token}"
        return httpx2.Response(200 if right else 401, content=request.headers["authorization"])

    return answer


def test_a_refused_token_of_a_plan_is_renewed_once() -> None:
    to, tokens = plan("old", "new", "new")
    assert to.secrets() == () and login_of(to) == "chatgpt"
    service = Service(allowed("new"))
    found = service.sent(to, call("responses"), call("responses"))
    assert [one[:2] for one in found] == [(200, b"Bearer [key]")] * 2
    assert tokens.refused == ["old"] and len(service.seen) == 3
    assert to.secrets() == ("new",)
    to, tokens = plan("old", "older")
    service = Service(allowed("new"))
    assert service.sent(to, call("responses"))[0][0] == 401 and len(service.seen) == 2


def test_the_token_that_is_renewed_is_the_one_that_was_refused() -> None:
    """Another call may have renewed it meanwhile."""
    to, tokens = plan("old", "other")

    def answer(request: httpx2.Request) -> httpx2.Response:
        if "old" in request.headers["authorization"]:
            to._token = "other"
            return httpx2.Response(401, content=b"no")
        return httpx2.Response(200, content=b"yes")

    service = Service(answer)
    assert service.sent(to, call("responses"))[0][:2] == (200, b"yes")
    assert tokens.refused == ["old"]


@pytest.mark.parametrize(
    ("given", "usable"),
    [
        ([AccountError("sign in")], False),
        ([AccountUnreachableError("sign in")], True),
        (["old", AccountError("sign in")], False),
        (["old", AccountUnreachableError("sign in")], True),
    ],
)
def test_an_account_that_fails_is_the_services_failure(
    given: list[str | Exception], usable: bool
) -> None:
    to, _ = plan(*given)
    with pytest.raises(UpstreamError, match="sign in") as error:
        Service(allowed("new")).sent(to, call("responses"))
    assert isinstance(error.value, UnusableUpstreamError) is not usable


def test_a_claude_plan_sends_what_its_program_wrote() -> None:
    service = Service(lambda _: httpx2.Response(200, content=TOKEN.encode(), headers={"A": "b"}))
    to = ClaudePlan("anthropic", URL, "V", frozenset({"messages"}))
    made = call("messages", raw=b' {"a" : 1}', bearer=TOKEN)
    ((status, raw, answer),) = service.sent(to, made)
    assert (status, raw, answer.headers["a"]) == (200, b"[key]", "b")
    request = service.seen[0]
    assert request.content == b' {"a" : 1}' and str(request.url) == f"{URL}/v1/messages?beta=1"
    wanted = {"authorization": f"Bearer {TOKEN}", "accept-encoding": "identity", "x-app": "cli",
              "content-type": "application/json"}  # fmt: skip
    assert wanted.items() <= dict(request.headers).items()
    for odd in (call("messages", raw=b"{}"), call("messages", bearer=TOKEN)):
        with pytest.raises(UnusableUpstreamError, match="a Claude plan is for Claude Code"):
            service.sent(to, odd)
    assert len(service.seen) == 1


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (f" {TOKEN}\n", ""), ("x" * 20, ""), ("x" * 19, "does not have a token"),
        ("", "is not set"), (" ", "is not set"), ("x" * 20 + "é", "does not have a token"),
        ("x" * 20 + "\ty", "does not have a token"), ("x " * 20, "does not have a token"),
    ],
)  # fmt: skip
def test_a_token_of_a_plan_is_one_word(
    value: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("V", CLAUDE_TOKEN):
        monkeypatch.setenv(variable, value)
        named = "V" if variable == "V" else ""
        to = ClaudePlan("anthropic", URL, named, frozenset())
        if words:
            with pytest.raises(PlanError, match=f"{variable} {words}"):
                program_token(to, "claude-code")
            continue
        token = program_token(to, "claude-code")
        assert token is not None and token.variable == CLAUDE_TOKEN
        assert token.value == token_in(variable) == value.strip()
        assert token.fits(value.strip()) and not token.fits(value.strip() + "x")
        assert not token.fits("") and not token.fits("ü")
        with pytest.raises(PlanError, match="is for Claude Code"):
            program_token(to, "codex")


def test_other_services_have_no_token_of_a_program(monkeypatch: pytest.MonkeyPatch) -> None:
    assert program_token(upstream(), "claude-code") is None and login_of(upstream()) == ""
    assert program_token(plan()[0], "codex") is None
    monkeypatch.setenv("V", f" {TOKEN} ")
    monkeypatch.setenv("W", " ")
    claude = [ClaudePlan("anthropic", URL, name, frozenset()) for name in ("V", "W", "X")]
    assert secrets_of([upstream(), plan()[0], *claude]) == [TOKEN]


@pytest.mark.parametrize(("variable", "read"), [("", CLAUDE_TOKEN), ("V", "V")])
def test_the_token_that_a_program_gets_is_what_is_scrubbed(
    variable: str, read: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (CLAUDE_TOKEN, "V"):
        monkeypatch.setenv(name, f"{TOKEN}-{name}")
    to = ClaudePlan("anthropic", URL, variable, frozenset())
    token = program_token(to, "claude-code")
    assert token is not None and [token.value] == secrets_of([to]) == [f"{TOKEN}-{read}"]
    assert secrets_of([plan("x")[0], upstream()]) == [], "no sandbox gets theirs"


@pytest.mark.parametrize(
    ("kind", "connected", "together"),
    [("text/event-stream", True, True), ("text/event-stream; charset=utf-8", True, True),
     ("application/json", True, False), ("text/event-stream", False, False)],
)  # fmt: skip
@pytest.mark.parametrize(
    ("status", "headers", "chunked"),
    [(200, {"transfer-encoding": "chunked"}, True), (200, {}, False),
     (429, {"transfer-encoding": "chunked"}, False),
     (200, {"transfer-encoding": "chunked", "content-encoding": "identity"}, False)],
)  # fmt: skip
def test_the_pieces_of_a_stream_are_read_together(
    kind: str, connected: bool, together: bool, status: int, headers: dict[str, str],
    chunked: bool, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    read: list[object] = []

    async def gathered(
        chunks: AsyncIterator[bytes], connection: object, chunked: bool
    ) -> AsyncIterator[bytes]:
        read.append((connection, chunked))
        async for chunk in chunks:
            yield chunk

    def answer(request: httpx2.Request) -> httpx2.Response:
        assert request.extensions["trace"] is watch
        extensions = {"network_stream": "the connection"} if connected else {}
        return httpx2.Response(
            status, headers=headers | {"content-type": kind}, stream=Pieces(b"a"),
            extensions=extensions,
        )  # fmt: skip

    monkeypatch.setattr(upstreams, "gathered", gathered)
    ((_, raw, found),) = Service(answer).sent(upstream(), call())
    assert (raw, found.content_type) == (b"a", kind)
    plan = ClaudePlan("anthropic", URL, "", frozenset())
    made = call("messages", raw=b"{}", bearer=TOKEN)
    assert Service(answer).sent(plan, made)[0][1] == b"a"
    assert read == [("the connection", chunked)] * 2 * together


def test_what_a_command_ends_with() -> None:
    codes = {UpstreamError: 3, UnusableUpstreamError: 2, PlanError: 2}
    for kind, code in codes.items():
        assert kind("no").exit_code == code
    made = HttpUpstream("openai", URL, "K", frozenset())
    assert (made.max_concurrency, made.timeout_s, made.api_version, made.called) == (
        16, 600.0, "", "",
    )  # fmt: skip
    assert made.secrets() == ()
    given = Call("chat", "/v1", {}, {}, 1)
    assert (given.silence_s, given.raw, given.bearer) == (None, None, "")


def test_a_request_to_bedrock_is_signed_and_its_token_not_shown() -> None:
    class Aws:
        def headers(self, url: str, content: bytes) -> dict[str, str]:
            asked.append((url, json.loads(content)))
            return {"authorization": "signed", "x-amz-security-token": "the-token"}

    asked: list[Any] = []
    to = HttpUpstream("bedrock", URL, "", frozenset({"chat"}))
    to._aws = Aws()  # type: ignore[assignment]
    service = Service(lambda request: httpx2.Response(200, content=b"x the-token y"))
    ((_, raw, _),) = service.sent(to, call())
    assert raw == b"x [key] y" and service.seen[0].headers["authorization"] == "signed"
    url = f"{URL}/openai/v1/chat/completions"
    assert asked == [(url, {"model": "m", "stream": True})]

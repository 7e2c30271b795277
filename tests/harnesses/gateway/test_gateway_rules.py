"""What the gateway permits and refuses, in its own event loop and without a socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from harnesses.base import Budget, ModelSpec, Usage
from harnesses.clock import now
from harnesses.gateway.exchange import MAIN
from harnesses.gateway.forward import OVER
from harnesses.gateway.gateway import Gateway, GatewayError
from harnesses.gateway.patience import Patience
from harnesses.gateway.plan_upstreams import CLAUDE_TOKEN
from harnesses.gateway.plan_windows import PlanWindow
from harnesses.gateway.service import PlanUse, Wait
from harnesses.gateway.session import Grant, Session
from harnesses.gateway.upstreams import Answer, Call
from harnesses.protocols.base import ProtocolName, Reply
from harnesses.protocols.registry import CODECS
from tests.helpers.companions import Counter

TOKEN = "sk-ant-oat01-Marker_0815-and-so-on"
CHAT = "/v1/chat/completions"
BODY: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


class Upstream:
    """Replies, or does what it is told to."""

    max_concurrency = 4

    def __init__(self, *protocols: ProtocolName, login: str = "", act: Any = None) -> None:
        self.protocols: frozenset[ProtocolName] = frozenset(protocols or ("chat",))
        self.login, self.key_env = login, ""
        self.act = act
        self.seen: list[Call] = []
        self.closed = 0

    async def send(self, call: Call) -> Answer:
        self.seen.append(call)
        if self.act is not None:
            await self.act()
        reply = Reply("ok", usage=Usage(1, 9, 0, 1), model="m")
        body = CODECS[call.protocol].write_response(reply, "m", "1")
        return Answer(200, "application/json", _once(json.dumps(body).encode()))

    async def close(self) -> None:
        self.closed += 1


async def _once(raw: bytes) -> AsyncIterator[bytes]:
    yield raw


class Running:
    """A gateway whose application is called in the loop of the test."""

    def __init__(self, upstream: Upstream | None = None, **options: Any) -> None:
        self.upstream = upstream or Upstream()
        self.priced: list[tuple[str, Usage]] = []
        self.waits: list[Wait] = []
        self.uses: list[PlanUse] = []
        upstreams: Any = {"up": self.upstream, "other": Upstream()}
        self.gateway = Gateway(
            upstreams, Path("s"), self._price, Patience(20, 0.0, 5.0, 0.0),
            self.waits.append, on_plan=self.uses.append, **options,
        )  # fmt: skip
        self.app = self.gateway._app()

    def _price(self, model: str, usage: Usage) -> float:
        self.priced.append((model, usage))
        return 5.0

    def open(self, **grant: Any) -> Session:
        return self.gateway.open(Grant(ModelSpec("up", "m"), 1, **grant))

    @asynccontextmanager
    async def http(self) -> AsyncIterator[httpx2.AsyncClient]:
        async with self.app.router.lifespan_context(self.app):
            transport = httpx2.ASGITransport(self.app, raise_app_exceptions=False)
            async with httpx2.AsyncClient(transport=transport, base_url="http://g") as client:
                yield client

    def ask(self, *requests: tuple[Session, str, Any], **headers: str) -> list[httpx2.Response]:
        """What is answered to some posts, one after another."""

        async def run() -> list[httpx2.Response]:
            async with self.http() as client:
                return [
                    await client.post(
                        path,
                        content=body if isinstance(body, bytes) else json.dumps(body),
                        headers={"authorization": f"Bearer {session.token}"} | headers,
                    )
                    for session, path, body in requests
                ]

        return asyncio.run(run())


IMAGE = {"type": "image_url", "image_url": {"url": "https://attacker.example/" + "x" * 200}}
REMOTE = {**BODY, "messages": [{"role": "user", "content": [IMAGE]}]}


@pytest.mark.parametrize(
    ("body", "change", "grant", "status", "words"),
    [
        (BODY, {}, {}, 200, "ok"),
        ([BODY], {}, {}, 400, "request is not a JSON object"),
        (b"{", {}, {}, 400, "request: request is not JSON"),
        (BODY, {"failure": "x"}, {}, 400, OVER),
        (BODY, {"over": "x"}, {}, 400, OVER),
        (BODY, {"exhausted": "x"}, {}, 403, OVER),
        (BODY | {"model": "n"}, {}, {}, 403, "model 'n' is not this rollout's 'm'"),
        (BODY | {"model": None}, {}, {}, 403, "model None is not"),
        (REMOTE, {}, {}, 403, "not asked to fetch https://attacker.example/" + "x" * 75 + '"'),
        (REMOTE, {}, {"outside": True}, 200, "ok"),
        ({"model": "m", "messages": 7}, {}, {}, 200, "ok"),
        (BODY, {"requests": 2}, {"budget": Budget(requests=3)}, 200, "ok"),
        (BODY, {"requests": 3}, {"budget": Budget(requests=3)}, 403, OVER),
        (BODY, {"usage": Usage(1, 5, 0, 4)}, {"budget": Budget(tokens=10)}, 200, "ok"),
        (BODY, {"usage": Usage(1, 5, 0, 5)}, {"budget": Budget(tokens=10)}, 403, OVER),
    ],
)
def test_what_is_permitted(
    body: Any, change: dict[str, Any], grant: dict[str, Any], status: int, words: str
) -> None:
    running = Running()
    with running.open(**grant) as session:
        for name, value in change.items():
            setattr(session, name, value)
        before = session.requests
        (answer,) = running.ask((session, CHAT, body))
        assert answer.status_code == status and words in answer.text
        assert session.requests - before == len(running.upstream.seen) == (status == 200)
        assert len(session.exchanges) == (status == 200)
    if "usage" in change and status == 403:
        assert session.exhausted == "budget of 10 tokens is used up"
    if "requests" in change and status == 403:
        assert session.exhausted == "budget of 3 model requests is used up"


@pytest.mark.parametrize(
    ("path", "shape"),
    [(CHAT, "error"), ("/v1/responses", "error"), ("/v1/messages", "type")],
)
def test_a_refusal_has_the_form_of_the_clients_protocol(path: str, shape: str) -> None:
    running = Running()
    with running.open() as session:
        wrong = running.ask((session, path, BODY | {"model": "n"}))[0].json()
        session.token = "so-other"
        none = running.ask((session, path, BODY))[0]
    assert (wrong.get("type") == "error") is (shape == "type")
    assert wrong["error"]["type"] == "permission_error"
    assert none.status_code == 401 and (none.json().get("type") == "error") is (shape == "type")
    assert "does not belong to a running rollout" in none.json()["error"]["message"]


def test_a_request_that_cannot_be_translated_is_refused() -> None:
    running = Running()
    with running.open() as session:
        said = {"model": "m", "max_tokens": 1, "messages": [{"role": "odd", "content": "x"}]}
        (answer,) = running.ask((session, "/v1/messages", said))
    assert answer.status_code == 400 and "'odd' is not user" in answer.text
    assert running.upstream.seen == [] and session.requests == 1


def test_a_rollout_that_is_over_is_recorded_with_the_request_that_shows_it() -> None:
    asked: list[Any] = []
    answers = ["", "all is open"]

    def over(protocol: ProtocolName, body: Any) -> str:
        asked.append((protocol, body))
        return answers.pop(0)

    running = Running()
    with running.open(over=over) as session:
        session.part = 3
        headers = {"x-session-id": "s"}
        found = running.ask(*[(session, CHAT, BODY)] * 3, **headers)
    assert [one.status_code for one in found] == [200, 400, 400]
    assert asked == [("chat", BODY)] * 2 and session.over == "all is open"
    last = session.exchanges[1]
    assert (last.request, last.reply, last.status, last.error) == (BODY, None, 400, "all is open")
    assert (last.thread, last.part, last.blame) == (MAIN, 3, None)
    assert len(session.exchanges) == 2 and session.requests == 1


def test_a_call_is_priced_by_its_model_unless_a_plan_pays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    running = Running()
    with running.open() as session:
        running.ask((session, CHAT, BODY))
    assert running.priced == [("m", Usage(1, 9, 0, 1))]
    assert session.usage == Usage(1, 9, 0, 1, cost_usd=5.0)
    running = Running(Upstream(login="chatgpt"))
    with running.open() as session:
        running.ask((session, CHAT, BODY))
    assert running.priced == [] and session.usage == Usage(1, 9, 0, 1, included=True)


def test_who_passes_as_it_is_has_its_own_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CLAUDE_TOKEN, TOKEN)
    running = Running(Upstream("messages", login="claude-plan"))
    said = {**BODY, "max_tokens": 9}
    own = {"authorization": f"Bearer {TOKEN}"}
    with running.open(program="claude-code") as session, running.open(program="claude-code"):
        path = f"{session.path}/v1/messages"
        assert running.ask((session, f"{path}?beta=true", said), **own)[0].status_code == 200
        for place, headers in (
            (path, {}), ("/v1/messages", {}), ("/v1/messages", own),
            ("/passing/so-other/v1/messages", own),
        ):  # fmt: skip
            (answer,) = running.ask((session, place, said), **headers)
            assert answer.status_code == 401, place
        count = f"{path}/count_tokens"
        assert running.ask((session, count, said), **own)[0].status_code == 200
        search = {**said, "tools": [{"type": "web_search_20250305", "name": "s"}]}
        (refused,) = running.ask((session, path, search), **own)
        assert refused.status_code == 400 and "act outside" in refused.text
    (call,) = running.upstream.seen
    assert call.path == "/v1/messages?beta=true" and call.bearer == TOKEN
    assert json.loads(call.raw or b"") == said
    assert not running.gateway._sessions


def test_tokens_are_counted_and_models_listed() -> None:
    running = Running()
    with running.open() as session:
        raw = b'{"a": "' + b"x" * 20 + b'"}'
        (count,) = running.ask((session, "/v1/messages/count_tokens", raw))
        assert count.json() == {"input_tokens": len(raw) // 4}

        async def listed(token: str) -> httpx2.Response:
            async with running.http() as client:
                return await client.get("/v1/models", headers={"x-api-key": token})

        models = asyncio.run(listed(session.token)).json()
        assert models == {"object": "list", "data": [{"id": "m", "object": "model"}]}
        assert asyncio.run(listed("so-other")).status_code == 401
        session.token = "so-other"
        (count,) = running.ask((session, "/v1/messages/count_tokens", raw))
        assert count.status_code == 401 and count.json()["type"] == "error"
    assert running.upstream.seen == []


def test_a_companion_is_reached_by_its_own_session_alone() -> None:
    running = Running(reply_s=5.0)
    with running.open(companion=Counter()) as session, running.open() as without:
        (answer,) = running.ask((session, "/companion", {"add": 2}))
        assert (answer.status_code, answer.json()) == (200, {"total": 2})
        assert session.companion is not None and session.companion._reply_s == 5.0
        assert running.ask((without, "/companion", {}))[0].status_code == 404
        session.companion.failure, session.companion.exhausted = "broke", "too much"
        assert running.ask((session, "/companion", {}))[0].status_code == 503
        assert (session.failure, session.exhausted) == ("broke", "too much")
        session.failure = "first"
        session.exhausted = "first"
        running.ask((session, "/companion", {}))
        assert (session.failure, session.exhausted) == ("first", "first")
        token, session.token = session.token, "so-other"
        assert running.ask((session, "/companion", {}))[0].status_code == 401
        session.token = token


def test_an_upstream_whose_code_is_broken_is_named() -> None:
    async def broken() -> None:
        raise ZeroDivisionError("by nothing")

    running = Running(Upstream(act=broken))
    with running.open() as session:
        (answer,) = running.ask((session, CHAT, BODY))
        assert answer.status_code == 500
        assert "its code raised ZeroDivisionError: by nothing" in session.failure
        raised = running.gateway.raised("up")
        assert isinstance(raised, ZeroDivisionError) and running.gateway.raised("other") is None


@pytest.mark.parametrize("why", ["gone", "expired"])
def test_a_call_ends_when_its_client_is_gone_or_its_time_is_over(
    why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harnesses.gateway.gateway._EXPIRY_S", 0.005)
    ended: list[str] = []

    async def slow() -> None:
        try:
            await asyncio.sleep(9)
        except asyncio.CancelledError:
            ended.append("service")
            raise

    running = Running(Upstream(act=slow))
    session = running.open()
    looks = iter([False, True, True, True])

    async def play() -> None:
        gone = asyncio.Event()
        told = [{"type": "http.request", "body": json.dumps(BODY).encode(), "more_body": False}]

        async def receive() -> Any:
            if told:
                return told.pop()
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            raise AssertionError("nothing to be sent")

        scope = {
            "type": "http", "method": "POST", "path": CHAT, "raw_path": CHAT.encode(),
            "query_string": b"", "headers": [(b"x-api-key", session.token.encode())],
        }  # fmt: skip
        async with running.app.router.lifespan_context(running.app):
            call = asyncio.ensure_future(running.app(scope, receive, send))
            while not running.upstream.seen:
                await asyncio.sleep(0.001)
            if why == "expired":
                session.expired = lambda: next(looks)
            else:
                gone.set()
            await asyncio.wait_for(call, 5)

    asyncio.run(play())
    assert ended == ["service"] and session.failure == ""
    assert session.exchanges[0].blame is None and session.usage.estimated
    assert running.upstream.closed == 1, "with the gateway"


def test_what_is_known_of_a_service() -> None:
    running = Running()
    gateway = running.gateway
    for name in ("up", "gone"):  # It does not run yet, or there is none.
        assert gateway.windows(name) == () and gateway.blocked(name) == ""
        assert gateway.raised(name) is None and gateway.limited_s(name) == 0.0
        gateway.block(name, "x")
        with pytest.raises(GatewayError, match=f"no upstream named '{name}' is open"):
            gateway.share(name, 1)

    async def play() -> None:
        async with running.http():
            service = gateway._services["up"]
            service.windows = (PlanWindow("plan"),)
            assert gateway.windows("up") == service.windows and gateway.windows("other") == ()
            service.limited_until = now() + 50
            assert 49 < gateway.limited_s("up") <= 50 and gateway.limited_s("other") < 0
            gateway.block("up", "used up")
            gateway.block("up", "something else")
            assert (gateway.blocked("up"), gateway.blocked("other")) == ("used up", "")
            # Shared with others: fewer requests at a time, and none for a while.
            await service.slots.take("t", 1)
            await service.slots.take("u", 1)
            assert await asyncio.to_thread(gateway.share, "up", 1) == 2
            assert await asyncio.to_thread(gateway.share, "up", 3, 50.0) == 3
            assert 49 < service.held_until - now() <= 50
            assert await asyncio.to_thread(gateway.share, "up", 3, 5.0) == 3
            assert service.held_until - now() > 45, "the longer wait counts"

    asyncio.run(play())
    with pytest.raises(GatewayError, match="gateway: it has ended"):
        gateway.share("up", 1)
    wait, use = Wait("up", "busy", 1.0, 2.0), PlanUse("up", ())
    gateway.heard(wait)
    gateway.heard(use)
    assert (running.waits, running.uses) == ([wait], [use])


def test_what_the_open_sessions_of_a_folder_have_used(tmp_path: Path) -> None:
    running = Running()
    sessions = [running.open(record=folder) for folder in (tmp_path, tmp_path, tmp_path / "b")]
    for number, session in enumerate(sessions):
        session.usage = Usage(1, 10**number)
    assert running.gateway.used(tmp_path) == Usage(2, 11)
    running.gateway.revoke(sessions[0].token)
    running.gateway.revoke("so-other")
    assert running.gateway.used(tmp_path) == Usage(1, 10)
    assert len({session.token for session in sessions}) == 3
    assert all(session.token.startswith("so-") for session in sessions)
    with pytest.raises(GatewayError, match="no upstream named 'x'; there are: other, up"):
        running.gateway.open(Grant(ModelSpec("x", "m"), 1))


def test_no_more_calls_of_a_session_run_than_may() -> None:
    running = Running()
    session = running.open()
    session.calls = asyncio.Semaphore(2)
    most: list[int] = []

    async def slow() -> None:
        most.append(session.active)
        await asyncio.sleep(0.005)

    running.upstream.act = slow

    async def play() -> None:
        async with running.http() as client:
            post: Callable[[], Awaitable[Any]] = lambda: client.post(  # noqa: E731
                CHAT, json=BODY, headers={"x-api-key": session.token}
            )
            found = await asyncio.gather(*(post() for _ in range(5)))
            assert [answer.status_code for answer in found] == [200] * 5

    asyncio.run(play())
    assert max(most) == 2 and len(session.exchanges) == 5


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_gateway_that_cannot_listen_says_so(tmp_path: Path) -> None:
    gateway = Gateway({}, tmp_path / "gone" / "s", lambda *_: 0.0)
    assert not gateway.running
    with pytest.raises(GatewayError, match=r"gateway: cannot listen on .*/gone/s"), gateway:
        pass
    assert not gateway.running


def test_it_listens_until_it_is_closed(tmp_path: Path) -> None:
    upstream = Upstream()
    made = Gateway({"up": upstream}, tmp_path / "s", lambda *_: 0.0)
    with made as gateway:
        assert gateway is made and gateway.running and gateway.socket.is_socket()
        session = gateway.open(Grant(ModelSpec("up", "m"), 1))
        assert session.socket == gateway.socket and session.protocols == {"chat"}
        assert gateway.share("up", 3) == 3
    assert not gateway.running and not gateway.socket.exists() and upstream.closed == 1
    assert not gateway._sessions
    gateway.close()

"""Headers in both directions, and calls that pass the gateway as they are, over real HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from harnesses.accounts.chatgpt import ChatGptAccount
from harnesses.accounts.vault import Vault
from harnesses.agents import claude_code
from harnesses.agents.claude_code import ClaudeCode
from harnesses.agents.cli_agent import Launch
from harnesses.base import Budget, ModelSpec
from harnesses.gateway.gateway import Gateway
from harnesses.gateway.plan_upstreams import CLAUDE_TOKEN as CLAUDE_TOKEN_NAME
from harnesses.gateway.plan_upstreams import ChatGptPlan, ClaudePlan, PlanError, ProgramToken
from harnesses.gateway.session import Grant, Session
from harnesses.gateway.upstreams import HttpUpstream, Upstream
from harnesses.protocols.base import ProtocolName
from tests.helpers.patience import QUICK
from tests.helpers.services import KEY, client, serve
from tests.services.plans import CLAUDE_TOKEN
from tests.services.wire import Said, events, whole, written

MESSAGES: frozenset[ProtocolName] = frozenset({"messages"})
PINGS = b'event: ping\ndata: {"type": "ping"}\n\n'
TOLD = {
    "anthropic-ratelimit-unified-5h-utilization": "0.4",
    "request-id": "req_1",
    "anthropic-organization-id": "org-of-the-user",
    "set-cookie": "a=b",
    "x-echo": KEY,
}


class Vendor:
    """Remembers what it is sent; answers as asked for."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, dict[str, str], bytes]] = []

    async def answer(self, request: Request) -> Response:
        path = f"{request.url.path}?{request.url.query}".rstrip("?")
        raw = await request.body()
        self.seen.append((path, dict(request.headers), raw))
        body = json.loads(raw)
        protocol: ProtocolName = "messages" if "messages" in path else "chat"
        if body.get("max_tokens") == 413:
            text = {"type": "error", "error": {"type": "invalid_request_error",
                    "message": "prompt is too long: 300000 tokens > 200000 maximum"}}  # fmt: skip
            return JSONResponse(text, 400, headers=TOLD)
        if not body.get("stream"):
            return JSONResponse(whole(protocol, Said("hi")), headers=TOLD)
        parts = [PINGS, *written(protocol, events(protocol, Said("hi")))]
        stream = (part for part in parts if isinstance(part, bytes))
        return StreamingResponse(stream, media_type="text/event-stream", headers=TOLD)


@pytest.fixture(autouse=True)
def tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_KEY", KEY)
    monkeypatch.setenv("CLAUDE_CODE_OAUTH_TOKEN", CLAUDE_TOKEN)


@pytest.fixture
def vendor() -> Vendor:
    return Vendor()


@contextmanager
def session(
    vendor: Vendor, folder: Path, plan: bool, program: str = "claude-code", **grant: Any
) -> Iterator[Session]:
    upstream: Upstream
    if plan:
        upstream = ClaudePlan("anthropic", "", "CLAUDE_CODE_OAUTH_TOKEN", MESSAGES)
    else:
        upstream = HttpUpstream("anthropic", "", "TEST_KEY", MESSAGES)
    with (
        serve(vendor.answer, "/{path:path}") as url,
        Gateway({"up": upstream}, folder / "s", lambda *_: None, QUICK) as gateway,
    ):
        upstream.base_url = url
        given = Grant(ModelSpec("up", "m"), 1, folder, program=program, **grant)
        with gateway.open(given) as opened:
            yield opened


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("p")


def body(**more: Any) -> dict[str, Any]:
    text = [
        {"type": "text", "text": "x-anthropic-billing-header: cch=1;"},
        {"type": "text", "text": "é"},
    ]
    messages = [{"role": "user", "content": "hi"}]
    return {"system": text, "model": "m", "messages": messages, "max_tokens": 9, **more}


SENT = {
    "anthropic-beta": "oauth-2025-04-20,extended-cache-ttl-2025-04-11",
    "anthropic-version": "2023-06-01",
    "user-agent": "claude-cli/2.1.332 (external, sdk-cli)",
    "x-claude-code-session-id": "s",
    "x-app": "cli",
    "openai-organization": "org-of-another",
    "cookie": "a=b",
    "x-forwarded-for": "10.0.0.1",
}


def test_headers_pass_with_a_key_too(vendor: Vendor, folder: Path) -> None:
    with session(vendor, folder, plan=False) as opened, client(opened, opened.token) as http:
        answer = http.post("/v1/messages", json=body(), headers=SENT)
    ((path, heard, _),) = vendor.seen
    assert path == "/v1/messages" and heard["x-api-key"] == KEY
    passed = [name for name in SENT if name in heard]
    assert passed == [*SENT][:5] and heard["user-agent"] == SENT["user-agent"]
    assert "authorization" not in heard and opened.token not in str(heard)
    assert answer.headers["request-id"] == "req_1"
    assert answer.headers["anthropic-ratelimit-unified-5h-utilization"] == "0.4"
    kept = {"anthropic-organization-id", "set-cookie", "x-echo"} & set(answer.headers)
    assert not kept and KEY not in answer.text


def test_a_translated_call_has_no_headers_of_the_other_protocol(
    vendor: Vendor, folder: Path
) -> None:
    with session(vendor, folder, plan=False) as opened, client(opened, opened.token) as http:
        asked = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
        answer = http.post("/v1/chat/completions", json=asked, headers={"x-app": "other"})
    assert answer.status_code == 200 and "x-app" not in vendor.seen[0][1]
    assert not any("ratelimit" in name for name in answer.headers)


def passing(opened: Session, token: str = CLAUDE_TOKEN) -> httpx2.Client:
    http = client(opened, token)
    http.base_url = f"http://gateway{opened.path}"
    return http


@pytest.mark.parametrize("stream", [False, True])
def test_a_call_passes_byte_for_byte_with_the_programs_token(
    stream: bool, vendor: Vendor, folder: Path
) -> None:
    raw = json.dumps(body(stream=stream), indent=1, ensure_ascii=False).encode()
    with session(vendor, folder, plan=True) as opened, passing(opened) as http:
        headers = {**SENT, "content-type": "application/json"}
        answer = http.post("/v1/messages?beta=true", content=raw, headers=headers)
    ((path, heard, sent),) = vendor.seen
    assert (path, sent) == ("/v1/messages?beta=true", raw)
    assert heard["authorization"] == f"Bearer {CLAUDE_TOKEN}" and "x-api-key" not in heard
    assert [name for name in SENT if name in heard] == [*SENT][:5]
    if stream:
        assert answer.content.startswith(PINGS)
    assert answer.headers["request-id"] == "req_1" and "set-cookie" not in answer.headers
    (exchange,) = opened.exchanges
    assert exchange.reply and exchange.reply.text == "hi" and opened.usage.included
    assert CLAUDE_TOKEN not in (folder / "wire.jsonl").read_text()


def test_the_vendors_error_is_the_programs(vendor: Vendor, folder: Path) -> None:
    with session(vendor, folder, plan=True) as opened, passing(opened) as http:
        answer = http.post("/v1/messages", json=body(max_tokens=413), headers=SENT)
    assert answer.status_code == 400
    assert answer.json()["error"]["message"].startswith("prompt is too long: 300000 tokens")


@pytest.mark.parametrize(
    "part",
    [
        {"tools": [{"type": "web_search_20250305", "name": "web_search"}]},
        {"mcp_servers": [{"type": "url", "url": "https://example.org"}]},
        {"container": {"id": "c"}},
        {"service_tier": "priority"},
    ],
)
def test_what_would_act_outside_is_refused_and_not_changed(
    part: dict[str, Any], vendor: Vendor, folder: Path
) -> None:
    with session(vendor, folder, plan=True) as opened, passing(opened) as http:
        answer = http.post("/v1/messages", json=body(**part), headers=SENT)
    assert answer.status_code == 400 and "act outside the sandbox" in answer.text
    assert not vendor.seen


def test_only_who_has_the_token_passes_and_only_in_its_session(
    vendor: Vendor, folder: Path
) -> None:
    with session(vendor, folder, plan=True) as opened:
        with passing(opened, "sk-ant-oat01-of-another-account-of-somebody") as http:
            assert http.post("/v1/messages", json=body()).status_code == 401
        with passing(opened, opened.token) as http:
            assert http.post("/v1/messages", json=body()).status_code == 401
        for token in (opened.token, CLAUDE_TOKEN):  # Without the session in the address.
            with client(opened, token) as http:
                assert http.post("/v1/messages", json=body()).status_code == 401
        with passing(opened) as http:
            assert http.post("/v1/messages", json=body(model="other")).status_code == 403
            http.base_url = "http://gateway/passing/so-guessed"
            assert http.post("/v1/messages", json=body()).status_code == 401
    assert not vendor.seen


def test_a_session_with_a_key_has_no_such_way(vendor: Vendor, folder: Path) -> None:
    with session(vendor, folder, plan=False) as opened, client(opened, opened.token) as http:
        http.base_url = f"http://gateway/passing/{opened.token}"
        assert http.post("/v1/messages", json=body()).status_code == 401


@pytest.mark.parametrize("program", ["", "direct", "codex", "opencode", "judge"])
def test_no_other_program_gets_a_session(program: str, vendor: Vendor, folder: Path) -> None:
    with pytest.raises(PlanError, match="a Claude plan is for Claude Code itself"):
        session(vendor, folder, plan=True, program=program).__enter__()


def test_budgets_hold_for_a_plan_too(vendor: Vendor, folder: Path) -> None:
    budget = Budget(requests=1)
    with session(vendor, folder, plan=True, budget=budget) as opened, passing(opened) as http:
        assert http.post("/v1/messages", json=body()).status_code == 200
        assert http.post("/v1/messages", json=body()).status_code == 403
    assert "budget" in opened.exhausted and len(vendor.seen) == 1


@pytest.mark.parametrize("value", ["", "two words that are long enough"])
def test_what_is_no_token_is_not_shown(
    value: str, vendor: Vendor, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLAUDE_CODE_OAUTH_TOKEN", value)
    with pytest.raises(PlanError, match="claude setup-token") as refused:
        session(vendor, folder, plan=True).__enter__()
    assert not value or value not in str(refused.value)


def test_no_object_shows_a_token_in_a_crash_report(vendor: Vendor, folder: Path) -> None:
    account = ChatGptAccount(Vault("chatgpt", folder))
    account._known = CLAUDE_TOKEN  # type: ignore[assignment]  # Whatever it holds.
    plan = ChatGptPlan("openai", "", "", MESSAGES, tokens=account)
    plan._token = CLAUDE_TOKEN
    launch = Launch([["claude"]], {"CLAUDE_CODE_OAUTH_TOKEN": CLAUDE_TOKEN}, {})
    with session(vendor, folder, plan=True) as opened:
        shown = repr([account, plan, launch, opened, opened.login, opened.scrub])
    assert "Marker_0815" not in shown


def test_claude_code_gets_nothing_that_comes_before_the_token() -> None:
    agent = ClaudeCode(claude_code.toolchain())
    key = Launch([["claude", "-p"]], {"ANTHROPIC_API_KEY": "so-1", "A": "b"}, {}, "/opt/claude")
    token = ProgramToken(CLAUDE_TOKEN_NAME, CLAUDE_TOKEN)
    launch = agent.on_plan(key, token, "http://g/passing/so-1")
    assert launch.env[CLAUDE_TOKEN_NAME] == CLAUDE_TOKEN and launch.env["A"] == "b"
    assert launch.env["ANTHROPIC_BASE_URL"] == "http://g/passing/so-1"
    assert not {"ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"} & set(launch.env)
    for path in ("/opt/claude", ""):
        (_, _, script, *rest) = replace(launch, path=path).started(launch.commands[0])
        assert script.startswith("unset ANTHROPIC_API_KEY ANTHROPIC_AUTH_TOKEN; ")
        assert rest[1:] == ["claude", "-p"] and CLAUDE_TOKEN not in script

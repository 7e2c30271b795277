"""The vendors of plans, played on loopback: what they check of a request, and their limits.

ChatGPT's sign-in and route as in developers.openai.com/siwc/token-sharing-open-source (pages
sign-in, token-reference, preview-limitations, errors-and-recovery; 2026-10), Claude's limits as
public captures show their headers (``anthropic-ratelimit-unified-*``).
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import pytest

from harnesses.gateway.upstreams import Call
from skillopt.sim.model import SimUpstream
from tests.services.service import Scenario
from tests.services.wire import Answer, Asked, good, refused

CLAUDE_TOKEN = "sk-ant-oat01-Marker_0815-abcdefghijklmnopqrstuvwxyz0123456789AAAA"
SCOPE = "openid profile email offline_access resource.invoke chatgpt.tokens.use.direct"
REFUSED = frozenset(
    {
        "background", "conversation", "max_output_tokens", "max_tool_calls", "metadata",
        "moderation", "multi_agent", "previous_response_id", "prompt", "prompt_cache_retention",
        "safety_identifier", "temperature", "top_logprobs", "top_p", "truncation", "user",
    }
)  # fmt: skip
"""Fields that the page preview-limitations names."""


@dataclass
class Tokens:
    """ChatGPT's sign-in. ``access_s`` is how long an access token is valid."""

    access_s: float = 3600.0
    scope: str = SCOPE
    valid: set[str] = field(default_factory=set)
    refresh: str = ""
    refreshed: int = 0
    ended: bool = False
    revoked: list[str] = field(default_factory=list)
    asked: list[Mapping[str, str]] = field(default_factory=list)
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    url: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)
    slow_s: float = 0.0

    def authorized(self, asked: dict[str, str]) -> str:
        """Where the browser is led to, after its user has agreed."""
        self.asked.append(asked)
        code = secrets.token_urlsafe(8)
        self.codes[code] = asked
        told = {"code": code, "state": asked["state"]}
        if asked["client_id"] == "dynamic_agent_client":
            told["client_id"] = "oaiapp_issued"
        return f"{asked['redirect_uri']}?{urlencode(told)}"

    def token(self, form: Mapping[str, str]) -> tuple[int, dict[str, Any]]:
        with self.lock:
            time.sleep(self.slow_s)
            if form.get("resource") != "https://api.openai.com/v1":
                return 400, {"error": "invalid_target"}
            if form["client_id"] != "oaiapp_issued":
                return 400, {"error": "invalid_client"}
            nonce = ""
            if form["grant_type"] == "authorization_code":
                asked = self.codes.pop(form["code"], None)
                digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
                challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
                if asked is None or asked["code_challenge"] != challenge:
                    return 400, {"error": "invalid_grant"}
                if asked["redirect_uri"] != form["redirect_uri"]:
                    return 400, {"error": "invalid_grant"}
                nonce, self.ended = asked["nonce"], False
            elif self.ended or form["refresh_token"] != self.refresh:
                self.ended = True  # One that is used twice ends the sign-in.
                self.valid.clear()
                return 400, {"error": {"code": "refresh_token_reused", "message": "used twice"}}
            else:
                self.refreshed += 1
            return 200, self._new(nonce)

    def _new(self, nonce: str) -> dict[str, Any]:
        access = f"marker-access-{secrets.token_urlsafe(16)}"
        self.refresh = f"marker-refresh-{secrets.token_urlsafe(16)}"
        self.valid = {access}
        claims = {
            "iss": "https://auth.openai.com", "aud": "oaiapp_issued", "sub": "user-1",
            "email": "someone@example.org", "exp": time.time() + 300, "nonce": nonce,
        }  # fmt: skip
        parts = [json.dumps(part).encode() for part in ({"alg": "RS256"}, claims)]
        head, body = (base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)
        return {
            "access_token": access, "refresh_token": self.refresh, "expires_in": self.access_s,
            "id_token": f"{head}.{body}.x", "scope": self.scope, "token_type": "Bearer",
        }  # fmt: skip

    def revoke(self, form: Mapping[str, str]) -> int:
        self.revoked.append(form["token"])
        self.ended = True
        self.valid.clear()
        return 200


@contextmanager
def signing_in(patch: pytest.MonkeyPatch, **options: Any) -> Iterator[Tokens]:
    """ChatGPT's sign-in on loopback, to which the package's addresses are led."""
    import chatgpt_plan_auth.auth

    import harnesses.accounts.chatgpt

    tokens = Tokens(**options)

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            """Nothing on the terminal."""

        def do_GET(self) -> None:
            asked = {key: values[0] for key, values in parse_qs(urlsplit(self.path).query).items()}
            self.send_response(302)
            self.send_header("location", tokens.authorized(asked))
            self.end_headers()

        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["content-length"])).decode()
            form = dict(parse_qsl(raw))
            revoke = self.path == "/revoke"
            status, body = (tokens.revoke(form), {}) if revoke else tokens.token(form)
            text = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        tokens.url = f"http://127.0.0.1:{server.server_address[1]}"
        patch.setattr(chatgpt_plan_auth.auth, "AUTHORIZE_URL", f"{tokens.url}/authorize")
        patch.setattr(chatgpt_plan_auth.auth, "TOKEN_URL", f"{tokens.url}/token")
        patch.setattr(harnesses.accounts.chatgpt, "REVOKE_URL", f"{tokens.url}/revoke")
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield tokens
        server.shutdown()


def browse(url: str) -> str:
    """Do what a browser and its user do: agree, and follow to the last address, which is returned
    and called if somebody listens there."""
    import httpx2

    with httpx2.Client(follow_redirects=False) as browser:
        last = browser.get(url).headers["location"]
        # If nobody listens, or another test's sign-in that ends just now, the user pastes it.
        with suppress(httpx2.TransportError):
            browser.get(last)
    return str(last)


def chatgpt(scenario: Scenario, tokens: Tokens) -> Scenario:
    """A ChatGPT plan's route before a scenario."""

    def answer(asked: Asked) -> Answer | None:
        if asked.bearer not in tokens.valid:
            return _refused(401, "invalid_user")
        if wrong := unsupported(asked):
            return _refused(400, "unsupported_capability", wrong)
        return scenario(asked)

    return answer


def unsupported(asked: Asked) -> str:
    """What the route does not take of a request; empty if it takes it."""
    body = asked.body
    if asked.protocol != "responses":
        return "only Responses"
    if body.get("store") is not False or body.get("stream") is not True:
        return "store and stream"
    if found := REFUSED & set(body):
        return f"fields {sorted(found)}"
    if not isinstance(body.get("input"), list):
        return "input is no array"
    if any(item.get("role") == "system" for item in asked.items):
        return "a system item"
    given = [t for i in asked.items if i.get("type") == "additional_tools" for t in i["tools"]]
    kinds = {tool.get("type") for tool in given}
    kinds |= {inner.get("type") for tool in given for inner in tool.get("tools", ())}
    if not kinds <= {"function", "custom", "namespace"}:
        return f"tools {kinds}"
    if any(tool.get("type") != "namespace" for tool in body.get("tools") or []):
        return "tools outside of a namespace"
    return ""


def _refused(status: int, kind: str, message: str = "no", **headers: str) -> Answer:
    return refused(status, message, code=f"subscription_sharing_{kind}", **headers)


def usage_limit(**headers: str) -> Answer:
    """A ChatGPT plan's refusal when its limit is reached."""
    return _refused(429, "usage_limit_exceeded", "Plan usage limit reached", **headers)


def given_tools(asked: Asked) -> Asked:
    """A request with the tools of its ``additional_tools`` items where other services have them."""
    tools = [t for i in asked.items if i.get("type") == "additional_tools" for t in i["tools"]]
    return Asked(asked.protocol, {**asked.body, "tools": tools}, asked.number, asked.headers)


def simulated(asked: Asked) -> Answer:
    """The simulated model, as agent and as optimizer, the same for the same requests."""
    shown = given_tools(asked)
    items = [item for item in shown.items if item.get("type") != "additional_tools"]
    body = {**shown.body, "input": items}

    async def answered() -> Answer:
        call = Call("responses", "/v1/responses", body, {}, seed=1)
        found = await SimUpstream(harm=0.0).send(call)
        raw = b"".join([chunk async for chunk in found.chunks])
        return Answer(found.status, raw, found.content_type)

    return asyncio.run(answered())


def agent(asked: Asked) -> Answer:
    """A model that solves the task with the tools of its ``additional_tools``."""
    return good(given_tools(asked))


@dataclass
class Window:
    """A Claude plan's window of ``calls`` calls. When it is full, it resets after some seconds."""

    calls: int
    seconds: float
    name: str = "5h"
    used: int = 0
    refusals: int = 0
    ends: float = field(default_factory=lambda: time.time() + 18000)

    def admits(self) -> bool:
        """Whether there is room for one more call, which is then used."""
        if time.time() >= self.ends:
            self.used, self.ends = 0, time.time() + 18000
        if self.used >= self.calls:
            self.refusals += 1
            return False
        self.used += 1
        if self.used == self.calls:
            self.ends = time.time() + self.seconds
        return True

    def headers(self, rejected: bool) -> dict[str, str]:
        claim = {"5h": "five_hour", "7d": "seven_day"}[self.name]
        unified = "anthropic-ratelimit-unified"
        return {
            f"{unified}-status": "rejected" if rejected else "allowed",
            f"{unified}-reset": str(self.ends),
            f"{unified}-representative-claim": claim,
            f"{unified}-{self.name}-status": "rejected" if rejected else "allowed",
            f"{unified}-{self.name}-reset": str(self.ends),
            f"{unified}-{self.name}-utilization": str(min(1.0, self.used / self.calls)),
            f"{unified}-overage-status": "rejected",
            "anthropic-organization-id": "org-of-the-user",
            "request-id": "req_4711",
        }


def claude(scenario: Scenario, window: Window) -> Scenario:
    """Anthropic's Messages for a Claude plan before a scenario."""

    def answer(asked: Asked) -> Answer | None:
        if asked.bearer != CLAUDE_TOKEN or "x-api-key" in asked.headers:
            return refused(401, "OAuth authentication is required", "authentication_error")
        if "oauth-2025-04-20" not in asked.headers.get("anthropic-beta", ""):
            return refused(401, "OAuth is not supported without its beta", "authentication_error")
        if not window.admits():
            text = "This request would exceed your account's rate limit. Please try again later."
            answer = refused(429, text, "rate_limit_error")
            return Answer(429, answer.body, headers=window.headers(rejected=True))
        found = scenario(asked)
        if found is None:
            return None
        headers = {**found.headers, **window.headers(rejected=False)}
        return Answer(found.status, found.body, found.content_type, headers)

    return answer

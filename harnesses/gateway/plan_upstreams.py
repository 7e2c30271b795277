"""Model services that are paid by a person's plan instead of a key.

A ChatGPT plan is used with tokens that this process holds; a Claude plan only by Claude Code
itself, which has its user's token and whose traffic passes as it is.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

from harnesses.accounts.vault import AccountError, AccountUnreachableError
from harnesses.gateway.headers import request_headers
from harnesses.gateway.plan_route import on_chatgpt_plan
from harnesses.gateway.upstreams import (
    Answer,
    Call,
    HttpUpstream,
    UnusableUpstreamError,
    Upstream,
    UpstreamError,
    answer_of,
)
from sandboxes.errors import SkillOptError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

Login = Literal["chatgpt", "claude-plan"]
LOGINS: tuple[Login, ...] = ("chatgpt", "claude-plan")
CLAUDE_TOKEN = "CLAUDE_CODE_OAUTH_TOKEN"
"""The variable that Claude Code reads the token of ``claude setup-token`` from."""
CLAUDE_CODE = "claude-code"
"""The only program that may use a Claude plan."""
CLAUDE_ONLY = (
    "a Claude plan is for Claude Code itself: Anthropic's terms let no other program use it, nor "
    "calls of our own; use an API key (key_env) for this"
)
"""Why other programs are refused (code.claude.com/docs/en/legal-and-compliance, 2026-08-22)."""

HOLDS_TOKEN = "with a Claude plan the agent's container holds your token"
CONTAINER_HOLDS_TOKEN = (
    f"{HOLDS_TOKEN}: it gets no network, and no image is made of it for a verifier"
)


class PlanError(SkillOptError):
    """A plan may not be used in this way."""

    exit_code = 2


class TokenSource(Protocol):
    """Where access tokens come from. Raises AccountError."""

    async def token(self) -> str:
        """One that is valid."""

    async def renewed(self, refused: str) -> str:
        """Another one, in place of one that was refused."""


@dataclass(kw_only=True)
class ChatGptPlan(HttpUpstream):
    """OpenAI's Responses for a ChatGPT plan.

    Args:
        tokens: of the signed-in user.
    """

    tokens: TokenSource
    login: Login = "chatgpt"
    _token: str = field(default="", repr=False)

    adapt = staticmethod(on_chatgpt_plan)

    def secrets(self) -> tuple[str, ...]:
        return (self._token,) if self._token else ()

    async def _key(self) -> str:
        try:
            self._token = await self.tokens.token()
        except AccountError as error:
            raise _as_upstream(error) from error
        return self._token

    async def send(self, call: Call) -> Answer:
        used = await self._key()
        answer = await self._sent(call, used)
        if answer.status != 401:
            return answer
        # It may have been revoked, or renewed elsewhere: by another call, too.
        await _closed(answer)
        try:
            self._token = await self.tokens.renewed(used)
        except AccountError as error:
            raise _as_upstream(error) from error
        return await self._sent(call, self._token)


@dataclass(kw_only=True)
class ClaudePlan(HttpUpstream):
    """Anthropic's Messages for a Claude plan: sends what Claude Code has written, and its token.

    ``key_env`` is the variable with the token, which is only compared with what the program sends.
    """

    login: Login = "claude-plan"

    async def send(self, call: Call) -> Answer:
        if not call.bearer or call.raw is None:
            raise UnusableUpstreamError(CLAUDE_ONLY)
        headers = request_headers(call.headers) | {
            "accept-encoding": "identity",
            "authorization": f"Bearer {call.bearer}",
            "content-type": "application/json",
        }
        limit = max(self.timeout_s, call.silence_s or 0.0)
        _, mark, query = call.path.partition("?")
        url = self._url(call) + mark + query
        return await answer_of(self._client(), url, headers, call.raw, limit, call.bearer)


@dataclass(frozen=True)
class ProgramToken:
    """The token of a plan, for the one program that may have it.

    Args:
        variable: by which the program gets it.
    """

    variable: str
    value: str = field(repr=False)

    def fits(self, given: str) -> bool:
        """Whether a request has it."""
        return hmac.compare_digest(self.value.encode(), given.encode())


def login_of(upstream: Upstream) -> str:
    """The login that pays for the calls of an upstream; empty if a key does, or nobody."""
    return str(getattr(upstream, "login", "") or "")


def program_token(upstream: Upstream, program: str) -> ProgramToken | None:
    """The token that a program sends by itself; None if the gateway adds the key.

    Args:
        upstream: that the program uses.
        program: name of the harness; empty for calls of this process.

    Raises:
        PlanError: the program may not use it, or there is no token.
    """
    if login_of(upstream) != "claude-plan":
        return None
    if program != CLAUDE_CODE:
        raise PlanError(CLAUDE_ONLY)
    return ProgramToken(CLAUDE_TOKEN, token_in(_variable(upstream)))


def token_in(variable: str) -> str:
    """The token of ``claude setup-token`` in an environment variable; raises PlanError."""
    value = os.environ.get(variable, "").strip()
    if not value:
        raise PlanError(
            f"environment variable {variable} is not set: run 'claude setup-token' and put the "
            "token there"
        )
    if len(value) < 20 or not value.isascii() or not value.isprintable() or " " in value:
        raise PlanError(
            f"environment variable {variable} does not have a token in it: run 'claude "
            "setup-token' and put only the token there"
        )
    return value


def _variable(upstream: Upstream) -> str:
    """The environment variable with the token of a Claude plan."""
    return getattr(upstream, "key_env", "") or CLAUDE_TOKEN


def secrets_of(upstreams: Iterable[Upstream]) -> list[str]:
    """The tokens that sandboxes of these upstreams get."""
    names = [_variable(u) for u in upstreams if login_of(u) == "claude-plan"]
    return [value for name in names if (value := os.environ.get(name, "").strip())]


async def _closed(answer: Answer) -> None:
    chunks: AsyncGenerator[bytes] = answer.chunks  # type: ignore[assignment]  # _chunks makes it
    await chunks.aclose()


def _as_upstream(error: AccountError) -> UpstreamError:
    kind = UpstreamError if isinstance(error, AccountUnreachableError) else UnusableUpstreamError
    return kind(str(error))

"""Upstreams, which model calls go to: their protocol, and model services over HTTP.

The simulated model is an upstream too, but knows of training, so it is in :mod:`skillopt.sim`.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

from harnesses.gateway.addresses import (
    ANTHROPIC_VERSION,
    KINDS,
    address,
    fitted_body,
    key_headers,
)
from harnesses.gateway.cloud_logins import AwsLogin, CloudLoginError, GoogleLogin
from harnesses.gateway.fast_streams import gathered, watch
from harnesses.gateway.headers import request_headers
from harnesses.gateway.refused_parts import RefusedParts
from harnesses.protocols.base import ProtocolName
from sandboxes.errors import SkillOptError

if TYPE_CHECKING:
    import httpx2


T = TypeVar("T")


class UpstreamError(SkillOptError):
    """The model service could not be reached, or broke off. Another try may succeed."""

    exit_code = 3


class UnusableUpstreamError(UpstreamError):
    """The upstream cannot be used as it is set up: no try will succeed."""

    exit_code = 2


@dataclass(frozen=True)
class Call:
    """One model call for an upstream. ``path`` is the client's, from ``/v1`` on."""

    protocol: ProtocolName
    path: str
    body: Mapping[str, Any]
    headers: Mapping[str, str]
    seed: int
    silence_s: float | None = None
    """Seconds for which the service may be silent; None for the upstream's own limit."""
    raw: bytes | None = None
    """The body as the client wrote it, to be sent as it is; None if it was made here."""
    bearer: str = field(default="", repr=False)
    """The client's own token, which the service gets in place of a key; empty without."""


@dataclass(frozen=True)
class Answer:
    """An upstream's answer. ``chunks`` is read once, and raises UpstreamError if it breaks off."""

    status: int
    content_type: str
    chunks: AsyncIterator[bytes]
    retry_after_s: float | None = None
    """The seconds to wait before the next try, if the upstream knows them."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """The service's headers, with names in lower case."""


class Upstream(Protocol):
    """A model service, with the protocols that it speaks."""

    @property
    def protocols(self) -> frozenset[ProtocolName]: ...

    @property
    def max_concurrency(self) -> int: ...

    async def send(self, call: Call) -> Answer:
        """Send a call; raises UpstreamError if there is no answer at all."""

    async def close(self) -> None: ...


_ERROR_BYTES = 64 * 1024


@dataclass
class HttpUpstream:
    """A service over HTTP. Bodies are not changed, except for what :func:`fitted_body` says.

    Args:
        kind: one of :data:`harnesses.gateway.addresses.KINDS`.
        base_url: see :func:`harnesses.gateway.addresses.address`.
        key_env: environment variable that holds the key; empty for a server without keys, or to use
            the cloud's login. It is read at each call and used for nothing else.
        protocols: that the service speaks.
        api_version: Azure's dated one; empty for its ``v1`` interface.
    """

    kind: str
    base_url: str
    key_env: str
    protocols: frozenset[ProtocolName]
    max_concurrency: int = 16
    timeout_s: float = 600.0
    api_version: str = ""
    called: str = field(default="", init=False)
    """The address of the last call, without its query."""
    _clients: list[httpx2.AsyncClient] = field(default_factory=list, repr=False)
    _aws: AwsLogin = field(default_factory=AwsLogin, repr=False)
    _google: GoogleLogin = field(default_factory=GoogleLogin, repr=False)
    _refused: RefusedParts = field(default_factory=RefusedParts, repr=False)

    def _client(self) -> httpx2.AsyncClient:
        import httpx2

        if not self._clients:
            self._clients.append(httpx2.AsyncClient())
        return self._clients[0]

    @property
    def cloud_login(self) -> str:
        """The cloud whose login is used in place of a key; empty if there is none."""
        return "" if self.key_env else KINDS[self.kind].login

    async def _key(self) -> str:
        if self.cloud_login == "google":
            return await _logged_in(asyncio.to_thread(self._google.token))
        if not self.key_env:
            return ""
        key = os.environ.get(self.key_env, "").strip()
        if not key:
            raise UnusableUpstreamError(
                f"environment variable {self.key_env} is not set: put the key there"
            )
        if not key.isascii() or not key.isprintable() or " " in key:
            raise UnusableUpstreamError(
                f"environment variable {self.key_env} contains characters that no key has: "
                "put only the key there"
            )
        return key

    def secrets(self) -> tuple[str, ...]:
        """What no answer may show to a client."""
        key = os.environ.get(self.key_env, "").strip() if self.key_env else ""
        return (key,) if key else ()

    def _headers(self, call: Call, key: str) -> dict[str, str]:
        headers = request_headers(call.headers) | {"accept-encoding": "identity"}
        if self.kind == "vertex":  # It has the version in the body.
            headers.pop("anthropic-version", None)
        elif call.protocol == "messages":
            headers.setdefault("anthropic-version", ANTHROPIC_VERSION)
        return headers | key_headers(self.kind, key)

    def _url(self, call: Call) -> str:
        model, stream = str(call.body.get("model")), bool(call.body.get("stream"))
        return address(self.kind, self.base_url, call.protocol, model, stream, self.api_version)

    async def send(self, call: Call) -> Answer:
        return await self._sent(call, await self._key())

    async def _sent(self, call: Call, key: str) -> Answer:
        url = self._url(call)
        at = self.called = url.partition("?")[0]
        while True:
            headers = self._refused.headers(self._headers(call, key))
            body = fitted_body(self.kind, call.protocol, call.body)
            body = self._refused.body(call.protocol, body)
            response = await self._response(call, url, headers, body)
            # A service may repeat what it was sent.
            secret = response.request.headers.get("x-amz-security-token", key)
            chunks = _chunks(response, at, secret)
            if response.status_code == 400:
                raw = await _start_of(chunks)
                said = raw.decode("utf-8", "replace")
                if self._refused.learn(call.protocol, said, headers, body):
                    continue
                chunks = _again(raw)
            named = {name.lower(): value for name, value in response.headers.items()}
            return Answer(response.status_code, _kind(response), chunks, headers=named)

    async def _response(
        self, call: Call, url: str, headers: Mapping[str, str], body: Mapping[str, Any]
    ) -> httpx2.Response:
        """The beginning of an answer; raises UpstreamError if there is none."""
        import httpx2

        at = url.partition("?")[0]
        client, limit = self._client(), max(self.timeout_s, call.silence_s or 0.0)
        request = client.build_request(
            "POST", url, json=body, headers=headers,
            timeout=httpx2.Timeout(limit, connect=10.0), extensions={"trace": watch},
        )  # fmt: skip
        if self.cloud_login == "aws":
            signed = asyncio.to_thread(self._aws.headers, str(request.url), request.content)
            request.headers.update(await _logged_in(signed))
        try:
            return await client.send(request, stream=True)
        except httpx2.ReadTimeout as error:
            raise UpstreamError(f"{at}: no byte of a reply within {limit:g} s") from error
        except httpx2.HTTPError as error:
            raise UpstreamError(
                f"{at}: {type(error).__name__}: {error}; is the service running, and is "
                "base_url right?"
            ) from error

    async def close(self) -> None:
        for client in self._clients:
            await client.aclose()
        self._clients.clear()


async def answer_of(
    client: httpx2.AsyncClient,
    url: str,
    headers: Mapping[str, str],
    body: bytes,
    silence_s: float,
    secret: str,
) -> Answer:
    """A service's answer to a request that is sent as it is.

    Args:
        client: that sends it.
        url: where it goes.
        headers: all that it has.
        body: its bytes.
        silence_s: seconds for which the service may be silent.
        secret: that the answer may not have in it.

    Raises:
        UpstreamError: there is no answer.
    """
    import httpx2

    timeout = httpx2.Timeout(silence_s, connect=10.0)
    request = client.build_request(
        "POST", url, content=body, headers=headers, timeout=timeout, extensions={"trace": watch}
    )
    try:
        response = await client.send(request, stream=True)
    except httpx2.HTTPError as error:
        raise UpstreamError(f"{url}: {type(error).__name__}: {error}") from error
    named = {name.lower(): value for name, value in response.headers.items()}
    chunks = _chunks(response, url, secret)
    return Answer(response.status_code, _kind(response), chunks, headers=named)


async def _logged_in(login: Awaitable[T]) -> T:
    """The result of a cloud's login, whose failures become those of the service."""
    try:
        return await login
    except CloudLoginError as error:
        raise (UnusableUpstreamError if error.lasting else UpstreamError)(str(error)) from error


def _kind(response: httpx2.Response) -> str:
    return str(response.headers.get("content-type", "application/json"))


async def _chunks(response: httpx2.Response, url: str, secret: str) -> AsyncGenerator[bytes]:
    """The body of an answer without the key; raises UpstreamError if it breaks off."""
    import httpx2

    without = _Without(secret)
    try:
        async with aclosing(_body(response)) as chunks:
            async for chunk in chunks:
                if plain := without(chunk):
                    yield plain
        if rest := without.rest():
            yield rest
    except httpx2.HTTPError as error:
        raise UpstreamError(f"{url}: stream broke: {type(error).__name__}: {error}") from error
    finally:
        # Whoever is cancelled twice must not leave the request in the library's pool.
        await asyncio.shield(asyncio.ensure_future(response.aclose()))


def _body(response: httpx2.Response) -> AsyncGenerator[bytes]:
    # An answer that is not encoded, as it should be, is read with fewer layers.
    encoded = "content-encoding" in response.headers
    plain = cast("httpx2.AsyncByteStream", response.stream)
    read = response.aiter_bytes() if encoded else plain.__aiter__()
    chunks = cast("AsyncGenerator[bytes]", read)
    if "event-stream" not in _kind(response) or "network_stream" not in response.extensions:
        return chunks
    chunked = response.status_code == 200 and "transfer-encoding" in response.headers
    return gathered(chunks, response.extensions["network_stream"], chunked and not encoded)


async def _start_of(chunks: AsyncGenerator[bytes]) -> bytes:
    """The first bytes of an answer, which is then closed."""
    raw = b""
    async with aclosing(chunks):
        async for chunk in chunks:
            raw += chunk
            if len(raw) > _ERROR_BYTES:
                break
    return raw


async def _again(raw: bytes) -> AsyncGenerator[bytes]:
    yield raw


class _Without:
    """Cuts the key out of an answer, as a service may repeat it.

    Args:
        secret: the key; empty if there is none.
    """

    def __init__(self, secret: str) -> None:
        self._key, self._rest = secret.encode(), b""

    def __call__(self, chunk: bytes) -> bytes:
        """What can be passed on once this has come."""
        if not self._key:
            return chunk
        text = (self._rest + chunk).replace(self._key, b"[key]")
        end = self._begin(text)
        self._rest = text[end:]
        return text[:end]

    def _begin(self, text: bytes) -> int:
        """Where what may be the beginning of the key begins at the end of a text."""
        at = max(0, len(text) - len(self._key) + 1)
        while (at := text.find(self._key[:1], at)) >= 0:
            if self._key.startswith(text[at:]):
                return at
            at += 1
        return len(text)

    def rest(self) -> bytes:
        """What is left at the end."""
        return self._rest


def refused_advice(status: int, text: str, model: str, upstream: Upstream) -> str:
    """The message for a service that answered 401, 403 or 404, with advice."""
    answer = f"status {status}: {text}"
    if status == 404:
        called = getattr(upstream, "called", "")
        at = f" at {called}" if called else ""
        return (
            f"model service{at} does not know {model!r} or has no such address: {answer}; check "
            "the model's name (for Azure that of the deployment) and base_url"
        )
    if cloud := getattr(upstream, "cloud_login", ""):
        return f"model service refused the {cloud} login: {answer}; check its permissions"
    key = getattr(upstream, "key_env", "")
    advice = f"check the key in {key}" if key else "set key_env to the variable that holds the key"
    return f"model service refused the key: {answer}; {advice}, and its permissions"


def refused_request(status: int, text: str, reply_tokens: bool) -> str:
    """The message for a service that refused a request for no fault of the agent's."""
    advice = ""
    if reply_tokens:
        advice = "; ask for fewer tokens of a reply: set max_tokens in target.sampling"
    return f"model service refused the request: status {status}: {text}{advice}"

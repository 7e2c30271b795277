"""The heads of HTTP requests that the proxy passes on: reading, checking and rewriting them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from sandboxes.access import literal
from sandboxes.errors import SkillOptError

_MAX_HEAD = 16 * 1024
_CHUNK = 64 * 1024
_OWN_HEADERS = (
    b"host", b"connection", b"keep-alive", b"proxy-connection", b"proxy-authorization", b"upgrade",
    b"http2-settings",
)  # fmt: skip
"""Headers that are about one connection, or are set anew. An upgrade could change the host."""


class RefusedError(SkillOptError):
    """Something that the proxy does not do; the message says why.

    Args:
        why: the message.
        answer: bytes for the client; by default an HTTP response with status 403.
    """

    def __init__(self, why: str, answer: bytes | None = None) -> None:
        super().__init__(why)
        self.answer = response(403, why) if answer is None else answer


@dataclass(frozen=True)
class Target:
    """Where a request goes. ``path`` has the query in it, and is empty for CONNECT."""

    host: str
    port: int
    path: str = ""


def response(status: int, text: str) -> bytes:
    """A response of the proxy's own, after which the connection ends."""
    body = (text + "\n").encode()
    head = f"HTTP/1.1 {status} Refused\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode() + body


async def read_head(reader: asyncio.StreamReader, start: bytes = b"") -> tuple[Any, bytes]:
    """A request's head, and what was received after it.

    Args:
        reader: the client.
        start: what was received before.

    Raises:
        RefusedError: it is no HTTP/1 request.
    """
    import h11

    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=_MAX_HEAD)
    data = start or await reader.read(_CHUNK)
    while data:
        try:
            connection.receive_data(data)
            event = connection.next_event()
        except h11.RemoteProtocolError as error:
            raise RefusedError(f"not an HTTP request: {error}") from error
        if isinstance(event, h11.Request):
            return event, connection.trailing_data[0]
        data = await reader.read(_CHUNK)
    raise RefusedError("the request was broken off")


def target_of(request: Any) -> Target:
    """Where a request to a proxy goes.

    Raises:
        RefusedError: it is neither CONNECT nor has an ``http://`` address.
    """
    text = request.target.decode("ascii", "replace")
    try:
        if request.method == b"CONNECT":
            return Target(*_host_and_port(text, 443))
        parts = urlsplit(text)
        if parts.scheme != "http" or not parts.hostname:
            raise RefusedError("only http:// addresses and CONNECT are served")
        query = f"?{parts.query}" if parts.query else ""
        return Target(*_host_and_port(parts.netloc, 80), (parts.path or "/") + query)
    except ValueError as error:
        raise RefusedError(f"{text[:80]!r} is no address: {error}") from error


def inner_target(request: Any, tunnel: Target) -> Target:
    """Where a request inside a tunnel goes: to the tunnel's host, or it is refused.

    Raises:
        RefusedError: its address is at another host.
    """
    text = request.target.decode("ascii", "replace")
    if text.startswith("/") or (text == "*" and request.method == b"OPTIONS"):
        return Target(tunnel.host, tunnel.port, text)
    found = target_of(request)
    if request.method == b"CONNECT" or (found.host, found.port) != (tunnel.host, tunnel.port):
        raise RefusedError(f"a request for {found.host} in a tunnel to {tunnel.host}")
    return found


def check_host(request: Any, target: Target) -> None:
    """Refuse a request whose ``Host`` header names another host than its address.

    Raises:
        RefusedError: it does.
    """
    for key, value in request.headers:
        if key == b"host":
            text = value.decode("ascii", "replace")
            try:
                named = _host_and_port(text, 80)
            except ValueError:
                named = ("", 0)
            if named != (target.host, target.port) or "@" in text:
                wanted = f"{target.host}:{target.port}"
                raise RefusedError(f"the Host header names {text[:80]!r}, the address {wanted}")


def rewritten(request: Any, target: Target) -> bytes:
    """A request as its server wants it: for this connection alone, to the host that was checked."""
    name = f"[{target.host}]" if ":" in target.host else target.host
    lines = [b"%s %s HTTP/1.1" % (request.method, target.path.encode("ascii", "replace"))]
    lines.append(f"Host: {name if target.port == 80 else f'{name}:{target.port}'}".encode())
    lines += [b"%s: %s" % header for header in request.headers if header[0] not in _OWN_HEADERS]
    return b"\r\n".join([*lines, b"Connection: close", b"", b""])


def _host_and_port(text: str, usual_port: int) -> tuple[str, int]:
    parts = urlsplit(f"//{text}")
    return literal((parts.hostname or "").lower()), parts.port or usual_port

"""Writes a stream's parts to its client, past the layers that look at the beginning of an answer.

The framework's wrappers and the server's own HTTP library take longer for a part than its way
through the kernel, and change nothing in it but for its frame.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

Write = Callable[[bytes], Awaitable[None]]

_SEND = "skillopt.send"
"""The key in a scope of the server's own function to send."""


def with_servers_send(app: ASGIApp) -> ASGIApp:
    """An application whose scopes have the server's own function to send."""

    async def noting(scope: Scope, receive: Receive, send: Send) -> None:
        scope[_SEND] = send
        await app(scope, receive, send)

    return noting


def writer(scope: Scope, send: Send, head: Sequence[tuple[bytes, bytes]]) -> Write:
    """A function that writes a part of an answer's body, once its head has been sent.

    Args:
        scope: of the request.
        send: as the application got it; used if the server is none that is known.
        head: the headers of the answer, with names in lower case.
    """
    from uvicorn.protocols.http.h11_impl import RequestResponseCycle

    cycle = getattr(scope.get(_SEND), "__self__", None)
    # Else the body has another frame than chunks, or none (RFC 9112, 6.3).
    chunked = scope.get("http_version") == "1.1" and scope.get("method") != "HEAD"
    if any(name in (b"content-length", b"transfer-encoding") for name, _ in head):
        chunked = False
    if not isinstance(cycle, RequestResponseCycle) or not chunked:

        async def sent(part: bytes) -> None:
            await send({"type": "http.response.body", "body": part, "more_body": True})

        return sent

    async def written(part: bytes) -> None:
        if cycle.flow.write_paused and not cycle.disconnected:
            await cycle.flow.drain()
        if part and not cycle.disconnected:
            cycle.transport.write(b"%x\r\n%b\r\n" % (len(part), part))

    return written

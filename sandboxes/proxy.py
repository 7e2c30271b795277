"""A filtering proxy, by which a sandbox without a network reaches single hosts outside.

It runs in this process and listens on a Unix socket that a relay forwards to, so that sandboxes
still have no network of their own. HTTPS by CONNECT, and plain HTTP; nothing else passes.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import threading
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sandboxes.access import HostRule, Visit
from sandboxes.serving import pass_on, served

MAX_CONNECTIONS = 64
MAX_HEAD = 16 * 1024
HEAD_S, CONNECT_S, IDLE_S = 10.0, 10.0, 120.0
_CHUNK = 64 * 1024


class _RefusedError(Exception):
    """A request that is answered with status 403; the message says why."""


@dataclass
class Proxy:
    """A proxy on a Unix socket. A context manager.

    Args:
        socket: path to make; its folder exists.
        rules: the hosts that may be reached.
    """

    socket: Path
    rules: Sequence[HostRule]
    _visits: list[Visit] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _stack: ExitStack = field(default_factory=ExitStack)
    _slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MAX_CONNECTIONS))

    def __enter__(self) -> Proxy:
        self._stack.callback(self.socket.unlink, missing_ok=True)
        try:
            self._stack.enter_context(served(self._listen, f"proxy on {self.socket}"))
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    def take_visits(self) -> list[Visit]:
        """The visits since the last call."""
        with self._lock:
            visits, self._visits = self._visits, []
        return visits

    async def _listen(self) -> asyncio.Server:
        server = await asyncio.start_unix_server(self._client, self.socket)
        self.socket.chmod(0o666)
        return server

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with self._slots:
                await self._answer(reader, writer)
        except _RefusedError as refused:
            await _say(writer, 403, str(refused))
        except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
            await _say(writer, 502, f"{type(error).__name__}: {error}")
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(HEAD_S):
            request, rest = await _read_head(reader)
        connect = request.method == b"CONNECT"
        host, port, path = _target(request)
        try:
            addresses = await self._allowed(host, port)
        except _RefusedError as refused:
            self._note(Visit(host, port, str(refused)))
            raise
        try:
            async with asyncio.timeout(CONNECT_S):
                far_reader, far_writer = await _connect(addresses, port)
        except (OSError, TimeoutError) as error:
            self._note(Visit(host, port, failed=f"no connection: {type(error).__name__}: {error}"))
            raise
        self._note(Visit(host, port))
        try:
            if connect:
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                far_writer.write(_rewritten(request, host, port, path))
            far_writer.write(rest)
            await asyncio.gather(
                pass_on(reader, far_writer, IDLE_S), pass_on(far_reader, writer, IDLE_S)
            )
        finally:
            far_writer.close()

    async def _allowed(self, host: str, port: int) -> list[str]:
        """The addresses of a host that may be reached.

        Raises:
            _RefusedError: the host may not be reached, or has no such address.
        """
        rule = next((rule for rule in self.rules if rule.allows(host, port)), None)
        if rule is None:
            raise _RefusedError(f"{host}:{port} is not on this sandbox's list of hosts")
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise _RefusedError(f"{host} has no address: {error}") from error
        addresses = [str(entry[4][0]) for entry in found]
        allowed = [address for address in addresses if _outside(address, rule)]
        if not allowed:
            raise _RefusedError(f"{host} leads to this machine or its network, not outside")
        return allowed

    def _note(self, visit: Visit) -> None:
        with self._lock:
            self._visits.append(visit)


def _outside(address: str, rule: HostRule) -> bool:
    """Whether a rule allows an address: this machine and its neighbours only if the rule is their
    address; private networks only if it is a full name."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    if rule.name == address:
        return True
    if parsed.is_loopback or parsed.is_link_local or parsed.is_multicast or parsed.is_unspecified:
        return False
    return parsed.is_global or not rule.name.startswith("*.")


async def _read_head(reader: asyncio.StreamReader) -> tuple[Any, bytes]:
    """The request's head, and what was received after it."""
    import h11

    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD)
    while True:
        try:
            event = connection.next_event()
        except h11.RemoteProtocolError as error:
            raise _RefusedError(f"not an HTTP request: {error}") from error
        if isinstance(event, h11.Request):
            return event, connection.trailing_data[0]
        data = await reader.read(_CHUNK)
        if not data:
            raise _RefusedError("the request was broken off")
        connection.receive_data(data)


def _target(request: Any) -> tuple[str, int, str]:
    """The host, port and path of a request."""
    text = request.target.decode("ascii", "replace")
    try:
        if request.method == b"CONNECT":
            parts = urlsplit(f"//{text}")
            return (parts.hostname or "").lower(), parts.port or 443, ""
        parts = urlsplit(text)
        if parts.scheme != "http" or not parts.hostname:
            raise _RefusedError("only http:// addresses and CONNECT are served")
        path = parts.path or "/"
        return (
            parts.hostname.lower(),
            parts.port or 80,
            f"{path}?{parts.query}" if parts.query else path,
        )
    except ValueError as error:
        raise _RefusedError(f"{text[:80]!r} is no address: {error}") from error


def _rewritten(request: Any, host: str, port: int, path: str) -> bytes:
    """A request as its server wants it: for this connection alone, to the host that was checked."""
    name = f"[{host}]" if ":" in host else host
    lines = [b"%s %s HTTP/1.1" % (request.method, path.encode("ascii", "replace"))]
    lines.append(f"Host: {name if port == 80 else f'{name}:{port}'}".encode())
    for key, value in request.headers:
        if key not in (b"host", b"connection", b"proxy-connection", b"proxy-authorization"):
            lines.append(b"%s: %s" % (key, value))
    return b"\r\n".join([*lines, b"Connection: close", b"", b""])


async def _connect(
    addresses: Sequence[str], port: int
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection to the first address that answers."""
    error: OSError = OSError("no address")
    for address in addresses:
        try:
            return await asyncio.open_connection(address, port)
        except OSError as failed:
            error = failed
    raise error


async def _say(writer: asyncio.StreamWriter, status: int, text: str) -> None:
    """Send an answer of the proxy's own, unless the client is gone."""
    body = (text + "\n").encode()
    head = f"HTTP/1.1 {status} Refused\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    with suppress(OSError):
        writer.write(head.encode() + body)
        await writer.drain()

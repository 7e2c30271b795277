"""A filtering proxy: what a sandbox without a network may reach of the outside, host by host.

It runs in this process and listens on a Unix socket that a relay forwards to, so that sandboxes
still have no network of their own. HTTPS by CONNECT, and plain HTTP; nothing else passes.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sandboxes.base import SandboxError

REGISTRIES = (
    "pypi.org", "files.pythonhosted.org", "registry.npmjs.org", "deb.debian.org",
    "security.debian.org", "archive.ubuntu.com", "security.ubuntu.com", "index.crates.io",
    "static.crates.io", "proxy.golang.org", "sum.golang.org", "rubygems.org",
    "repo.maven.apache.org", "repo1.maven.org",
)  # fmt: skip
"""Hosts of the public package registries."""

MAX_CONNECTIONS = 64
MAX_HEAD = 16 * 1024
HEAD_S, CONNECT_S, IDLE_S = 10.0, 10.0, 120.0
_CHUNK = 64 * 1024
_RULE = re.compile(r"^(?P<name>(\*\.)?[a-z0-9._-]+|\[[0-9a-f:]+\])(:(?P<port>\d{1,5}))?$")
_WEB = (80, 443)


@dataclass(frozen=True)
class HostRule:
    """One entry of an allow-list: ``host``, ``*.domain`` or an address, with or without a port;
    without one, the ports of HTTP and HTTPS."""

    name: str
    port: int | None = None

    @classmethod
    def parse(cls, text: str) -> HostRule:
        """Raises ValueError for what is no such entry."""
        found = _RULE.match(text.lower())
        port = int(found["port"]) if found and found["port"] else None
        if found is None or (port is not None and not 0 < port < 65536):
            raise ValueError(f"{text!r} is not a host, like pypi.org, *.example.org or host:8080")
        return cls(found["name"].strip("[]"), port)

    def allows(self, host: str, port: int) -> bool:
        if port != self.port and (self.port is not None or port not in _WEB):
            return False
        if self.name.startswith("*."):
            return host.endswith(self.name[1:])
        return host == self.name


@dataclass(frozen=True)
class Visit:
    """One wish of a sandbox to reach something, and what became of it."""

    host: str
    port: int
    refused: str = ""
    """Why; empty when it was allowed."""


class _RefusedError(Exception):
    """What is answered with status 403; the message says why."""


@dataclass
class Proxy:
    """A proxy on a Unix socket. A context manager.

    Args:
        socket: path to make; its folder exists.
        rules: what may be reached.
    """

    socket: Path
    rules: Sequence[HostRule]
    _visits: list[Visit] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _loop: asyncio.AbstractEventLoop | None = None
    _thread: threading.Thread | None = None
    _slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MAX_CONNECTIONS))

    def __enter__(self) -> Proxy:
        ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._serve, args=(self._loop, ready), name="proxy", daemon=True
        )
        self._thread.start()
        if not ready.wait(10) or not self.socket.exists():
            raise SandboxError(f"the proxy cannot listen on {self.socket}")
        return self

    def __exit__(self, *exc: object) -> None:
        if self._loop is not None and self._thread is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(10)
        self.socket.unlink(missing_ok=True)

    def take_visits(self) -> list[Visit]:
        """Those since the last call."""
        with self._lock:
            visits, self._visits = self._visits, []
        return visits

    def _serve(self, loop: asyncio.AbstractEventLoop, ready: threading.Event) -> None:
        asyncio.set_event_loop(loop)
        try:
            server = loop.run_until_complete(asyncio.start_unix_server(self._client, self.socket))
            self.socket.chmod(0o666)
            ready.set()
            loop.run_forever()
            server.close()
            for task in asyncio.all_tasks(loop):
                task.cancel()
            loop.run_until_complete(asyncio.sleep(0))
        finally:
            ready.set()
            loop.close()

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
        self._note(Visit(host, port))
        async with asyncio.timeout(CONNECT_S):
            far_reader, far_writer = await _connect(addresses, port)
        try:
            if connect:
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                far_writer.write(_rewritten(request, host, port, path))
            far_writer.write(rest)
            await asyncio.gather(_pass(reader, far_writer), _pass(far_reader, writer))
        finally:
            far_writer.close()

    async def _allowed(self, host: str, port: int) -> list[str]:
        """The addresses of a host that may be reached.

        Raises:
            _RefusedError: it may not, or has no address that may.
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
    """Whether an address may be reached by a rule: this machine and its neighbours only where the
    list names them by address; private networks only by a full name."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    if rule.name == address:
        return True
    if parsed.is_loopback or parsed.is_link_local or parsed.is_multicast or parsed.is_unspecified:
        return False
    return parsed.is_global or not rule.name.startswith("*.")


async def _read_head(reader: asyncio.StreamReader) -> tuple[Any, bytes]:
    """The request's head, and what came with it."""
    import h11

    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD)
    while True:
        try:
            event = connection.next_event()
        except h11.RemoteProtocolError as error:
            raise _RefusedError(f"not a request of HTTP: {error}") from error
        if isinstance(event, h11.Request):
            return event, connection.trailing_data[0]
        data = await reader.read(_CHUNK)
        if not data:
            raise _RefusedError("the request was broken off")
        connection.receive_data(data)


def _target(request: Any) -> tuple[str, int, str]:
    """Host, port and path that a request asks for."""
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
    """A request as its server wants it: one for this connection, to the host that was checked."""
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


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Bytes from one side to the other until it ends, or is idle for too long."""
    try:
        while True:
            async with asyncio.timeout(IDLE_S):
                data = await reader.read(_CHUNK)
            if not data:
                break
            writer.write(data)
            await writer.drain()
    finally:
        if writer.can_write_eof():
            with suppress(OSError):
                writer.write_eof()


async def _say(writer: asyncio.StreamWriter, status: int, text: str) -> None:
    """An answer of the proxy's own; whoever has gone does not get it."""
    body = (text + "\n").encode()
    head = f"HTTP/1.1 {status} Refused\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    with suppress(OSError):
        writer.write(head.encode() + body)
        await writer.drain()

"""A filtering proxy, by which a sandbox without a network reaches single hosts outside.

It runs in this process and listens on a Unix socket that a relay forwards to, so that sandboxes
still have no network of their own. TLS by CONNECT, and plain HTTP; what is spoken in a tunnel must
name the host that was allowed. Other protocols pass only to a port that the list names.
"""

from __future__ import annotations

import asyncio
import re
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from sandboxes.access import (
    PRIVATE,
    SHARED,
    STAND_IN,
    WEB_PORTS,
    Address,
    HostRule,
    Visit,
    not_outside,
    own_addresses,
    read_address,
)
from sandboxes.http_head import (
    RefusedError,
    Target,
    check_host,
    inner_target,
    read_head,
    response,
    rewritten,
    target_of,
)
from sandboxes.serving import pass_on, served, until_stopped
from sandboxes.tls import UNRECOGNIZED_NAME, NotTlsError, read_hello

MAX_CONNECTIONS = 64
HEAD_S, CONNECT_S = 10.0, 10.0
IDLE_S, CROWDED_IDLE_S = 600.0, 60.0
_CHUNK = 64 * 1024
_TLS = b"\x16"
_ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"
_REQUEST_LINE = re.compile(rb"[\r\n]*([!-~]{1,64}([ \t][^\r\n]*)?)?")
"""The start of what may become the first line of an HTTP request; servers are lenient there."""
_HTTP = re.compile(rb"[\r\n]*[!-~]+[ \t][^\r\n]*HTTP/\d", re.IGNORECASE)
_LONGEST_LINE = 16 * 1024


class _UnreachableError(OSError):
    """A host that may be reached does not answer."""


@dataclass(eq=False)
class _Connection:
    """A connection of a client that is being served."""

    task: asyncio.Task[object]
    used: float = field(default_factory=time.monotonic)
    """When a byte passed last."""

    def touch(self) -> None:
        self.used = time.monotonic()


@dataclass
class Proxy:
    """A proxy on a Unix socket, for one sandbox at a time. A context manager.

    Args:
        socket: path to make; its folder exists.
        rules: the hosts that may be reached.
        idle_s: seconds without a byte after which a connection ends.
        crowded_idle_s: the same while others wait for one of the :data:`MAX_CONNECTIONS`.
    """

    socket: Path
    rules: Sequence[HostRule]
    idle_s: float = IDLE_S
    crowded_idle_s: float = CROWDED_IDLE_S
    _visits: list[Visit] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _stack: ExitStack = field(default_factory=ExitStack)
    _slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MAX_CONNECTIONS))
    _open: set[_Connection] = field(default_factory=set)
    _waiting: int = 0
    _tidying: asyncio.Task[None] | None = None

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
        server = await asyncio.start_unix_server(until_stopped(self._client), self.socket)
        self.socket.chmod(0o666)
        self._tidying = asyncio.create_task(self._end_idle())
        return server

    async def _end_idle(self) -> None:
        """End connections on which nothing passes, the quietest first."""
        while True:
            await asyncio.sleep(min(1.0, self.crowded_idle_s / 4))
            now = time.monotonic()
            quietest = sorted(self._open, key=lambda connection: connection.used)
            for place, connection in enumerate(quietest):
                allowed_s = self.crowded_idle_s if place < self._waiting else self.idle_s
                if now - connection.used > allowed_s:
                    connection.task.cancel()

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with self._connection() as connection:
            try:
                await self._answer(reader, writer, connection)
            except RefusedError as refused:
                await _send(writer, refused.answer)
            except _UnreachableError as error:
                await _send(writer, response(502, str(error)))
            except OSError as error:
                await _send(writer, response(502, f"{type(error).__name__}: {error}"))

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[_Connection]:
        """Wait for one of the connections that may be open at a time."""
        self._waiting += 1
        try:
            await self._slots.acquire()
        finally:
            self._waiting -= 1
        task = asyncio.current_task()
        assert task is not None
        connection = _Connection(task)
        self._open.add(connection)
        try:
            yield connection
        finally:
            self._open.discard(connection)
            self._slots.release()

    async def _answer(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connection: _Connection
    ) -> None:
        """Serve one request, or one tunnel with whatever is spoken in it."""
        async with asyncio.timeout(HEAD_S):
            request, rest = await read_head(reader)
        target = target_of(request)
        async with AsyncExitStack() as stack:
            with self._noted(target):
                rule = self._rule(target)
                if request.method != b"CONNECT":
                    check_host(request, target)
                addresses = await self._addresses(target, rule)
                far_reader, far_writer = await _connect(addresses, target.port)
                stack.callback(far_writer.close)
                if request.method == b"CONNECT":
                    writer.write(_ESTABLISHED)
                inward = asyncio.create_task(pass_on(far_reader, writer, connection.touch))
                stack.push_async_callback(_ended, inward)
                if request.method == b"CONNECT":
                    first = await _opening(reader, rest, target, rule)
                else:
                    first = rewritten(request, target) + rest
            with suppress(OSError):  # The other side sees its connection end.
                far_writer.write(first)
                outward = pass_on(reader, far_writer, connection.touch)
                await asyncio.gather(outward, inward)

    @contextmanager
    def _noted(self, target: Target) -> Iterator[None]:
        """Record the visit at the end of the block, and whether it was refused or failed."""
        refused = failed = ""
        try:
            yield
        except RefusedError as error:
            refused = str(error)
            raise
        except _UnreachableError as error:
            failed = f"no connection: {error}"
            raise
        finally:
            with self._lock:
                self._visits.append(Visit(target.host, target.port, refused, failed=failed))

    def _rule(self, target: Target) -> HostRule:
        """The rule that allows a target; raises RefusedError if none does."""
        for rule in self.rules:
            if rule.allows(target.host, target.port):
                return rule
        where = f"{target.host}:{target.port}"
        raise RefusedError(f"{where} is not on this sandbox's list of hosts")

    async def _addresses(self, target: Target, rule: HostRule) -> list[str]:
        """The addresses of a target that may be connected to.

        Raises:
            RefusedError: it has none.
        """
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise RefusedError(f"{target.host} has no address: {error}") from error
        allowed, reasons, own = [], [], own_addresses()
        for text in dict.fromkeys(str(entry[4][0]) for entry in found):
            address = read_address(text)
            reason = "nowhere" if address is None else self._refusal(address, target, rule, own)
            if reason:
                reasons.append(f"{reason} ({text})")
            else:
                allowed.append(text)
        if not allowed:
            raise RefusedError(
                f"{target.host} leads to {', '.join(reasons)}, not outside; an address of a "
                "private network can be reached if the list has it too, one of this machine if it "
                "is used in place of the name"
            )
        return allowed

    def _refusal(
        self, address: Address, target: Target, rule: HostRule, own: frozenset[Address]
    ) -> str:
        """Why an address may not be connected to; empty if it may."""
        reason = not_outside(address, own)
        if rule.address == address:
            return ""
        if reason == STAND_IN and not rule.name.startswith("*."):
            return ""  # Where a transparent proxy is the way outside, every name leads there.
        if reason in (PRIVATE, SHARED) and any(
            rule.allows(str(address), target.port) for rule in self.rules
        ):
            return ""
        return reason


async def _opening(
    reader: asyncio.StreamReader, data: bytes, tunnel: Target, rule: HostRule
) -> bytes:
    """What a client says first in a tunnel, as it is passed on once that may be.

    Args:
        reader: the client.
        data: what was received already.
        tunnel: the tunnel's host and port.
        rule: the rule that allows it.

    Raises:
        RefusedError: it names another host, or none.
    """
    if rule.address is not None:
        return data
    anything = rule.port not in (None, *WEB_PORTS)
    try:
        async with asyncio.timeout(None if anything and not data else HEAD_S):
            while True:
                kind = _protocol(data)
                if kind == "TLS" and _names(data, tunnel):
                    return data
                if kind == "HTTP" and tunnel.port != 443:
                    return await _checked_request(reader, data, tunnel)
                if kind == "other" and anything:
                    return data
                if kind in ("other", "HTTP"):
                    raise RefusedError("a tunnel with something else than TLS in it", b"")
                more = await reader.read(_CHUNK)
                if not more and anything and not data:
                    return data
                if not more:
                    raise RefusedError("the tunnel ended before it named a host", b"")
                data += more
    except TimeoutError as error:
        raise RefusedError(f"nothing that names a host within {HEAD_S:g} s", b"") from error


def _protocol(data: bytes) -> str:
    """The protocol of a client's first bytes: ``TLS``, ``HTTP``, ``other``; empty if more bytes are
    needed to tell."""
    if data[:1] == _TLS:
        return "TLS"
    if _HTTP.match(data):
        return "HTTP"
    if not _REQUEST_LINE.fullmatch(data):
        return "other"
    return "" if len(data) <= _LONGEST_LINE else "HTTP"


def _names(data: bytes, tunnel: Target) -> bool:
    """Whether a TLS hello is complete, and then names the tunnel's host.

    Raises:
        RefusedError: it names another host, none, or one in secret.
    """
    try:
        hello = read_hello(data)
    except NotTlsError as error:
        raise RefusedError(f"{error} in a tunnel to {tunnel.host}", b"") from error
    if hello is None:
        return False
    if hello.encrypted or hello.name != tunnel.host:
        named = "an encrypted name" if hello.encrypted else hello.name or "no name"
        why = f"a TLS hello with {named} in a tunnel to {tunnel.host}"
        raise RefusedError(why, UNRECOGNIZED_NAME)
    return True


async def _checked_request(reader: asyncio.StreamReader, data: bytes, tunnel: Target) -> bytes:
    """A request inside a tunnel, rewritten to be the only one in it; raises RefusedError."""
    request, rest = await read_head(reader, data)
    target = inner_target(request, tunnel)
    check_host(request, target)
    return rewritten(request, target) + rest


async def _connect(
    addresses: Sequence[str], port: int
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection to the first address that answers.

    Raises:
        _UnreachableError: none does in time.
    """
    error: OSError = OSError("no address")
    try:
        async with asyncio.timeout(CONNECT_S):
            for address in addresses:
                try:
                    return await asyncio.open_connection(address, port)
                except OSError as failed:
                    error = failed
    except TimeoutError as late:
        error = late
    raise _UnreachableError(f"{type(error).__name__}: {error}") from error


async def _ended(task: asyncio.Task[None]) -> None:
    """End a task, whatever it came to."""
    task.cancel()
    await asyncio.wait([task])
    if not task.cancelled():
        task.exception()  # Otherwise asyncio reports that nobody has asked for it.


async def _send(writer: asyncio.StreamWriter, data: bytes) -> None:
    """Send an answer of the proxy's own, unless the client is gone."""
    with suppress(OSError, RuntimeError):  # RuntimeError: the end of a tunnel was passed on.
        writer.write(data)
        await writer.drain()

"""Connections over one pair of streams: whole, apart from each other, and within their windows."""

from __future__ import annotations

import asyncio
import hashlib
import socket
import ssl
import subprocess
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from sandboxes.multiplex import WINDOW, Connection, Multiplexer
from sandboxes.stdio_relay import _plain

PORT = 8377
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def joined(serve: Serve) -> AsyncIterator[Callable[[], Awaitable[Connection]]]:
    """Two ends and a server behind the second; gives what connects to the first."""
    ends: dict[str, Multiplexer] = {}
    folder: list[asyncio.Task[None]] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]

    async def dial(asked: int) -> Connection:
        if asked != PORT:
            raise ConnectionRefusedError
        return await asyncio.open_connection("127.0.0.1", port)

    async def there(data: bytes) -> None:
        ends["there"].feed(data)

    async def here(data: bytes) -> None:
        ends["here"].feed(data)

    ends["here"], ends["there"] = Multiplexer(there), Multiplexer(here, dial)

    async def connect(asked: int = PORT) -> Connection:
        mine, other = socket.socketpair()
        carried = await asyncio.open_connection(sock=other)
        folder.append(asyncio.ensure_future(ends["here"].carry(asked, carried)))
        return await asyncio.open_connection(sock=mine)

    yield connect
    for end in ends.values():
        end.close()
    await asyncio.gather(*folder, return_exceptions=True)
    server.close()


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(10_000):
        writer.write(data)
        await writer.drain()
    writer.write(b"end")
    await writer.drain()


def test_much_passes_both_ways_whole_and_at_once() -> None:
    async def main() -> None:
        async with joined(echo) as connect:

            async def one(number: int) -> None:
                reader, writer = await connect()
                sent = hashlib.sha256(str(number).encode()).digest() * 30_000  # 1 MB
                writer.write(sent)
                writer.write_eof()
                assert await reader.read(-1) == sent + b"end"
                writer.close()

            await asyncio.wait_for(asyncio.gather(*map(one, range(6))), 60)

    asyncio.run(main())


def test_one_that_nobody_reads_holds_up_no_other() -> None:
    sent = [0]

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await reader.readline() == b"flood\n":
            while True:
                writer.write(bytes(100_000))
                await writer.drain()
                sent[0] += 100_000
        writer.write(b"hello")

    async def main() -> None:
        async with joined(flood) as connect:
            stalled = await connect()
            stalled[1].write(b"flood\n")
            held = -1
            while held != sent[0]:  # Until its buffers are full.
                held = sent[0]
                await asyncio.sleep(0.1)
            for _ in range(3):
                reader, writer = await connect()
                writer.write(b"greet\n")
                assert await asyncio.wait_for(reader.read(), 5) == b"hello"
                writer.close()
            assert sent[0] == held < 50 * WINDOW  # Most of it in buffers of the kernel.
            stalled[1].transport.abort()

    asyncio.run(main())


def test_a_connection_that_breaks_breaks_at_the_other_end_alone() -> None:
    broken = threading.Event()

    async def watch(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.read(10):
                writer.write(bytes(20_000_000))
                await writer.drain()
        except ConnectionError:
            broken.set()
            raise

    async def main() -> None:
        async with joined(watch) as connect:
            other = await connect()
            _, writer = await connect()
            writer.write(b"x")
            await asyncio.sleep(0.1)
            writer.transport.abort()
            for _ in range(100):
                if broken.is_set():
                    break
                await asyncio.sleep(0.05)
            assert broken.is_set()
            other[1].write(b"x")
            assert await asyncio.wait_for(other[0].readexactly(10), 5) == bytes(10)
            other[1].transport.abort()

    asyncio.run(main())


def test_what_nobody_serves_is_closed() -> None:
    async def main() -> None:
        async with joined(echo) as connect:
            reader, _ = await connect(99)  # type: ignore[call-arg]
            assert await asyncio.wait_for(reader.read(), 5) == b""

    asyncio.run(main())


@pytest.mark.parametrize(
    "frame",
    [
        b"\x09" + bytes(8),
        b"\x02" + bytes(4) + (WINDOW + 1).to_bytes(4, "big"),
        b"GET / HTTP/1.1\r\n\r\n",
    ],
    ids=["type", "length", "text"],
)
def test_what_is_no_frame_is_refused(frame: bytes) -> None:
    async def main() -> None:
        with pytest.raises(ValueError, match="frame of type"):
            Multiplexer(lambda _: asyncio.sleep(0)).feed(frame)

    asyncio.run(main())


def test_more_than_a_window_is_refused() -> None:
    async def main() -> None:
        mux = Multiplexer(lambda _: asyncio.sleep(0), lambda _: asyncio.sleep(60))  # type: ignore[arg-type, return-value]
        mux.feed(b"\x01" + (1).to_bytes(4, "big") + (2).to_bytes(4, "big") + b"\0\1")
        part = b"\x02" + (1).to_bytes(4, "big") + WINDOW.to_bytes(4, "big") + bytes(WINDOW)
        mux.feed(part)
        with pytest.raises(ValueError, match="room"):
            mux.feed(part)
        mux.close()

    asyncio.run(main())


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    subject = ["-subj", "/CN=engine", "-addext", "subjectAltName=DNS:engine"]
    argv = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject]
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    subprocess.run([*argv, *files], check=True, capture_output=True)
    return folder


def test_an_encrypted_stream_is_read_and_written_at_once(certificate: Path) -> None:
    """As the engine's stream over TLS, which asyncio cannot use as it is."""
    mine, other = socket.socketpair()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")

    def engine() -> None:
        with context.wrap_socket(other, server_side=True) as stream:
            while data := stream.recv(100_000):
                stream.sendall(data)

    threading.Thread(target=engine, daemon=True).start()
    trusting = ssl.create_default_context(cafile=str(certificate / "cert.pem"))
    plain = _plain(trusting.wrap_socket(mine, server_hostname="engine"))
    sent = bytes(range(256)) * 10_000  # 2.5 MB

    async def main() -> bytes:
        plain.setblocking(False)
        loop, found = asyncio.get_running_loop(), bytearray()
        sending = asyncio.ensure_future(loop.sock_sendall(plain, sent))
        while len(found) < len(sent):
            found += await asyncio.wait_for(loop.sock_recv(plain, WINDOW), 20)
        await sending
        return bytes(found)

    assert asyncio.run(main()) == sent
    plain.close()

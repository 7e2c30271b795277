"""A relay by itself, with an engine of a test: what it is started as, and when it works."""

from __future__ import annotations

import asyncio
import os
import select
import socket
import ssl
import threading
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sandboxes import multiplex, stdio_relay
from sandboxes.base import Limits, SandboxError
from sandboxes.docker import IDLE_USER, RELAY_KIND
from sandboxes.images import RELAY_IMAGE
from sandboxes.multiplex import DATA, EOF, HELLO, OPEN, Multiplexer
from sandboxes.relay import OPEN_NETWORK, PROXY_PORT, RELAY_PORT, Relay
from sandboxes.stdio_relay import StdioRelay, _connected


class Stream:
    """What socat prints, until it is enough."""

    printed = b""

    def __init__(self, raw: Any) -> None:
        self.closed = False

    def rest(self, seconds: float, enough: Any) -> bytes:
        assert seconds == 7.0
        for end in range(len(self.printed) + 1):
            if enough(self.printed[:end]):
                return self.printed[:end]
        return self.printed

    def close(self) -> None:
        self.closed = True


class Engine:
    """Starts nothing, and remembers what it was asked for."""

    patience_s = 7.0

    def __init__(self) -> None:
        self.did: list[Any] = []
        self.launched: dict[str, Any] = {}
        self.state = {"Running": True, "ExitCode": 0}
        self.api = self

    def launch(self, spec: Any, **options: Any) -> str:
        self.launched = {"spec": spec, **options}
        return "c1"

    def attach_socket(self, container: str, wanted: dict[str, int]) -> Any:
        self.did.append(("attach", container, wanted))
        return object()

    def start(self, container: str) -> None:
        self.did.append(("start", container))

    def remove(self, container: str) -> None:
        self.did.append(("remove", container))

    def inspect_container(self, container: str) -> dict[str, Any]:
        return {"State": self.state}

    @contextmanager
    def errors(self, what: str) -> Any:
        yield


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr("sandboxes.relay.ExecStream", Stream)
    monkeypatch.setattr(Stream, "printed", b"x listening on a\ny listening on b\n")
    return Engine()


@pytest.fixture
def sockets(tmp_path: Path) -> dict[int, Path]:
    tmp_path.chmod(0o700)
    return {RELAY_PORT: tmp_path / "g", PROXY_PORT: tmp_path / "p"}


def test_a_relay_forwards_its_ports_until_it_is_stopped(
    engine: Any, sockets: dict[int, Path], tmp_path: Path
) -> None:
    relay = Relay(engine, sockets)
    with pytest.raises(SandboxError, match="the relay has not been started"):
        _ = relay.network
    with pytest.raises(SandboxError, match="the relay has been stopped"):
        relay.check()
    with relay:
        assert relay.network == "container:c1"
        relay.check()
        engine.state = {"Running": False, "ExitCode": 3}
        with pytest.raises(SandboxError, match="ended with exit code 3; start a new one"):
            relay.check()
    relay.stop()
    wanted = {"stdout": 1, "stderr": 1, "stream": 1}
    assert engine.did == [("attach", "c1", wanted), ("start", "c1"), ("remove", "c1")]
    spec, command = engine.launched["spec"], engine.launched["command"]
    assert (spec.image, spec.workdir, spec.network) == (RELAY_IMAGE, "/", "none")
    assert [(mount.source, mount.target) for mount in spec.mounts] == [(str(tmp_path), "/gateway")]
    assert spec.limits == Limits(memory_mb=192, cpus=1.0, pids=512, disk_mb=1)
    assert command[:2] == ("bash", "-c")
    assert command[3:] == ("relay", "8377=/gateway/g", "8378=/gateway/p")
    assert engine.launched["kind"] == RELAY_KIND
    assert engine.launched["user"].count(":") == 1
    assert tmp_path.stat().st_mode & 0o777 == 0o711, "the relay's user can enter it"


def test_a_relay_may_have_the_engines_network(engine: Any, sockets: dict[int, Path]) -> None:
    with Relay(engine, sockets, network=OPEN_NETWORK, image="other"):
        spec = engine.launched["spec"]
        assert (spec.network, spec.image) == ("bridge", "other")


@pytest.mark.parametrize("printed", [b" no image \n", b"x listening on a\n", b"\xff odd"])
def test_a_relay_that_does_not_listen_is_removed(
    printed: bytes, engine: Any, sockets: dict[int, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Stream, "printed", printed)
    relay = Relay(engine, sockets)
    with pytest.raises(SandboxError, match=r"^the relay ended at once: ") as error:
        relay.start()
    assert str(error.value).endswith(f"once: {printed.decode(errors='replace').strip()}")
    assert engine.did[-1] == ("remove", "c1")
    with pytest.raises(SandboxError, match="has been stopped"):
        relay.check()


def framed(content: bytes, stream: int = 1) -> bytes:
    """As the engine passes on what a container writes."""
    return bytes([stream, 0, 0, 0]) + len(content).to_bytes(4, "big") + content


def frame(kind: int, number: int, data: bytes = b"") -> bytes:
    return bytes([kind]) + number.to_bytes(4, "big") + len(data).to_bytes(4, "big") + data


class Attached(Engine):
    """An engine whose container is the other end of a pair."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *says: bytes, ends: bool = True) -> None:
        super().__init__()
        self.mine, self.other = socket.socketpair()
        self.says, self.ends = says, ends
        self.raw = self
        self._response = self
        self.closed = 0
        monkeypatch.setattr(stdio_relay, "plain_socket", lambda raw: self.mine)

    def attach_socket(self, container: str, wanted: dict[str, int]) -> Any:
        super().attach_socket(container, wanted)
        return self

    def start(self, container: str) -> None:
        super().start(container)
        for said in self.says:
            self.other.sendall(said)
        if self.ends:
            self.other.close()

    def remove(self, container: str) -> None:
        super().remove(container)
        self.other.close()

    def close(self) -> None:
        self.closed += 1


def test_a_relay_over_its_own_streams(
    monkeypatch: pytest.MonkeyPatch, sockets: dict[int, Path], tmp_path: Path
) -> None:
    hello = framed(frame(HELLO, 0))
    engine = Attached(monkeypatch, hello[:5], hello[5:], ends=False)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(sockets[RELAY_PORT]))
        server.listen()
        relay = StdioRelay(engine, sockets)  # type: ignore[arg-type]
        with relay:
            relay.check()
            port = RELAY_PORT.to_bytes(2, "big")
            engine.other.sendall(framed(frame(OPEN, 1, port) + frame(DATA, 1, b"hi")))
            client, _ = server.accept()
            with client:
                assert client.recv(9) == b"hi"
                client.sendall(b"yes")
            engine.other.settimeout(5)
            back = b""
            while len(back) < len(frame(DATA, 1, b"yes") + frame(EOF, 1)):
                back += engine.other.recv(99)
            assert back == frame(DATA, 1, b"yes") + frame(EOF, 1)
    wanted = {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1}
    assert engine.did == [("attach", "c1", wanted), ("start", "c1"), ("remove", "c1")]
    assert engine.closed == 1
    spec, command = engine.launched["spec"], engine.launched["command"]
    assert (spec.image, spec.workdir, spec.network, spec.mounts) == (RELAY_IMAGE, "/", "none", ())
    assert spec.limits == Limits(memory_mb=256, cpus=1.0, pids=16, disk_mb=1)
    assert command[:3] == ("python3", "-I", "-c") and command[4:] == ("8377", "8378")
    assert "class Multiplexer" in command[3]
    assert (engine.launched["kind"], engine.launched["user"]) == (RELAY_KIND, IDLE_USER)
    assert engine.launched["stdin"] is True
    relay.stop()
    assert engine.closed == 1


@pytest.mark.parametrize(
    ("says", "words"),
    [
        ([], "its stream has ended$"),
        ([framed(b" no such file\n", 2)], "no such file$"),
        ([framed(b"python3: not found\n", 2)],
         "python3: not found; skillopt/.* has no python3: build it anew"),
        ([framed(b"\x09" + bytes(8))], "a frame of type 9 with 0 bytes$"),
        ([framed(b"x" * 3000, 2), framed(b"y" * 3000, 2)], "x{1000}y{3000}$"),
    ],
)  # fmt: skip
def test_a_program_that_does_not_listen_says_why(
    says: list[bytes], words: str, monkeypatch: pytest.MonkeyPatch, sockets: dict[int, Path]
) -> None:
    engine = Attached(monkeypatch, *says)
    with pytest.raises(SandboxError, match=f"^the relay does not listen: {words}"):
        StdioRelay(engine, sockets).start()  # type: ignore[arg-type]
    assert engine.did[-1] == ("remove", "c1") and engine.closed == 1


def test_a_program_that_says_nothing_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, sockets: dict[int, Path]
) -> None:
    engine = Attached(monkeypatch, ends=False)
    engine.patience_s = 0.01
    with pytest.raises(SandboxError, match=r"does not listen: silent for 0\.01 s$"):
        StdioRelay(engine, sockets).start()  # type: ignore[arg-type]


def test_a_relay_whose_stream_has_ended_is_gone(
    monkeypatch: pytest.MonkeyPatch, sockets: dict[int, Path]
) -> None:
    engine = Attached(monkeypatch, framed(frame(HELLO, 0)))
    relay = StdioRelay(engine, sockets, network=OPEN_NETWORK, image="i")  # type: ignore[arg-type]
    with relay:
        spec = engine.launched["spec"]
        assert (spec.image, spec.workdir, spec.network) == ("i", "/", "bridge")
        assert relay._thread is not None
        relay._thread.join(5)
        with pytest.raises(SandboxError, match="has ended: its stream has ended; start a new one"):
            relay.check()


def test_the_engines_own_frames_may_be_divided_anywhere() -> None:
    fed: list[bytes] = []

    class Mux:
        def feed(self, data: bytes) -> None:
            fed.append(data)

    relay = StdioRelay(Engine(), {})  # type: ignore[arg-type]
    raw = framed(b"ab") + framed(b"") + framed(b"err", 2) + framed(b"c" * 300)
    pending = bytearray()
    for n in range(len(raw)):
        pending += raw[n : n + 1]
        relay._take_frames(pending, Mux())  # type: ignore[arg-type]
    assert fed == [b"ab", b"", b"c" * 300] and relay._said == b"err" and not pending
    relay._take_frames(bytearray(raw + raw[:9]), Mux())  # type: ignore[arg-type]
    assert len(fed) == 6


def test_a_socket_whose_server_is_busy_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen(0)
        waiting = [socket.socket(socket.AF_UNIX) for _ in range(2)]
        for client in waiting:
            client.setblocking(False)
            try:
                client.connect(os.fspath(path))
            except BlockingIOError:
                break

        async def play() -> None:
            connecting = asyncio.ensure_future(_connected(path))
            await asyncio.sleep(0.015)
            assert not connecting.done()
            server.accept()[0].close()
            _, writer = await asyncio.wait_for(connecting, 5)
            writer.close()
            monkeypatch.setattr(stdio_relay, "_CONNECT_S", 0.0)
            with pytest.raises(BlockingIOError):
                await _connected(path)
            with pytest.raises(FileNotFoundError):
                await _connected(tmp_path / "gone")

        asyncio.run(play())
        for client in waiting:
            client.close()


def test_a_stream_that_is_not_encrypted_is_used_as_it_is() -> None:
    mine, other = socket.socketpair()
    with mine, other:
        assert stdio_relay._plain(mine) is mine


class Encrypted:
    """As much of an encrypted socket as is used: it may want to wait, and holds bytes back."""

    def __init__(self, inner: socket.socket) -> None:
        self.inner = inner
        self.sends = 0
        self.held = b""

    def __enter__(self) -> Encrypted:
        return self

    def __exit__(self, *exc: object) -> None:
        self.inner.close()

    def fileno(self) -> int:
        return self.inner.fileno()

    def setblocking(self, flag: bool) -> None:
        self.inner.setblocking(flag)

    def pending(self) -> int:
        return len(self.held)

    def send(self, data: Any) -> int:
        self.sends += 1
        if self.sends % 2:
            raise ssl.SSLWantWriteError
        return self.inner.send(bytes(data)[:3])

    def recv(self, size: int) -> bytes:
        if not self.held:
            try:
                self.held = self.inner.recv(size)
            except BlockingIOError:
                raise ssl.SSLWantReadError from None
        part, self.held = self.held[:2], self.held[2:]
        return part


@pytest.mark.parametrize("first", ["near", "far"])
def test_both_ways_of_an_encrypted_stream_are_joined(first: str) -> None:
    far, inner = socket.socketpair()
    near, plain = socket.socketpair()
    joining = threading.Thread(target=stdio_relay._join, args=(Encrypted(inner), plain))
    joining.start()
    for end in (far, near):
        end.settimeout(5)
    far.sendall(b"from far")
    got = b""
    while len(got) < 8:
        got += near.recv(99)
    near.sendall(b"from near")
    back = b""
    while len(back) < 9:
        back += far.recv(99)
    assert (got, back) == (b"from far", b"from near")
    ends, other = (near, far) if first == "near" else (far, near)
    ends.close()
    joining.join(5)
    assert not joining.is_alive() and other.recv(1) == b""
    other.close()


class Pair:
    """A multiplexer, and what it sends."""

    def __init__(self, dial: Any = None) -> None:
        self.sent: list[bytes] = []
        self.mux = Multiplexer(self._send, dial)

    async def _send(self, data: bytes) -> None:
        self.sent.append(data)


def test_frames_are_written_and_read_as_they_are_documented() -> None:
    async def play() -> None:
        made: list[int] = []
        mine, other = socket.socketpair()

        async def dial(port: int) -> Any:
            made.append(port)
            if port == 9:
                raise ConnectionRefusedError
            return await asyncio.open_connection(sock=other)

        pair = Pair(dial)
        await pair.mux.greet()
        assert pair.sent == [frame(HELLO, 0)] and not pair.mux.greeted.is_set()
        raw = frame(HELLO, 0) + frame(OPEN, 5, b"\x20\xb9") + frame(OPEN, 6, b"\0\x09")
        for n in range(len(raw)):
            pair.mux.feed(raw[n : n + 1])
        assert pair.mux.greeted.is_set()
        pair.mux.feed(frame(DATA, 5, b"hi") + frame(DATA, 99, b"nobody") + frame(EOF, 5))
        loop = asyncio.get_running_loop()
        mine.setblocking(False)
        assert await loop.sock_recv(mine, 9) == b"hi" and await loop.sock_recv(mine, 9) == b""
        assert made == [0x20B9, 9] and pair.sent[1:] == [frame(4, 6)], "a reset"
        await loop.sock_sendall(mine, b"yes")
        mine.close()
        while len(pair.sent) < 4:
            await asyncio.sleep(0.001)
        assert pair.sent[2:] == [frame(DATA, 5, b"yes"), frame(EOF, 5)]
        while pair.mux._streams:
            await asyncio.sleep(0.001)

    asyncio.run(asyncio.wait_for(play(), 10))


def test_frames_may_be_divided_anywhere() -> None:
    raw = frame(DATA, 5, b"hi") + frame(DATA, 5, b"there") + frame(DATA, 5, b"")

    async def play() -> None:
        for cut in range(len(raw)):
            pair = Pair()
            stream = pair.mux._streams[5] = multiplex._Stream()
            pair.mux.feed(raw[:cut])
            pair.mux.feed(raw[cut:])
            got = [stream.incoming.get_nowait() for _ in range(3)]
            assert got == [b"hi", b"there", b""] and stream.incoming.empty()

    asyncio.run(play())


class Program:
    """The program of a relay, in a thread, with pipes in place of its standard streams."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        reads, self.to = os.pipe()
        self.out, writes = os.pipe()
        streams = SimpleNamespace(
            stdin=SimpleNamespace(buffer=os.fdopen(reads, "rb", 0)),
            stdout=SimpleNamespace(buffer=os.fdopen(writes, "wb", 0)),
        )
        monkeypatch.setattr(multiplex, "sys", streams)
        self.thread = threading.Thread(target=asyncio.run, args=(multiplex.relay([self.port]),))
        self.thread.start()

    def says(self, wanted: bytes) -> None:
        got = b""
        while len(got) < len(wanted):
            assert select.select([self.out], [], [], 5)[0], got
            got += os.read(self.out, len(wanted) - len(got))
        assert got == wanted

    def silent(self) -> bool:
        return not select.select([self.out], [], [], 0.02)[0]

    def client(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), 5)

    def end(self) -> None:
        os.close(self.to)
        self.thread.join(5)
        assert not self.thread.is_alive()
        os.close(self.out)


def test_the_program_of_a_relay_carries_what_connects_to_its_port(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(multiplex, "MOST", 1)
    program = Program(monkeypatch)
    program.says(frame(HELLO, 0))
    port = program.port.to_bytes(2, "big")
    first, second = program.client(), program.client()
    program.says(frame(OPEN, 1, port))
    first.sendall(b"hi")
    program.says(frame(DATA, 1, b"hi"))
    os.write(program.to, frame(DATA, 1, b"yes"))
    assert first.recv(9) == b"yes" and program.silent(), "the second has to wait"
    first.close()
    program.says(frame(EOF, 1))
    os.write(program.to, frame(EOF, 1))
    program.says(frame(OPEN, 2, port))
    os.write(program.to, frame(4, 2))  # A reset.
    assert second.recv(9) == b""
    second.close()
    program.says(frame(4, 2))
    third = program.client()
    program.says(frame(OPEN, 3, port))
    program.end()
    third.close()


def test_without_a_dial_each_connection_is_refused() -> None:
    async def play() -> None:
        pair = Pair()
        pair.mux.feed(frame(OPEN, 1, b"\0\x01"))
        while not pair.sent:
            await asyncio.sleep(0.001)
        assert pair.sent == [frame(4, 1)] and not pair.mux._streams

    asyncio.run(asyncio.wait_for(play(), 10))


def test_connections_have_numbers_and_end_with_their_multiplexer() -> None:
    async def play() -> None:
        pair, dialled = Pair(), list[int]()
        ends = [socket.socketpair() for _ in range(2)]
        carrying = [
            asyncio.ensure_future(pair.mux.carry(port, await asyncio.open_connection(sock=other)))
            for port, (_, other) in zip((7, 8), ends, strict=True)
        ]
        while len(pair.sent) < 2:
            await asyncio.sleep(0.001)
        assert pair.sent == [frame(OPEN, 1, b"\0\x07"), frame(OPEN, 2, b"\0\x08")]
        while not all(stream.tasks for stream in pair.mux._streams.values()):
            await asyncio.sleep(0.001)
        pair.mux.close()
        await asyncio.gather(*carrying)
        assert not pair.mux._streams and pair.sent[2:] == [frame(4, 1), frame(4, 2)]
        for mine, _ in ends:
            assert mine.recv(1) == b""
            mine.close()

        async def dial(port: int) -> Any:
            dialled.append(port)
            try:
                await asyncio.sleep(9)
            except asyncio.CancelledError:
                dialled.append(-1)
                raise

        waiting = Pair(dial)
        waiting.mux.feed(frame(OPEN, 1, b"\0\x07"))
        await asyncio.sleep(0.001)
        waiting.mux.close()
        await asyncio.sleep(0.001)
        assert dialled == [7, -1] and not waiting.mux._tasks

    asyncio.run(asyncio.wait_for(play(), 10))


async def carried(pair: Pair) -> tuple[socket.socket, asyncio.Future[None]]:
    """The other end of a connection that is being carried, and what ends with it."""
    mine, other = socket.socketpair()
    connection = await asyncio.open_connection(sock=other)
    carrying = asyncio.ensure_future(pair.mux.carry(7, connection))
    while len(pair.sent) < 1 or not pair.mux._streams[1].tasks:
        await asyncio.sleep(0.001)
    return mine, carrying


def test_one_that_reads_no_more_is_reset_though_it_may_still_write() -> None:
    async def play() -> None:
        pair = Pair()
        mine, carrying = await carried(pair)
        mine.shutdown(socket.SHUT_RD)
        for _ in range(3):
            pair.mux.feed(frame(DATA, 1, b"nobody reads this"))
            await asyncio.sleep(0.001)
        await carrying
        assert pair.sent[1:] == [frame(4, 1)] and not pair.mux._streams
        mine.close()

    asyncio.run(asyncio.wait_for(play(), 10))


def test_one_that_breaks_is_reset_at_the_other_end() -> None:
    async def play() -> None:
        pair = Pair()
        mine, carrying = await carried(pair)
        mine.close()
        while len(pair.sent) < 2:
            await asyncio.sleep(0.001)
        for _ in range(3):
            pair.mux.feed(frame(DATA, 1, b"nobody reads this"))
            await asyncio.sleep(0.001)
        await carrying
        assert pair.sent[1:] == [frame(EOF, 1), frame(4, 1)] and not pair.mux._streams
        pair.mux.feed(frame(DATA, 1, b"late") + frame(EOF, 1))
        assert len(pair.sent) == 3

    asyncio.run(asyncio.wait_for(play(), 10))


def test_no_more_is_sent_than_there_is_credit_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sandboxes.multiplex.WINDOW", 12)

    async def play() -> None:
        pair = Pair()
        mine, other = socket.socketpair()
        connection = await asyncio.open_connection(sock=other)
        carrying = asyncio.ensure_future(pair.mux.carry(8377, connection))
        mine.sendall(b"abcdefghijklmno")
        while len(pair.sent) < 2:
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.005)
        assert pair.sent == [frame(OPEN, 1, b"\x20\xb9"), frame(DATA, 1, b"abcdefghijkl")]
        credit = bytes([5]) + (1).to_bytes(4, "big")
        pair.mux.feed(credit + (3).to_bytes(4, "big"))
        pair.mux.feed(credit + (2).to_bytes(4, "big"))
        while len(pair.sent) < 3:
            await asyncio.sleep(0.001)
        assert pair.sent[2:] == [frame(DATA, 1, b"mno")]
        # What was passed on is given back, in parts of a quarter.
        pair.mux.feed(frame(DATA, 1, b"x"))
        pair.mux.feed(frame(DATA, 1, b"y"))
        await asyncio.sleep(0.005)
        assert len(pair.sent) == 3
        pair.mux.feed(frame(DATA, 1, b"z"))
        while pair.sent[-1][:1] != bytes([5]):
            await asyncio.sleep(0.001)
        assert pair.sent[-1] == credit + (3).to_bytes(4, "big")
        for part in (b"a" * 12, b""):
            pair.mux.feed(frame(DATA, 1, part))
        with pytest.raises(ValueError, match="more bytes than there was room for"):
            pair.mux.feed(frame(DATA, 1, b"b"))
        pair.mux.close()
        await asyncio.gather(carrying, return_exceptions=True)
        assert not pair.mux._streams
        mine.close()

    asyncio.run(asyncio.wait_for(play(), 10))


def test_only_what_was_passed_on_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sandboxes.multiplex.WINDOW", 12)

    async def play() -> None:
        refused: list[bool] = []
        mine, other = socket.socketpair()

        async def send(data: bytes) -> None:
            if data[:1] == bytes([5]) and not refused:
                # Three bytes are passed on, and nine are not: there is room for three, not four.
                with pytest.raises(ValueError, match="more bytes than there was room for"):
                    mux.feed(frame(DATA, 1, b"wxyz"))
                refused.append(True)

        async def dial(port: int) -> Any:
            return await asyncio.open_connection(sock=other)

        mux = Multiplexer(send, dial)
        mux.feed(frame(OPEN, 1, b"\0\1") + frame(DATA, 1, b"abc") + frame(DATA, 1, b"defghijkl"))
        while not refused:
            await asyncio.sleep(0.001)
        mux.close()
        mine.close()

    asyncio.run(asyncio.wait_for(play(), 10))

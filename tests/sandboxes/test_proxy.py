"""The filtering proxy lets through what is on its list, and nothing by a side door."""

from __future__ import annotations

import asyncio
import gc
import http.server
import re
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandboxes.access import HostRule, Visit, read_address
from sandboxes.base import SandboxError
from sandboxes.proxy import MAX_CONNECTIONS, Proxy
from sandboxes.tls import UNRECOGNIZED_NAME
from tests.helpers.hello import client_hello, in_records, with_extension
from tests.helpers.web_site import Site

Ask = Callable[[bytes], bytes]


@pytest.fixture
def port() -> Iterator[int]:
    """Of a web site on this machine."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


@pytest.fixture
def proxy(port: int, tmp_path: Path) -> Iterator[Proxy]:
    rules = [HostRule.parse(text) for text in (f"127.0.0.1:{port}", f"localhost:{port}")]
    with Proxy(tmp_path / "s", rules) as running:
        yield running


@pytest.fixture
def ask(proxy: Proxy) -> Ask:
    def asked(data: bytes) -> bytes:
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(10)
            s.connect(str(proxy.socket))
            s.sendall(data)
            got = b""
            while chunk := s.recv(65536):
                got += chunk
            return got

    return asked


def test_a_listed_host_is_reached_by_plain_http(ask: Ask, port: int, proxy: Proxy) -> None:
    head = f"POST http://127.0.0.1:{port}/a?b=c HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
    got = ask(head.encode() + b"Proxy-Connection: keep-alive\r\nContent-Length: 4\r\n\r\nbody")
    assert got.startswith(b"HTTP/1.1 200")
    assert got.endswith(f"/a?b=c 127.0.0.1:{port} body".encode())
    assert proxy.take_visits() == [Visit("127.0.0.1", port)]
    assert proxy.take_visits() == []


def test_a_tunnel_carries_whatever_is_spoken(ask: Ask, port: int) -> None:
    inner = b"GET /x HTTP/1.1\r\nHost: inner\r\nConnection: close\r\n\r\n"
    got = ask(f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\nHost: x\r\n\r\n".encode() + inner)
    assert got.startswith(b"HTTP/1.1 200 Connection established\r\n\r\nHTTP/1.1 200")
    assert got.endswith(b"/x inner ")


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ("example.org:443", "is not on this sandbox's list"),
        ("127.0.0.1:22", "is not on this sandbox's list"),
        ("127.0.0.2:PORT", "is not on this sandbox's list"),
        ("0x7f000001:PORT", "is not on this sandbox's list"),
        ("127.0.0.1.:PORT", "is not on this sandbox's list"),
        ("[::ffff:127.0.0.1]:PORT", "is not on this sandbox's list"),
        ("localhost:PORT", "leads to this machine"),
        ("user@127.0.0.1:PORT@example.org:443", "is not on this sandbox's list"),
    ],
)
def test_what_is_not_listed_is_refused(
    ask: Ask, port: int, proxy: Proxy, target: str, why: str
) -> None:
    target = target.replace("PORT", str(port))
    got = ask(f"CONNECT {target} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
    assert got.startswith(b"HTTP/1.1 403") and why in got.decode()
    (visit,) = proxy.take_visits()
    assert why in visit.refused


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"GET https://127.0.0.1/ HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET ftp://127.0.0.1/ HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01 not http at all \r\n\r\n",
        b"CONNECT 127.0.0.1:99999 HTTP/1.1\r\n\r\n",
        b"GET http://127.0.0.1/ HTTP/1.1\r\nHost: elsewhere\r\n\r\n",
        b"GET http://[::1 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET " + b"x" * 100_000 + b" HTTP/1.1\r\n\r\n",
    ],
)
def test_other_requests_are_refused(ask: Ask, data: bytes) -> None:
    assert ask(data).startswith(b"HTTP/1.1 403")


def test_a_host_header_that_names_another_host_is_refused(
    ask: Ask, port: int, proxy: Proxy
) -> None:
    got = ask(f"GET http://127.0.0.1:{port}/ HTTP/1.1\r\nHost: elsewhere\r\n\r\n".encode())
    assert got.startswith(b"HTTP/1.1 403") and b"the Host header names 'elsewhere'" in got
    (visit,) = proxy.take_visits()
    assert "the Host header names" in visit.refused and visit.failed == ""


def test_a_connection_that_has_ended_makes_room(ask: Ask) -> None:
    for _ in range(MAX_CONNECTIONS + 1):
        assert ask(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").startswith(b"HTTP/1.1 403")


@pytest.mark.parametrize("gone", [False, True])
def test_a_proxy_takes_its_socket_away(gone: bool, tmp_path: Path) -> None:
    with Proxy(tmp_path / "s", []):
        assert (tmp_path / "s").is_socket() and (tmp_path / "s").stat().st_mode & 0o777 == 0o666
        if gone:
            (tmp_path / "s").unlink()
    assert not (tmp_path / "s").exists()
    with pytest.raises(SandboxError, match=r"the proxy on .*/no/s cannot listen"):
        Proxy(tmp_path / "no" / "s", []).__enter__()


def test_a_server_that_is_down_is_said_to_be(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        closed = taken.getsockname()[1]
    with (
        Proxy(tmp_path / "s", [HostRule.parse(f"127.0.0.1:{closed}")]) as proxy,
        socket.socket(socket.AF_UNIX) as s,
    ):
        s.connect(str(proxy.socket))
        s.sendall(f"CONNECT 127.0.0.1:{closed} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert s.recv(1000).startswith(b"HTTP/1.1 502")


def test_names_and_ports() -> None:
    everywhere = HostRule.parse("pypi.org")
    assert everywhere.allows("pypi.org", 443) and everywhere.allows("pypi.org", 80)
    assert not everywhere.allows("pypi.org", 22) and not everywhere.allows("a.pypi.org", 443)
    below = HostRule.parse("*.Example.org")
    assert below.allows("a.b.example.org", 443)
    for other in ("example.org", "badexample.org", "example.org.attacker.net"):
        assert not below.allows(other, 443)
    assert HostRule.parse("host:8080").allows("host", 8080)
    assert not HostRule.parse("host:8080").allows("host", 443)


@given(st.text(max_size=20))
def test_an_entry_of_the_list_is_a_host_or_an_error(text: str) -> None:
    try:
        rule = HostRule.parse(text)
    except ValueError as error:
        assert repr(text) in str(error)
    else:
        assert rule.name and not set(rule.name) & set(" /@")


@contextmanager
def listening(answer: bytes = b"") -> Iterator[tuple[int, list[bytes]]]:
    """A server that greets with ``answer`` and keeps what it gets: its port, and that."""
    got: list[bytes] = []

    class Keep(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.sendall(answer)
            while data := self.request.recv(65536):
                got.append(data)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Keep) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server.server_address[1], got
        server.shutdown()


class Tunnel:
    """A CONNECT to ``host`` through a proxy."""

    def __init__(self, proxy: Proxy, host: str, port: int) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(10)
        self.socket.connect(str(proxy.socket))
        self.socket.sendall(f"CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        self.answer = self.socket.recv(4096)

    def say(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.socket.sendall(piece)
            time.sleep(0.01)

    def ended(self) -> bool:
        """Whether the proxy has closed it, as of now."""
        self.socket.setblocking(False)
        try:
            return self.socket.recv(1) == b""
        except BlockingIOError:
            return False

    def rest(self) -> bytes:
        got = b""
        with suppress(ConnectionError):
            while data := self.socket.recv(65536):
                got += data
        self.socket.close()
        return got


@pytest.fixture
def everywhere_is_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers of a test are on this machine, which names must not lead to."""
    monkeypatch.setattr("sandboxes.proxy.not_outside", lambda address, own: "")


def eventually(there: Callable[[], object]) -> None:
    end = time.monotonic() + 10
    while not there() and time.monotonic() < end:
        time.sleep(0.01)
    assert there()


GOOD, BAD = client_hello("localhost"), client_hello("attacker.example")
OK = b"GET /x HTTP/1.1\r\nHost: localhost:PORT\r\n\r\n"


@pytest.mark.parametrize(
    "divided", [[GOOD], [GOOD[:1], GOOD[1:7], GOOD[7:]], [in_records(GOOD, 9)]]
)
def test_a_tunnel_in_tls_to_its_own_host_is_passed_on(
    divided: list[bytes], tmp_path: Path, everywhere_is_outside: None
) -> None:
    with listening() as (port, got), Proxy(tmp_path / "s", [HostRule("localhost", port)]) as proxy:
        tunnel = Tunnel(proxy, "localhost", port)
        tunnel.say(*divided, b"later")
        sent = b"".join(divided) + b"later"
        eventually(lambda: b"".join(got) == sent)
        assert proxy.take_visits() == [Visit("localhost", port)]


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ([BAD], "with attacker.example in a tunnel to localhost"),
        ([BAD[:20], BAD[20:21], BAD[21:]], "with attacker.example"),
        ([in_records(BAD, 50)], "with attacker.example"),
        ([client_hello(None)], "with no name"),
        ([client_hello("a.localhost")], "with a.localhost"),
        ([with_extension(GOOD, 0xFE0D, b"x")], "with an encrypted name"),
        ([b"\x16\x03\x01\x00\x02\x02\x00"], "does not begin with a hello"),
        ([OK.replace(b"localhost", b"attacker.example")], "the Host header names"),
        ([b"\r\nget ", b"/x http/1.1\r\nHost: other\r\n\r\n"], "Host header|not an HTTP request"),
        ([b"GET http://other/ HTTP/1.1\r\nHost: other\r\n\r\n"], "a request for other in a tunnel"),
        ([b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"], "only http:// addresses"),
        ([b"GET /" + b"x" * 70_000, b" HTTP/1.1\r\nHost: other\r\n\r\n"], "HTTP"),
    ],
)
def test_a_tunnel_that_names_another_host_is_refused_and_recorded(
    said: list[bytes], why: str, tmp_path: Path, everywhere_is_outside: None
) -> None:
    with listening() as (port, got), Proxy(tmp_path / "s", [HostRule("localhost", port)]) as proxy:
        tunnel = Tunnel(proxy, "localhost", port)
        assert tunnel.answer.startswith(b"HTTP/1.1 200")
        with suppress(ConnectionError):
            tunnel.say(*(piece.replace(b"PORT", str(port).encode()) for piece in said))
        answer = tunnel.rest()
        assert got == []
        (visit,) = proxy.take_visits()
        assert re.search(why, visit.refused), visit.refused
        if "a TLS hello with" in visit.refused:
            assert answer == UNRECOGNIZED_NAME
        else:
            assert answer == b"" or answer.startswith(b"HTTP/1.1 403")


def test_a_request_inside_a_tunnel_is_the_only_one_in_it(
    tmp_path: Path, everywhere_is_outside: None
) -> None:
    with listening() as (port, got), Proxy(tmp_path / "s", [HostRule("localhost", port)]) as proxy:
        Tunnel(proxy, "localhost", port).say(OK.replace(b"PORT", str(port).encode()))
        eventually(lambda: got)
        assert got[0].startswith(f"GET /x HTTP/1.1\r\nHost: localhost:{port}\r\n".encode())
        assert got[0].endswith(b"Connection: close\r\n\r\n")


@pytest.mark.parametrize(
    "said", [b"\x00\x00\x00\x08\x04\xd2\x16\x2f", b"SSH-2.0-x\r\n", b"EHLO me\r\n"]
)
def test_a_port_that_the_list_names_may_speak_anything_else(
    said: bytes, tmp_path: Path, everywhere_is_outside: None
) -> None:
    with (
        listening(b"hello") as (port, got),
        Proxy(tmp_path / "s", [HostRule("localhost", port)]) as proxy,
    ):
        tunnel = Tunnel(proxy, "localhost", port)
        if b"hello" not in tunnel.answer:  # The server speaks first.
            assert tunnel.socket.recv(100) == b"hello"
        tunnel.say(said)
        eventually(lambda: got == [said])


@pytest.mark.parametrize("port", [443, 80])
def test_the_ports_of_the_web_speak_nothing_else(
    port: int, tmp_path: Path, everywhere_is_outside: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with listening() as (real, got), Proxy(tmp_path / "s", [HostRule("localhost")]) as proxy:
        connect = asyncio.open_connection
        monkeypatch.setattr(asyncio, "open_connection", lambda host, _: connect(host, real))
        for said in (b"SSH-2.0-x\r\n", b"\x80\x2e\x01"):
            tunnel = Tunnel(proxy, "localhost", port)
            tunnel.say(said)
            assert tunnel.rest() == b"" and got == []
        plain = Tunnel(proxy, "localhost", port)
        plain.say(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        if port == 443:
            assert plain.rest() == b"" and got == []
        else:
            eventually(lambda: got)
        reasons = [visit.refused for visit in proxy.take_visits()]
        assert reasons[:2] == ["a tunnel with something else than TLS in it"] * 2


@pytest.mark.parametrize(
    ("addresses", "listed", "reached"),
    [
        (["::ffff:127.0.0.1"], [], False),
        (["64:ff9b::7f00:1"], [], False),
        (["172.17.0.1"], [], False),
        (["10.1.2.3"], [], False),
        (["10.1.2.3"], ["10.1.2.3"], True),
        (["10.1.2.3"], ["10.1.2.3:8080"], False),
        (["10.1.2.3"], ["10.1.2.4"], False),
        (["100.100.100.200", "fd00:ec2::254"], ["100.100.100.200"], False),
        (["169.254.169.254"], ["169.254.169.254"], False),
        (["203.0.113.80"], [], True),
        (["10.0.0.1", "8.8.8.8"], [], True),
        (["10.1.2.3"], ["10.1.2.3:443"], True),
        (["fd12::1"], ["[fd12::1]"], True),
        (["fd12::1"], [], False),
        (["100.64.0.1"], ["100.64.0.1"], True),
        (["100.64.0.1"], [], False),
        # To name these does not help: they are the machine's own, or its network's.
        (["127.0.0.1"], ["127.0.0.1"], False),
        (["::1"], ["[::1]"], False),
        (["169.254.1.1"], ["169.254.1.1"], False),
        (["fe80::1"], ["[fe80::1]"], False),
        (["224.0.0.1"], ["224.0.0.1"], False),
        (["240.0.0.1"], ["240.0.0.1"], False),
        (["no address"], ["no address".replace(" ", "")], False),
        # Of several addresses the first that may be reached is taken.
        (["8.8.8.8", "169.254.169.254"], [], "8.8.8.8"),
        (["127.0.0.1", "8.8.8.8", "10.0.0.1"], [], "8.8.8.8"),
    ],
)
def test_a_name_may_lead_outside_or_to_a_private_address_that_is_listed(
    addresses: list[str],
    listed: list[str],
    reached: bool | str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    entries = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, 443)) for one in addresses]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: entries)
    tried: list[str] = []

    async def connect(address: str, port: int) -> None:
        tried.append(address)
        raise OSError("nobody")

    monkeypatch.setattr(asyncio, "open_connection", connect)
    rules = [HostRule.parse(text) for text in ("shop.example", *listed)]
    with Proxy(tmp_path / "s", rules) as proxy:
        answer = Tunnel(proxy, "shop.example", 443).answer
        assert answer.startswith(b"HTTP/1.1 502" if reached else b"HTTP/1.1 403")
        assert tried == ([reached] if isinstance(reached, str) else addresses[-1:] * reached)
        (visit,) = proxy.take_visits()
        assert bool(visit.refused) is not bool(reached)
        assert bool(visit.failed) is bool(reached)


@pytest.mark.parametrize(
    ("rule", "address", "reached"),
    [
        # A transparent proxy's address stands for a name, not for whatever is below a domain.
        ("shop.example", "198.18.0.1", True),
        ("*.example", "198.18.0.1", False),
        ("*.example", "8.8.8.8", True),
        ("*.example", "10.0.0.1", False),
        # An address itself, wherever it leads.
        ("10.0.0.1", "10.0.0.1", True),
        ("169.254.169.254", "169.254.169.254", True),
        ("127.0.0.1", "127.0.0.1", True),
    ],
)
def test_what_a_rule_lets_an_address_stand_for(
    rule: str, address: str, reached: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 443))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: [entry])

    async def connect(address: str, port: int) -> None:
        raise OSError("nobody")

    monkeypatch.setattr(asyncio, "open_connection", connect)
    host = rule if read_address(rule) else "shop.example"
    with Proxy(tmp_path / "s", [HostRule.parse(rule)]) as proxy:
        answer = Tunnel(proxy, host, 443).answer
        assert answer.startswith(b"HTTP/1.1 502" if reached else b"HTTP/1.1 403")


@pytest.mark.parametrize(
    ("text", "host", "port", "allowed"),
    [
        ("a.example", "a.example", 80, True),
        ("a.example", "a.example", 443, True),
        ("a.example", "a.example", 8080, False),
        ("a.example:8080", "a.example", 8080, True),
        ("a.example:8080", "a.example", 443, False),
        ("a.example", "b.a.example", 443, False),
        ("*.a.example", "b.a.example", 443, True),
        ("*.a.example", "c.b.a.example", 443, True),
        ("*.a.example", "a.example", 443, False),
        ("*.a.example", "ba.example", 443, False),
        ("*.a.example:81", "b.a.example", 80, False),
        ("10.0.0.1", "10.0.0.1", 80, True),
        ("*.0.0.1", "10.0.0.1", 80, False),
    ],
)
def test_each_arm_of_a_rule(text: str, host: str, port: int, allowed: bool) -> None:
    assert HostRule.parse(text).allows(host, port) is allowed


@pytest.mark.parametrize("first", ["client", "server"])
def test_when_one_side_ends_the_other_is_ended(first: str, tmp_path: Path) -> None:
    """A far connection that stays open is a way outside after the sandbox is gone."""
    with socket.create_server(("127.0.0.1", 0)) as far:
        port = far.getsockname()[1]
        with Proxy(tmp_path / "s", [HostRule.parse(f"127.0.0.1:{port}")]) as proxy:
            tunnel = Tunnel(proxy, "127.0.0.1", port)
            tunnel.say(b"hello")
            served, _ = far.accept()
            served.settimeout(10)
            with served:
                assert served.recv(5) == b"hello"
                if first == "client":
                    tunnel.socket.close()
                    assert served.recv(5) == b""
                else:
                    served.close()
                    assert tunnel.rest() == b""


@pytest.mark.slow
def test_idle_tunnels_make_room_for_who_waits(tmp_path: Path) -> None:
    with listening() as (port, _):
        rules = [HostRule.parse(f"127.0.0.1:{port}")]
        with Proxy(tmp_path / "s", rules, crowded_idle_s=0.5) as proxy:
            idle = [Tunnel(proxy, "127.0.0.1", port) for _ in range(MAX_CONNECTIONS)]
            time.sleep(0.8)
            assert not any(tunnel.ended() for tunnel in idle)  # Nobody waits.
            idle[0].say(b"busy")
            began = time.monotonic()
            assert Tunnel(proxy, "127.0.0.1", port).answer.startswith(b"HTTP/1.1 200")
            assert time.monotonic() - began < 5
            assert [tunnel.ended() for tunnel in idle].count(True) == 1
            assert not idle[0].ended()


def test_idle_tunnels_end_in_time(tmp_path: Path) -> None:
    with listening() as (port, _):
        rules = [HostRule.parse(f"127.0.0.1:{port}")]
        with Proxy(tmp_path / "s", rules, idle_s=0.3, crowded_idle_s=0.2) as proxy:
            assert Tunnel(proxy, "127.0.0.1", port).rest() == b""


def test_closing_with_open_tunnels_is_silent(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with listening() as (port, _):
        with Proxy(tmp_path / "s", [HostRule.parse(f"127.0.0.1:{port}")]) as proxy:
            tunnels = [Tunnel(proxy, "127.0.0.1", port) for _ in range(3)]
            waiting = socket.socket(socket.AF_UNIX)
            waiting.connect(str(proxy.socket))
        assert [tunnel.rest() for tunnel in tunnels] == [b""] * 3
        waiting.close()
    gc.collect()
    assert caplog.records == [] and capfd.readouterr().err == ""


def test_a_tunnel_that_is_refused_leaves_no_connection_behind(
    tmp_path: Path, everywhere_is_outside: None
) -> None:
    """It is closed at once, and not when somebody collects what is left of it."""
    with socket.create_server(("127.0.0.1", 0)) as far:
        port = far.getsockname()[1]
        with Proxy(tmp_path / "s", [HostRule("localhost", port)]) as proxy:
            gc.disable()
            try:
                tunnel = Tunnel(proxy, "localhost", port)
                tunnel.say(BAD)
                served, _ = far.accept()
                with served:
                    served.settimeout(5)
                    assert served.recv(1) == b""
                assert tunnel.rest() == UNRECOGNIZED_NAME
            finally:
                gc.enable()

"""The filtering proxy lets through what is on its list, and nothing by a side door."""

from __future__ import annotations

import http.server
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandboxes.access import HostRule, Visit
from sandboxes.proxy import Proxy
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
    head = f"POST http://127.0.0.1:{port}/a?b=c HTTP/1.1\r\nHost: elsewhere\r\n"
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
        b"GET http://[::1 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET " + b"x" * 100_000 + b" HTTP/1.1\r\n\r\n",
    ],
)
def test_other_requests_are_refused(ask: Ask, data: bytes) -> None:
    assert ask(data).startswith(b"HTTP/1.1 403")


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

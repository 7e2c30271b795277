"""Where the lines are drawn: entries of a list, heads of requests, hellos of TLS, first bytes."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import struct
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h11
import pytest

from sandboxes import proxy as proxies
from sandboxes import tls
from sandboxes.access import (
    INSTALLERS,
    PRESETS,
    REGISTRIES,
    Access,
    HostRule,
    Visit,
    carried,
    literal,
    not_outside,
    own_addresses,
    read_address,
)
from sandboxes.http_head import (
    RefusedError,
    Target,
    check_host,
    read_head,
    response,
    rewritten,
    target_of,
)
from sandboxes.proxy import Proxy, _connect, _opening, _protocol, _UnreachableError
from sandboxes.tls import Hello, NotTlsError, read_hello
from tests.helpers.hello import client_hello, in_records, with_extension

RULE = HostRule("a.example", 443)


@pytest.mark.parametrize(
    ("rules", "everything", "recorded", "proxied", "nothing"),
    [
        ((), False, False, False, True), ((RULE,), False, False, True, False),
        ((), True, False, False, False), ((RULE,), True, False, True, False),
        ((), False, True, True, True), ((), True, True, False, False),
        ((RULE,), True, True, True, False),
    ],
)  # fmt: skip
def test_what_an_access_needs(
    rules: tuple[HostRule, ...], everything: bool, recorded: bool, proxied: bool, nothing: bool
) -> None:
    access = Access(rules, everything, recorded)
    assert (access.proxied, access.nothing) == (proxied, nothing)
    assert Access() == Access((), everything=False, recorded=False)
    assert Visit("h", 1) == Visit("h", 1, "", "") and HostRule("h").port is None


@pytest.mark.parametrize(
    ("text", "name", "port"),
    [
        ("PyPI.org", "pypi.org", None), ("*.Example.org:1", "*.example.org", 1),
        ("a_b-c.d:65535", "a_b-c.d", 65535), ("[::1]", "::1", None), ("[::1]:80", "::1", 80),
        ("[0:0::7f00:1]:80", "::7f00:1", 80), ("[::ffff:10.0.0.1]", None, None),
        ("[::ffff:a00:1]", "10.0.0.1", None), ("10.0.0.1:8", "10.0.0.1", 8),
        ("a:0", None, None), ("a:65536", None, None), ("a:123456", None, None), ("a:", None, None),
        ("", None, None), ("a b", None, None), ("::1", None, None), ("[::g]", None, None),
        ("[::1", None, None), ("*", None, None), ("a.*.b", None, None), ("http://a", None, None),
        ("a/b", None, None),
    ],
)  # fmt: skip
def test_an_entry_of_a_list(text: str, name: str | None, port: int | None) -> None:
    if name is None:
        with pytest.raises(ValueError, match="is not a"):
            HostRule.parse(text)
        return
    rule = HostRule.parse(text)
    assert (rule.name, rule.port) == (name, port)
    assert (rule.address is not None) is (":" in name or name[-1].isdigit())


def test_the_lists_that_have_names() -> None:
    assert PRESETS == {"registries": REGISTRIES, "installers": INSTALLERS}
    assert all(HostRule.parse(host).port is None for host in (*REGISTRIES, *INSTALLERS))
    assert {"pypi.org", "registry.npmjs.org"} <= {*REGISTRIES} and "github.com" in INSTALLERS


def test_spellings_of_hosts() -> None:
    assert read_address("::ffff:10.0.0.1") == read_address("10.0.0.1")
    assert read_address("fe80::1%eth0") == ipaddress.IPv6Address("fe80::1")
    assert read_address("a.example") is None and read_address("") is None
    assert literal("0:0::1") == "::1" and literal("A.example") == "A.example"
    assert all(read_address(str(one)) == one for one in own_addresses())


@pytest.mark.parametrize(
    ("text", "inner"),
    [
        ("10.0.0.1", []), ("2001:4860::1", []), ("::", []), ("::1", []), ("::2", ["0.0.0.2"]),
        ("::10.0.0.1", ["10.0.0.1"]), ("64:ff9b::a00:1", ["10.0.0.1"]),
        ("64:ff9b:0:0:0:1:a00:1", []), ("::ffff:0:a00:1", ["10.0.0.1"]),
        ("2002:a00:1::1", ["10.0.0.1"]),
        ("2001:0:808:808::f5ff:fffe", ["8.8.8.8", "10.0.0.1"]),
        ("2a00::5efe:a00:1", ["10.0.0.1"]), ("2a00::200:5efe:a00:1", ["10.0.0.1"]),
        ("2a00::100:5efe:a00:1", []), ("2a00::5eff:a00:1", []),
    ],
)  # fmt: skip
def test_the_addresses_inside_an_address(text: str, inner: list[str]) -> None:
    address = ipaddress.ip_address(text)
    assert [str(one) for one in carried(address)] == inner


@pytest.mark.parametrize(
    ("text", "outside"),
    [
        # The first and the last of a network, and their neighbours.
        ("9.255.255.255", True), ("10.0.0.0", False), ("10.255.255.255", False), ("11.0.0.0", True),
        ("172.15.255.255", True), ("172.16.0.0", False), ("192.167.255.255", True),
        ("192.168.0.0", False), ("192.169.0.0", True), ("100.63.255.255", True),
        ("126.255.255.255", True), ("128.0.0.0", True), ("1.0.0.0", True), ("0.255.255.255", False),
        ("169.253.255.255", True), ("169.254.0.0", False), ("169.255.0.0", True),
        ("223.255.255.255", True), ("224.0.0.0", False), ("239.255.255.255", False),
        ("192.88.99.0", False), ("198.17.255.255", True), ("198.20.0.0", True),
        ("1fff:ffff::", False), ("2000::", True), ("3fff:0fff::", False), ("3ffe::", True),
        ("4000::", False), ("7fff::", False), ("8000::", False), ("ffff::", False),
        ("2001:1ff::", False), ("2001:200::", True), ("168.63.129.15", True),
    ],
)  # fmt: skip
def test_the_edges_of_what_is_outside(text: str, outside: bool) -> None:
    assert (not_outside(ipaddress.ip_address(text)) == "") is outside


def test_an_address_of_ones_own_is_this_machine_in_any_spelling() -> None:
    own = {ipaddress.ip_address("8.8.8.8"), ipaddress.ip_address("2a00::1")}
    for text in ("8.8.8.8", "64:ff9b::808:808", "2002:808:808::1", "2a00::1"):
        assert not_outside(ipaddress.ip_address(text), own) == "this machine"
    assert not_outside(ipaddress.ip_address("2a00::2"), own) == ""


def test_an_answer_of_the_proxys_own() -> None:
    told = response(403, "é no")
    assert told == (
        b"HTTP/1.1 403 Refused\r\nContent-Length: 6\r\nConnection: close\r\n\r\n\xc3\xa9 no\n"
    )
    assert RefusedError("no").answer == response(403, "no") and str(RefusedError("no")) == "no"
    assert RefusedError("no", b"").answer == b"" and RefusedError("no", b"x").answer == b"x"


def head(line: str, *headers: str) -> Any:
    connection = h11.Connection(h11.SERVER)
    connection.receive_data("\r\n".join([line, *headers, "", ""]).encode())
    return connection.next_event()


def reading(*chunks: bytes) -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    for chunk in chunks:
        reader.feed_data(chunk)
    reader.feed_eof()
    return reader


@pytest.mark.parametrize(("size", "fits"), [(16 * 1024 - 200, True), (16 * 1024 + 200, False)])
def test_the_size_of_a_head_is_bound(size: int, fits: bool) -> None:
    raw = b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * size

    async def run() -> Any:
        return await read_head(reading(b"\r\n\r\nrest"), raw)

    if fits:
        request, rest = asyncio.run(run())
        assert request.method == b"GET" and rest == b"rest"
    else:
        with pytest.raises(RefusedError, match="not an HTTP request"):
            asyncio.run(run())


def test_each_host_header_is_looked_at() -> None:
    target = Target("a.example", 80)
    check_host(head("GET / HTTP/1.0"), target)
    with pytest.raises(RefusedError, match=r"names 'b.example', the address a.example:80$"):
        check_host(head("GET / HTTP/1.0", "Host: b.example"), target)
    long = "Host: " + "b" * 100
    with pytest.raises(RefusedError, match=f"names '{'b' * 80}', the"):
        check_host(head("GET / HTTP/1.1", long), target)
    check_host(head("GET / HTTP/1.1", "Host: [0:0::1]"), Target("::1", 80))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("GET ftp://a/ HTTP/1.1", "only http:// addresses and CONNECT are served"),
        (f"GET http://[{'x' * 90} HTTP/1.1", "'http://" + r"\[" + "x" * 72 + "' is no address: "),
        ("CONNECT a:x HTTP/1.1", "'a:x' is no address"),
    ],
)
def test_a_target_that_is_none_is_named(line: str, words: str) -> None:
    with pytest.raises(RefusedError, match=words):
        target_of(head(line, "Host: a"))


def test_a_request_is_written_for_its_server_alone() -> None:
    request = head("PUT http://a/x HTTP/1.1", "Host: a", "X-A: b", "TE: x", "Upgrade: y")
    assert rewritten(request, Target("a", 80, "/\xe9")) == (
        b"PUT /? HTTP/1.1\r\nHost: a\r\nx-a: b\r\nte: x\r\nConnection: close\r\n\r\n"
    )


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", ""), (b"\x16", "TLS"), (b"\x16garbage", "TLS"), (b"\x17", "other"),
        (b"GET", ""), (b"\r\n\r\nGET", ""), (b"GET /x", ""), (b"GET\t/x HTTP", ""),
        (b"GET /x HTTP/1", "HTTP"), (b"\r\nget /x http/2", "HTTP"), (b"GET /x HTTP/", ""),
        (b"GET /x\r\n", "other"), (b"\x80", "other"), (b"x" * 64, ""), (b"x" * 65, "other"),
        (b"GET " + b"x" * (16 * 1024 - 4), ""), (b"GET " + b"x" * (16 * 1024 - 3), "HTTP"),
        (b" GET", "other"), (b"SSH-2.0-x\r\n", "other"),
    ],
)  # fmt: skip
def test_what_the_first_bytes_are(data: bytes, kind: str) -> None:
    assert _protocol(data) == kind


HELLO = client_hello("a.example")
GET = b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n"


@pytest.mark.parametrize(
    ("rule", "port", "start", "more", "passed"),
    [
        # A rule that is an address looks at nothing.
        ("10.0.0.1", 443, b"x", [], b"x"),
        # TLS, in one piece and in two.
        ("a.example", 443, HELLO, [], HELLO), ("a.example", 443, HELLO[:9], [HELLO[9:]], HELLO),
        ("a.example", 443, b"", [HELLO], HELLO),
        ("a.example", 443, client_hello("b.example"), [], "with b.example in a tunnel to a.ex"),
        ("a.example", 443, HELLO[:9], [], "ended before it named a host"),
        ("a.example", 443, b"", [], "ended before it named a host"),
        # HTTP on a port of the web that is not TLS's.
        ("a.example", 80, GET[:5], [GET[5:] + b"x"],
         b"GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\nx"),
        ("a.example", 443, GET, [], "something else than TLS"),
        ("a.example:80", 80, b"\x80", [], "something else than TLS"),
        ("a.example:443", 443, b"\x80", [], "something else than TLS"),
        # Anything on a port that the list names.
        ("a.example:22", 22, b"\x80x", [], b"\x80x"), ("a.example:22", 22, b"", [b"SSH-2\n"],
                                                       b"SSH-2\n"),
        ("a.example:22", 22, b"", [], b""), ("a.example:22", 22, b"GE", [], "ended before it"),
        ("a.example:22", 22, HELLO, [], HELLO),
    ],
)  # fmt: skip
def test_what_a_tunnel_may_begin_with(
    rule: str, port: int, start: bytes, more: list[bytes], passed: bytes | str
) -> None:
    target = Target("a.example", port)

    async def run() -> bytes:
        return await _opening(reading(*more), start, target, HostRule.parse(rule))

    if isinstance(passed, bytes):
        assert asyncio.run(run()) == passed
    else:
        with pytest.raises(RefusedError, match=passed):
            asyncio.run(run())


@pytest.mark.parametrize(
    ("rule", "start", "waits"),
    [("a.example", b"", False), ("a.example:22", b"", True), ("a.example:22", b"GE", False)],
)
def test_a_tunnel_that_says_nothing_is_not_waited_for(
    rule: str, start: bytes, waits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proxies, "HEAD_S", 0.01)

    async def run() -> bytes:
        port = 22 if ":" in rule else 443
        opening = _opening(
            asyncio.StreamReader(), start, Target("a.example", port), HostRule.parse(rule)
        )
        async with asyncio.timeout(0.05 if waits else 5):
            return await opening

    with pytest.raises(TimeoutError if waits else RefusedError) as error:
        asyncio.run(run())
    if not waits:
        assert str(error.value) == "nothing that names a host within 0.01 s"
        assert getattr(error.value, "answer", None) == b""


def test_the_first_address_that_answers_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[Any] = []

    async def connect(address: str, port: int) -> Any:
        tried.append((address, port))
        if address == "late":
            await asyncio.sleep(5)
        if address != "good":
            raise OSError(f"no {address}")
        return "connection"

    monkeypatch.setattr(asyncio, "open_connection", connect)
    found: Any = asyncio.run(_connect(["a", "good", "b"], 7))
    assert found == "connection"
    assert tried == [("a", 7), ("good", 7)]
    monkeypatch.setattr(proxies, "CONNECT_S", 0.01)
    for addresses, words in (
        (["a", "b"], "OSError: no b"), ([], "OSError: no address"), (["late"], "TimeoutError: "),
    ):  # fmt: skip
        with pytest.raises(_UnreachableError, match=words):
            asyncio.run(_connect(addresses, 7))


@pytest.mark.parametrize(
    ("ages", "waiting", "ended"),
    [
        # Seconds without a byte; 2 are too many, and 1 while others wait, for the quietest.
        ([3.0, 0.5], 0, [0]), ([1.5, 0.5], 0, []), ([1.5, 0.5], 1, [0]), ([0.5, 1.5], 1, [1]),
        ([1.5, 1.6, 0.5], 1, [1]), ([1.5, 1.6, 0.5], 2, [0, 1]), ([0.5, 0.6], 2, []),
    ],
)  # fmt: skip
def test_the_quietest_connections_end_first(
    ages: list[float], waiting: int, ended: list[int], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    proxy = Proxy(tmp_path / "s", [], idle_s=2.0, crowded_idle_s=1.0)
    cancelled: list[int] = []
    slept: list[float] = []

    class Task:
        def __init__(self, number: int) -> None:
            self.number = number

        def cancel(self) -> None:
            cancelled.append(self.number)

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) > 1:
            raise asyncio.CancelledError

    for number, age in enumerate(ages):
        connection = proxies._Connection(Task(number))  # type: ignore[arg-type]
        connection.used = 100.0 - age
        proxy._open.add(connection)
    proxy._waiting = waiting
    monkeypatch.setattr(proxies, "asyncio", SimpleNamespace(sleep=sleep))
    monkeypatch.setattr(proxies, "time", SimpleNamespace(monotonic=lambda: 100.0))
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(proxy._end_idle())
    assert sorted(cancelled) == ended and slept == [0.25, 0.25]


def test_the_limits_of_a_proxy_are_those_of_the_document(tmp_path: Path) -> None:
    text = " ".join((Path(__file__).parents[2] / "docs" / "security.md").read_text("utf-8").split())
    proxy = Proxy(tmp_path / "s", [])
    assert "a proxy of its own with up to 64 connections" in text and proxy._slots._value == 64
    assert "on which nothing passes ends after ten minutes" in text and proxy.idle_s == 600
    assert "after one minute" in text and proxy.crowded_idle_s == 60


def test_who_waits_for_a_connection_is_counted(tmp_path: Path) -> None:
    proxy = Proxy(tmp_path / "s", [])
    proxy._slots = asyncio.Semaphore(1)

    async def play() -> None:
        async def hold() -> None:
            async with proxy._connection():
                await asyncio.sleep(0.005)

        assert proxy._waiting == 0
        first, second = asyncio.ensure_future(hold()), asyncio.ensure_future(hold())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        (open_one,) = proxy._open
        assert proxy._waiting == 1 and open_one.task is first
        before = open_one.used
        open_one.touch()
        assert open_one.used >= before
        await first
        await asyncio.sleep(0)
        assert proxy._waiting == 0 and [one.task for one in proxy._open] == [second]
        leaving = asyncio.ensure_future(hold())
        await asyncio.sleep(0)
        leaving.cancel()
        await second
        assert proxy._waiting == 0 and not proxy._open

    asyncio.run(play())


class Writer:
    """What is written to a client, who may be gone."""

    def __init__(self, gone: bool = False) -> None:
        self.told, self.gone = b"", gone

    def write(self, data: bytes) -> None:
        self.told += data

    async def drain(self) -> None:
        if self.gone:
            raise ConnectionResetError


@pytest.mark.parametrize("gone", [False, True])
def test_a_client_that_says_nothing_is_told_so(
    gone: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proxies, "HEAD_S", 0.01)
    writer = Writer(gone)

    async def play() -> None:
        proxy = Proxy(tmp_path / "s", [])
        await proxy._client(asyncio.StreamReader(), writer)  # type: ignore[arg-type]

    asyncio.run(play())
    assert writer.told.startswith(b"HTTP/1.1 502 ") and b"TimeoutError: " in writer.told


def test_a_name_without_an_address_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy, rule = Proxy(tmp_path / "s", []), HostRule("a.example")
    target = Target("a.example", 443)
    found: Any = OSError("unknown")

    def lookup(*arguments: Any, **options: Any) -> Any:
        assert arguments[:4] == ("a.example", 443, 0, socket.SOCK_STREAM)
        if isinstance(found, Exception):
            raise found
        return [(0, 0, 0, "", (one, 443)) for one in found]

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    for error in (OSError("unknown"), UnicodeError("odd")):
        found = error
        with pytest.raises(RefusedError, match=f"a.example has no address: {error}"):
            asyncio.run(proxy._addresses(target, rule))
    found = ["8.8.8.8", "10.0.0.1", "8.8.8.8", "8.8.4.4"]
    assert asyncio.run(proxy._addresses(target, rule)) == ["8.8.8.8", "8.8.4.4"], "each once"
    found = ["10.0.0.1", "nonsense", "127.0.0.1"]
    words = r"leads to a private network \(10.0.0.1\), nowhere \(nonsense\), this machine \(127"
    with pytest.raises(RefusedError, match=words):
        asyncio.run(proxy._addresses(target, rule))


def record(message: bytes) -> bytes:
    return b"\x16\x03\x01" + struct.pack("!H", len(message)) + message


MESSAGE = HELLO[5:]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\x17", "no TLS hello"), (b"\x16\x02", "no TLS hello"), (b"x\x03", "no TLS hello"),
        (b"\x16\x03\x01\x00\x00", "a TLS record of 0 bytes"),
        (b"\x16\x03\x01" + struct.pack("!H", 2**14 + 1), "a TLS record of 16385 bytes"),
        (record(b"\x02"), "does not begin with a hello"),
        (record(b"\x01" + (2**16 - 3).to_bytes(3, "big")), "a TLS hello of 65537 bytes"),
        (record(MESSAGE + b"x"), "something behind it"),
        (record(b"\x01\x00\x00\x20" + b"x" * 32), "breaks off inside"),
        (record(b"\x01\x00\x00\x22" + b"x" * 34), "breaks off inside"),
        (record(b"\x01\x00\x00\x27" + b"x" * 34 + b"\x00\x00\x02\x00\x00"), "breaks off inside"),
        (record(b"\x01\x00\x00\x26" + b"x" * 34 + b"\x00\x00\x00\x02"), "breaks off inside"),
        (with_extension(client_hello(None), 0, b"\x00\x06\x01\x00\x03a.b"), "unknown kind"),
        (with_extension(client_hello(None), 0, b"\x00\x06\x00\x00\x03\xff.b"), "is not ASCII"),
        (with_extension(client_hello(None), 0, b"\x00\x07\x00\x00\x03a.b"), "a wrong length in it"),
        (with_extension(client_hello(None), 0, b"\x00\x06\x00\x00\x02a.b"), "a wrong length in it"),
        (with_extension(HELLO, 0, b"\x00\x0a\x00\x00\x07evil.io"), "extension 0 twice"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_hello_is_told(data: bytes, words: str) -> None:
    with pytest.raises(NotTlsError, match=words):
        read_hello(data)


@pytest.mark.parametrize(
    "data",
    [b"", b"\x16", b"\x16\x03", b"\x16\x03\x01\x40", b"\x16\x03\x01\x40\x00",
     record(b"\x01" + (2**16 - 4).to_bytes(3, "big")), record(MESSAGE[:3]), record(MESSAGE[:4])],
)  # fmt: skip
def test_a_beginning_may_become_a_hello(data: bytes) -> None:
    assert read_hello(data) is None


def test_hellos_with_and_without_what_may_follow() -> None:
    bare = b"\x03\x03" + b"x" * 32 + b"\x01s" + b"\x00\x02\x13\x01" + b"\x01\x00"
    assert read_hello(record(b"\x01" + len(bare).to_bytes(3, "big") + bare)) == Hello("")
    empty = bare + b"\x00\x00"
    assert read_hello(record(b"\x01" + len(empty).to_bytes(3, "big") + empty)) == Hello("")
    odd = bare + b"\x00\x05\x00\x07\x00\x02x"
    with pytest.raises(NotTlsError, match="breaks off inside"):
        read_hello(record(b"\x01" + len(odd).to_bytes(3, "big") + odd))
    assert Hello("a") == Hello("a", encrypted=False)
    # Records of one byte each, of which the last is whole.
    assert read_hello(in_records(HELLO, 1)) == Hello("a.example")
    assert bytes([21, 3, 3, 0, 2, 2, 112]) == tls.UNRECOGNIZED_NAME

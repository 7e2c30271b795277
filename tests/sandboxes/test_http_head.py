"""The head of a request through the proxy: where it goes, and what is passed on of it."""

from __future__ import annotations

import asyncio

import pytest

from sandboxes.http_head import (
    RefusedError,
    Target,
    check_host,
    inner_target,
    read_head,
    rewritten,
    target_of,
)


def read(*chunks: bytes, start: bytes = b"") -> tuple[object, bytes]:
    """The head of what a client sends, piece by piece."""

    async def run() -> tuple[object, bytes]:
        reader = asyncio.StreamReader()
        for chunk in chunks:
            reader.feed_data(chunk)
        reader.feed_eof()
        return await read_head(reader, start)

    return asyncio.run(run())


def head(line: str, *headers: str) -> object:
    raw = "\r\n".join([line, *(headers or ("Host: a.example",)), "", ""])
    return read(raw.encode())[0]


@pytest.mark.parametrize(
    ("line", "target"),
    [
        ("CONNECT a.example:8443 HTTP/1.1", Target("a.example", 8443)),
        ("CONNECT a.example HTTP/1.1", Target("a.example", 443)),
        ("CONNECT A.Example:443 HTTP/1.1", Target("a.example", 443)),
        ("CONNECT [::1]:443 HTTP/1.1", Target("::1", 443)),
        ("GET http://a.example HTTP/1.1", Target("a.example", 80, "/")),
        ("GET http://a.example/x?y=z HTTP/1.1", Target("a.example", 80, "/x?y=z")),
        ("GET http://a.example?y HTTP/1.1", Target("a.example", 80, "/?y")),
        ("GET http://a.example:81/x#f HTTP/1.1", Target("a.example", 81, "/x")),
        ("GET http://u:p@a.example/ HTTP/1.1", Target("a.example", 80, "/")),
        ("GET https://a.example/ HTTP/1.1", None),
        ("GET /x HTTP/1.1", None),
        ("GET http:///x HTTP/1.1", None),
        ("GET http://a.example:x/ HTTP/1.1", None),
        ("CONNECT a.example:99999 HTTP/1.1", None),
    ],
)
def test_where_a_request_goes(line: str, target: Target | None) -> None:
    if target is None:
        with pytest.raises(RefusedError):
            target_of(head(line))
    else:
        assert target_of(head(line)) == target


TUNNEL = Target("a.example", 80)


@pytest.mark.parametrize(
    ("line", "target"),
    [
        ("GET /x HTTP/1.1", Target("a.example", 80, "/x")),
        ("OPTIONS * HTTP/1.1", Target("a.example", 80, "*")),
        ("GET http://a.example/x HTTP/1.1", Target("a.example", 80, "/x")),
        ("GET * HTTP/1.1", None),
        ("GET http://b.example/x HTTP/1.1", None),
        ("GET http://a.example:81/x HTTP/1.1", None),
        ("CONNECT a.example:80 HTTP/1.1", None),
    ],
)
def test_a_request_in_a_tunnel_stays_in_it(line: str, target: Target | None) -> None:
    if target is None:
        with pytest.raises(RefusedError):
            inner_target(head(line), TUNNEL)
    else:
        assert inner_target(head(line), TUNNEL) == target


@pytest.mark.parametrize(
    ("named", "target", "right"),
    [
        ("a.example", TUNNEL, True),
        ("a.example:80", TUNNEL, True),
        ("A.EXAMPLE", TUNNEL, True),
        ("b.example", TUNNEL, False),
        ("a.example:81", TUNNEL, False),
        ("a.example", Target("a.example", 81), False),
        ("a.example:81", Target("a.example", 81), True),
        ("x@a.example", TUNNEL, False),
        ("a.example:x", TUNNEL, False),
        ("", TUNNEL, False),
    ],
)
def test_the_host_header_names_the_host(named: str, target: Target, right: bool) -> None:
    request = head("GET / HTTP/1.1", "Accept: */*", f"Host: {named}")
    if right:
        check_host(request, target)
    else:
        with pytest.raises(RefusedError, match="the Host header names"):
            check_host(request, target)


def test_each_header_about_the_connection_is_left_out_and_each_other_kept() -> None:
    kept = ["Accept: */*", "Authorization: Basic x", "Content-Length: 3", "X-Two: a", "X-Two: b"]
    own = [
        "Connection: keep-alive", "Keep-Alive: 5", "Proxy-Connection: close",
        "Proxy-Authorization: Basic y", "Upgrade: h2c", "HTTP2-Settings: z",
    ]  # fmt: skip
    request = head("POST http://a.example:81/p HTTP/1.1", "Host: a.example:81", *kept, *own)
    assert rewritten(request, Target("a.example", 81, "/p")).decode().split("\r\n") == [
        "POST /p HTTP/1.1",
        "Host: a.example:81",
        *(line.lower().split(": ")[0] + ": " + line.split(": ")[1] for line in kept),
        "Connection: close",
        "",
        "",
    ]
    request = head("GET / HTTP/1.1")
    assert b"\r\nHost: [::1]\r\n" in rewritten(request, Target("::1", 80, "/"))
    assert b"\r\nHost: [::1]:81\r\n" in rewritten(request, Target("::1", 81, "/"))
    assert b"\r\nHost: a.example:443\r\n" in rewritten(request, Target("a.example", 443, "/"))


def test_a_head_in_pieces_is_read_with_what_follows_it() -> None:
    request, rest = read(b"GET / HTTP/1.1\r\nHo", b"st: x\r\n\r\nbody", start=b"")
    assert rest == b"body" and target_of(head("GET http://x/ HTTP/1.1")).host == "x"
    _, rest = read(b"more", start=b"GET / HTTP/1.1\r\nHost: x\r\n\r\nbo")
    assert rest == b"bo", "what was not read stays with the client"
    assert request is not None
    for broken in (b"", b"GET / HTTP/1.1\r\nHost: x\r\n"):
        with pytest.raises(RefusedError, match="broken off"):
            read(broken)
    with pytest.raises(RefusedError, match="not an HTTP request"):
        read(b"\x16\x03\x01\r\n\r\n")

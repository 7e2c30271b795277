"""What a real TLS client says first."""

from __future__ import annotations

import ssl
from contextlib import suppress


def client_hello(name: str | None) -> bytes:
    """The first bytes of a client that wants the server ``name``; without a name if None."""
    context = ssl.create_default_context()
    context.check_hostname = False
    outgoing = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=name)
    with suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


def in_records(hello: bytes, size: int) -> bytes:
    """The same hello, divided into records of ``size`` bytes."""
    message = hello[5:]
    parts = [message[start : start + size] for start in range(0, len(message), size)]
    return b"".join(b"\x16\x03\x01" + len(part).to_bytes(2, "big") + part for part in parts)


def with_extension(hello: bytes, kind: int, content: bytes) -> bytes:
    """The same hello with one more extension at its end."""
    message = bytearray(hello[9:])
    place = 34 + 1 + message[34]
    place += 2 + int.from_bytes(message[place : place + 2], "big")
    place += 1 + message[place]
    added = kind.to_bytes(2, "big") + len(content).to_bytes(2, "big") + content
    length = int.from_bytes(message[place : place + 2], "big") + len(added)
    message[place : place + 2] = length.to_bytes(2, "big")
    handshake = b"\x01" + (len(message) + len(added)).to_bytes(3, "big") + message + added
    return b"\x16\x03\x01" + len(handshake).to_bytes(2, "big") + handshake

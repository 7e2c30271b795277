"""The server name at the start of a TLS connection, read without taking part in it (RFC 8446,
RFC 6066)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from sandboxes.errors import SkillOptError

UNRECOGNIZED_NAME = bytes.fromhex("15 0303 0002 0270")
"""The fatal alert for a server name that is not served."""

_HANDSHAKE, _CLIENT_HELLO = 22, 1
_SERVER_NAME, _ENCRYPTED_HELLO = 0, 0xFE0D
_HOST_NAME = 0
_LONGEST_RECORD = 2**14
_LONGEST_HELLO = 2**16


class NotTlsError(SkillOptError):
    """The bytes are not the start of a TLS connection; the message says why."""


@dataclass(frozen=True)
class Hello:
    """What a ClientHello reveals.

    Args:
        name: the server name in lower case; empty if there is none.
        encrypted: whether it holds another, encrypted hello, which may name another server.
    """

    name: str
    encrypted: bool = False


def read_hello(data: bytes) -> Hello | None:
    """The ClientHello that a connection begins with; None if ``data`` is only the start of one.

    Raises:
        NotTlsError: the connection does not begin with one.
    """
    message = _message(data)
    if message is None:
        return None
    try:
        return _hello(message)
    except (IndexError, struct.error) as error:
        raise NotTlsError("the TLS hello breaks off inside") from error


def _message(data: bytes) -> bytes | None:
    """The first handshake message without its header, put together from the records that it is
    divided into; None if some of it is missing."""
    message = b""
    while True:
        if data[:1] not in (b"", bytes([_HANDSHAKE])) or data[1:2] not in (b"", b"\x03"):
            raise NotTlsError("no TLS hello")
        length = struct.unpack_from("!H", data, 3)[0] if len(data) >= 5 else 1
        if not 0 < length <= _LONGEST_RECORD:
            raise NotTlsError(f"a TLS record of {length} bytes")
        message += data[5 : 5 + length]
        if message[:1] not in (b"", bytes([_CLIENT_HELLO])):
            raise NotTlsError("a TLS handshake that does not begin with a hello of the client")
        wanted = 4 + int.from_bytes(message[1:4], "big") if len(message) >= 4 else 4
        if wanted > _LONGEST_HELLO:
            raise NotTlsError(f"a TLS hello of {wanted} bytes")
        if len(data) < 5 + length:
            return None
        if len(message) >= wanted:
            if len(message) > wanted:
                raise NotTlsError("a TLS hello with something behind it")
            return message[4:]
        data = data[5 + length :]


def _hello(message: bytes) -> Hello:
    place = 2 + 32  # Version and random bytes.
    for size in ("!B", "!H", "!B"):  # Session, cipher suites, compression.
        place += struct.calcsize(size) + struct.unpack_from(size, message, place)[0]
    if place > len(message):
        raise NotTlsError("the TLS hello breaks off inside")
    found: dict[int, bytes] = {}
    if place < len(message):
        for kind, content in _extensions(_counted(message[place:])):
            if kind in found:
                raise NotTlsError(f"a TLS hello with extension {kind} twice")
            found[kind] = content
    name = _name(found[_SERVER_NAME]) if _SERVER_NAME in found else ""
    return Hello(name, _ENCRYPTED_HELLO in found)


def _extensions(data: bytes) -> Iterator[tuple[int, bytes]]:
    while data:
        kind, length = struct.unpack_from("!HH", data)
        if len(data) < 4 + length:
            raise NotTlsError("the TLS hello breaks off inside")
        yield kind, data[4 : 4 + length]
        data = data[4 + length :]


def _name(content: bytes) -> str:
    """The only entry of a list of server names (RFC 6066, section 3)."""
    entry = _counted(content)
    if entry[0] != _HOST_NAME:
        raise NotTlsError("a TLS hello with an unknown kind of server name")
    name = _counted(entry[1:])
    try:
        return name.decode("ascii").lower()
    except UnicodeDecodeError as error:
        raise NotTlsError("a TLS hello with a server name that is not ASCII") from error


def _counted(data: bytes) -> bytes:
    """What follows a length of two bytes, which nothing may follow."""
    (length,) = struct.unpack_from("!H", data)
    if len(data) != 2 + length:
        raise NotTlsError("a TLS hello with a wrong length in it")
    return data[2:]

"""The record of model calls: ``wire.jsonl``, one line for each, with what its request adds.

Agents send the whole conversation with every request. A long field, and each item of a list, is a
part that is written once, with its digest; a list is a known one and the digests of what follows.
Every request can be put together again as it was.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import IO, Any

from harnesses.gateway.exchange import Exchange
from harnesses.json_values import loads
from harnesses.protocols.registry import CODECS
from sandboxes.errors import SkillOptError

WIRE = "wire.jsonl"
WIRE_FORMAT = 2
"""The format number of a line. Lines of format 1 have the whole request; those without a number are
older and read alike."""
_SHORT = 200
"""The most bytes of a field that is written with each request."""


class WireWriter:
    """Writes the calls of one session. Several sessions may write to one file.

    Args:
        file: to append to.
        scrub: takes secrets out of a line.
    """

    def __init__(self, file: Path, scrub: Callable[[bytes], bytes] = lambda line: line) -> None:
        self._file, self._scrub = file, scrub
        self._known: set[str] = set()
        """The digests of what the session has written: parts, and lists up to each of their
        items."""

    def add(self, exchange: Exchange) -> int:
        """Write a call; the number of bytes. Raises OSError."""
        parts: dict[str, Any] = {}
        lists: dict[str, list[str]] = {}
        request: dict[str, Any] = {}
        shared: dict[str, dict[str, str]] = {}
        for key, value in exchange.request.items():
            text = _text(value)
            if len(text) <= _SHORT:
                request[key] = value
                continue
            request[key] = None
            if isinstance(value, list):
                shared[key] = {"list": self._list(value, parts, lists)}
            else:
                shared[key] = {"part": self._part(value, text, parts)}
        line = _line_of(exchange) | {"request": request, "shared": shared}
        line |= {"parts": parts, "lists": lists}
        raw = self._scrub(_text(line)) + b"\n"
        with self._file.open("ab") as log:
            log.write(raw)
        self._known.update(parts)
        for base, *items in lists.values():
            self._known.update(_chain(base, items))
        return len(raw)

    def _part(self, value: Any, text: bytes, parts: dict[str, Any]) -> str:
        digest = _digest(text)
        if digest not in self._known:
            parts[digest] = value
        return digest

    def _list(self, items: list[Any], parts: dict[str, Any], lists: dict[str, list[str]]) -> str:
        """The digest of a list; ``lists`` gets it if it is new."""
        digests = [self._part(item, _text(item), parts) for item in items]
        chain = list(_chain("", digests))
        new = next((n for n, digest in enumerate(chain) if digest not in self._known), len(chain))
        if new < len(chain):
            lists[chain[-1]] = [chain[new - 1] if new else "", *digests[new:]]
        return chain[-1]


class WireReader:
    """Reads a record, also while it is written: each call once."""

    def __init__(self) -> None:
        self._at = 0
        self._parts: dict[str, Any] = {}
        self._items: dict[str, tuple[str, str]] = {}
        """For the digest of each list up to each of its items: the digest without that item, and
        the digest of the item."""

    def new(self, record: IO[bytes], name: str) -> Iterator[Exchange]:
        """The calls since the last time. Lines that are not whole are left out.

        Args:
            record: a ``wire.jsonl``, always the same one.
            name: of the file, for errors.

        Raises:
            SkillOptError: it is of a version that this one cannot read.
        """
        record.seek(self._at)
        for raw in record:
            if not raw.endswith(b"\n"):
                return  # It is being written.
            self._at += len(raw)
            try:
                yield self._exchange(loads(raw), name)
            except (ValueError, KeyError, TypeError, AttributeError):
                continue

    def _exchange(self, line: Mapping[str, Any], name: str) -> Exchange:
        number = line.get("format", 1)
        if number not in (1, WIRE_FORMAT):
            raise SkillOptError(
                f"{name}: has format {number!r}, and this version reads formats 1 and "
                f"{WIRE_FORMAT}; use the version that wrote it"
            )
        response = line["response"]
        reply = CODECS[line["protocol"]].read_response(response) if response else None
        return Exchange(
            protocol=line["protocol"],
            request=self._request(line) if number == WIRE_FORMAT else line["request"],
            reply=reply,
            status=line["status"],
            error=line["error"],
            started=line["started"],
            ended=line["ended"],
            spoken=line.get("spoken"),
            left_out=tuple(line.get("left_out", ())),
            ignored=tuple(line.get("ignored", ())),
            # Old logs have "" if the client named none.
            thread=line["thread"] if "thread" in line else line.get("agent") or None,
            part=line.get("part", 0),
            blame=line.get("blame"),
            tries=line.get("tries", 1),
        )

    def _request(self, line: Mapping[str, Any]) -> Mapping[str, Any]:
        self._parts.update(line["parts"])
        for base, *items in line["lists"].values():
            before = base
            for item, digest in zip(items, _chain(base, items), strict=True):
                self._items[digest] = before, item
                before = digest
        request: dict[str, Any] = dict(line["request"])
        for key, place in line["shared"].items():
            is_list = "list" in place
            request[key] = self._list(place["list"]) if is_list else self._parts[place["part"]]
        return request

    def _list(self, digest: str) -> list[Any]:
        found = []
        while digest:
            digest, item = self._items[digest]
            found.append(self._parts[item])
        return found[::-1]


def read_wire(file: Path) -> list[Exchange]:
    """The calls in a ``wire.jsonl``, as :meth:`WireReader.new`. Their requests share what they have
    in common, and must not be changed."""
    with file.open("rb") as record:
        return list(WireReader().new(record, str(file)))


def _text(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


def _digest(text: bytes) -> str:
    # An agent must not be able to write two texts with one digest.
    return blake2b(text, digest_size=16).hexdigest()


def _chain(base: str, items: list[str]) -> Iterator[str]:
    """The digest of a list up to each of its items; ``base`` is that of what comes before."""
    for item in items:
        base = _digest(f"{base} {item}".encode())
        yield base


def _line_of(exchange: Exchange) -> dict[str, Any]:
    reply = exchange.reply
    said = CODECS[exchange.protocol].write_response(reply, reply.model, "") if reply else None
    return {
        "format": WIRE_FORMAT,
        "protocol": exchange.protocol,
        "spoken": exchange.spoken or exchange.protocol,
        "left_out": list(exchange.left_out),
        "ignored": list(exchange.ignored),
        "started": exchange.started,
        "ended": exchange.ended,
        "status": exchange.status,
        "error": exchange.error,
        "request": None,
        "response": said,
        "thread": exchange.thread,
        "part": exchange.part,
        "blame": exchange.blame,
        "tries": exchange.tries,
    }

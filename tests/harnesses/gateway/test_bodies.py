"""How much of a request is read, and what waits for room."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from harnesses.base import ModelSpec
from harnesses.gateway import bodies, door
from harnesses.gateway import session as sessions
from harnesses.gateway.bodies import Bodies, BodyError, in_memory
from harnesses.gateway.plan_upstreams import ProgramToken
from harnesses.gateway.session import Grant, Session


class Sent:
    """A request that comes in these chunks."""

    def __init__(self, *chunks: bytes, pause_s: float = 0.0) -> None:
        self.chunks, self.pause_s = chunks, pause_s

    async def stream(self) -> AsyncIterator[bytes]:
        for chunk in self.chunks:
            await asyncio.sleep(self.pause_s)
            yield chunk


def session(login: ProgramToken | None = None) -> Session:
    grant = Grant(ModelSpec("up", "m"), 1)
    return Session("t", grant, lambda token: None, Path("s"), login=login)


def read(request: Any, opened: Session | None = None) -> tuple[Any, bytes | None]:
    async def run() -> tuple[Any, bytes | None]:
        async with Bodies().read(request, opened or session()) as found:
            return found

    return asyncio.run(run())


def test_a_body_is_read_and_kept_as_it_came_if_it_passes_so() -> None:
    assert read(Sent(b'{"a": ', b"1}")) == ({"a": 1}, None)
    passing = session(ProgramToken("V", "secret"))
    assert read(Sent(b'{"a": ', b"1}"), passing) == ({"a": 1}, b'{"a": 1}')


@pytest.mark.parametrize(
    ("raw", "cost"),
    [(b"", 0), (b"abc", 3), (b"[", 61), (b"{", 61), (b'"', 31), (b",", 9), (b"}", 1), (b"]", 1),
     (b'{"a": [1, 2]}', 13 + 60 + 60 + 2 * 30 + 8)],
)  # fmt: skip
def test_bytes_in_memory(raw: bytes, cost: int) -> None:
    assert in_memory(raw) == cost


BODY = b"[" + b"1," * 20 + b"1]"
COST = in_memory(BODY) + 2 * len(BODY)


@pytest.mark.parametrize(
    ("limit", "value", "status", "words"),
    [
        ("MAX_BODY", len(BODY), 0, ""),
        ("MAX_BODY", len(BODY) - 1, 413, "it has more than 0 MiB"),
        ("ROOM", COST, 0, ""),
        ("ROOM", COST - 1, 413, "it has too many values"),
    ],
)
def test_a_body_is_bound(
    limit: str, value: int, status: int, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, limit, value)
    for chunks in ([BODY], [BODY[:7], BODY[7:]]):
        if not status:
            assert read(Sent(*chunks))[0] == [1] * 21
            continue
        with pytest.raises(BodyError, match=words) as error:
            read(Sent(*chunks))
        assert error.value.status == status


def test_a_body_comes_in_time_and_is_json(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BodyError, match="request is not JSON") as error:
        read(Sent(b"{"))
    assert error.value.status == 400
    monkeypatch.setattr(bodies, "READ_S", 0.01)
    with pytest.raises(BodyError, match=r"it did not come within 0\.01 s") as error:
        read(Sent(b"{", b"}", pause_s=1))
    assert error.value.status == 408


def test_large_bodies_wait_for_room_and_small_ones_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "_SMALL", (COST - 1) // 3)
    monkeypatch.setattr(bodies, "ROOM", COST + 1)

    async def play() -> None:
        known, order = Bodies(), list[str]()
        small = asyncio.Event()
        waiting = session()

        async def answered(name: str, raw: bytes, opened: Session) -> None:
            async with known.read(Sent(raw), opened):  # type: ignore[arg-type]
                order.append(name)
                if name == "small":
                    small.set()
                if name == "first":
                    await small.wait()
                    await asyncio.sleep(0.002)
                    assert order == ["first", "small"]
            if name == "first":
                order.append("answered")

        await asyncio.gather(
            answered("first", BODY, session()),
            answered("second", BODY, waiting),
            answered("third", BODY, session()),
            answered("small", b"[1]", session()),
        )
        assert order[:3] == ["first", "small", "answered"]
        assert sorted(order[3:]) == ["second", "third"]
        # The wait is not the agent's.
        assert waiting.service_time.seconds > 0
        assert known._room == COST + 1

    asyncio.run(play())


def test_a_body_that_costs_as_much_as_a_small_one_takes_no_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bodies, "_SMALL", COST / 3)
    monkeypatch.setattr(bodies, "ROOM", COST)

    async def play() -> None:
        known = Bodies()
        async with known.read(Sent(BODY), session()):  # type: ignore[arg-type]
            assert known._room == COST

    asyncio.run(play())


def test_one_request_of_a_session_is_read_at_a_time() -> None:
    async def play() -> None:
        opened = session()
        async with opened.reading:
            reading = asyncio.ensure_future(_read_one(opened))
            await asyncio.sleep(0.01)
            assert not reading.done()
        assert await reading == {}

    asyncio.run(play())


async def _read_one(opened: Session) -> Any:
    async with Bodies().read(Sent(b"{}"), opened) as (value, _):  # type: ignore[arg-type]
        return value


def test_the_limits_are_those_of_the_document() -> None:
    text = " ".join((Path(__file__).parents[3] / "docs" / "security.md").read_text("utf-8").split())
    for words, limit, value in (
        ("more than 20 MiB", bodies.MAX_BODY, 20 << 20),
        ("more values than 64 MiB of memory hold", bodies.ROOM, 64 << 20),
        ("16 calls at a time", session().calls._value, 16),
        ("128 MiB in its record", sessions.RECORDED_BYTES, 128 << 20),
        ("a reply at most 16 MiB", door.MAX_REPLY, 16 << 20),
    ):
        assert words in text and limit == value
    assert door.StreamRead("chat").events == in_memory(b"") == 0

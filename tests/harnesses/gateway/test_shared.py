"""Gateways that use a service together: how many requests each may make, and what they tell."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harnesses.base import ModelSpec
from harnesses.gateway.gateway import Gateway, GatewayError
from harnesses.gateway.service import Wait
from harnesses.gateway.session import Grant
from harnesses.gateway.slots import Slots
from skillopt.sim.model import SimUpstream
from tests.helpers.services import ask


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    with Gateway({"up": SimUpstream()}, tmp_path / "s", lambda *_: 0.0) as made:
        yield made


def grant(tmp_path: Path) -> Grant:
    return Grant(ModelSpec("up", "m"), 1, tmp_path)


def test_slots_that_are_taken_away_are_given_back_first() -> None:
    asyncio.run(_slots())


async def _slots() -> None:
    slots = Slots(4)
    for holder in "aabb":
        await slots.take(holder, 1)
    slots.resize(1)
    assert slots.held == 4
    waiting = asyncio.ensure_future(slots.take("c", 5))
    for holder in "aab":
        slots.give_back(holder)
        await asyncio.sleep(0)
        assert not waiting.done()
    slots.give_back("b")
    await waiting
    assert slots.held == 1
    slots.resize(0)
    slots.give_back("c")
    with pytest.raises(TimeoutError):
        await slots.take("d", 0.05)
    slots.resize(2)
    await slots.take("d", 1)


@pytest.mark.slow
def test_a_share_of_nothing_lets_nobody_through(gateway: Gateway, tmp_path: Path) -> None:
    with gateway.open(grant(tmp_path)) as session:
        assert gateway.share("up", 0) == 0
        with pytest.raises(Exception, match="timed out"):
            asyncio.run(_within(1.0, session))
        deadline = time.monotonic() + 10
        while not session.exchanges and time.monotonic() < deadline:
            time.sleep(0.01)
        assert session.exchanges
        # What was never sent has cost nothing.
        assert gateway.used(tmp_path).requests == 0
        assert gateway.share("up", 2) == 2
        assert ask(session).status_code == 200
        assert gateway.used(tmp_path).requests >= 1
    assert gateway.used(tmp_path).requests == 0, "the session has ended"


async def _within(seconds: float, session: object) -> None:
    import httpx2

    from harnesses.gateway.session import Session

    assert isinstance(session, Session)
    transport = httpx2.AsyncHTTPTransport(uds=str(session.socket))
    async with httpx2.AsyncClient(transport=transport, timeout=seconds) as http:
        body = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
        try:
            await http.post(
                "http://g/v1/chat/completions",
                json=body,
                headers={"authorization": f"Bearer {session.token}"},
            )
        except httpx2.TimeoutException as error:
            raise RuntimeError("timed out") from error


@pytest.mark.slow
def test_a_wait_that_another_was_asked_for_is_kept(gateway: Gateway, tmp_path: Path) -> None:
    import time

    with gateway.open(grant(tmp_path)) as session:
        gateway.share("up", 4, hold_s=1.5)
        began = time.monotonic()
        assert ask(session).status_code == 200
        assert 1.2 < time.monotonic() - began < 6


def test_what_another_has_found_out_blocks_here_too(gateway: Gateway, tmp_path: Path) -> None:
    gateway.block("up", "credit is used up")
    gateway.block("up", "something else")
    assert gateway.blocked("up") == "credit is used up"
    with gateway.open(grant(tmp_path)) as session:
        assert ask(session).status_code != 200
        assert session.failure == "credit is used up"


def test_waits_of_others_are_passed_on(tmp_path: Path) -> None:
    heard: list[Wait] = []
    with Gateway(
        {"up": SimUpstream()}, tmp_path / "s", lambda *_: 0.0, on_wait=heard.append
    ) as made:
        made.heard(Wait("up", "busy", 1.0, 2.0))
    assert [wait.reason for wait in heard] == ["busy"]
    with pytest.raises(GatewayError):
        made.share("up", 1)

"""Who is to blame for how a rollout ended: its agent, the model service, or where it ran."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harnesses.agents.outcome import agents_fault, gave_up, recorded, services_fault
from harnesses.base import Budget, ModelSpec, Request, Status
from harnesses.gateway.exchange import Exchange
from harnesses.gateway.session import Grant, Session
from harnesses.protocols.base import Reply
from harnesses.scrubbing import NOTHING
from harnesses.skills import BESIDE
from sandboxes.base import Limits

OK = Exchange("chat", {}, Reply("hello"), 200, "", 1.0, 2.0)


def lost(status: int, error: str, blame: Any = "service") -> Exchange:
    return Exchange("chat", {}, None, status, error, 1.0, 2.0, blame=blame)


def session(*exchanges: Exchange, **state: str) -> Session:
    made = Session("t", Grant(ModelSpec("up", "m"), 1), lambda token: None, Path("/nowhere"))
    made.exchanges += exchanges
    for name, value in state.items():
        setattr(made, name, value)
    return made


CUT = lost(200, "the stream broke off")
DOWN = lost(503, "no")


@pytest.mark.parametrize(
    ("exchanges", "state", "fault"),
    [
        ([], {}, "the model service has not replied: it was never reached"),
        ([DOWN], {}, "the model service has not replied: no"),
        ([DOWN], {"refused": "503: no"}, "the model service has not replied: 503: no"),
        ([DOWN, lost(500, "later")], {}, "the model service has not replied: later"),
        # Whoever is to blame for the last call: without any reply there was no agent to judge.
        ([lost(400, "bad", "agent")], {}, "the model service has not replied: bad"),
        ([OK], {}, ""),
        ([DOWN, OK], {}, ""),
        ([OK, DOWN], {"refused": "503: no"}, "503: no"),
        ([OK, CUT], {}, "model service: the stream broke off"),
        ([OK, lost(0, "given up")], {}, "model service: given up"),
        ([OK, CUT], {"refused": "503: earlier"}, "model service: the stream broke off"),
        ([OK, lost(400, "bad", "agent")], {"refused": "no"}, ""),
        ([OK, DOWN, OK], {"refused": "503: no"}, ""),
        # What has been given up, or used up, is said whatever came last.
        ([OK], {"failure": "gone"}, "gone"),
        ([], {"exhausted": "budget of 1"}, ""),
        ([OK, CUT], {"exhausted": "budget of 1"}, ""),
        ([OK, CUT], {"exhausted": "budget of 1", "failure": "gone"}, "gone"),
    ],
)
def test_the_service_is_to_blame_for_a_bad_end(
    exchanges: list[Exchange], state: dict[str, str], fault: str
) -> None:
    found = session(*exchanges, **state)
    assert services_fault(found) == fault
    assert agents_fault(found) is (fault == "")


@pytest.mark.parametrize(
    ("exchanges", "state", "why"),
    [
        ([], {}, ""),
        ([OK], {}, ""),
        ([OK, DOWN], {"refused": "503: no"}, "503: no"),
        ([OK, CUT], {}, "model service: the stream broke off"),
        ([CUT], {}, "the model service has not replied: the stream broke off"),
        ([OK, lost(400, "bad", "agent")], {}, ""),
        ([OK, lost(200, "left", None)], {}, ""),
        ([OK, DOWN, OK], {"refused": "503: no"}, ""),
        ([OK], {"failure": "gone"}, "gone"),
    ],
)
def test_a_good_end_after_a_lost_call_is_none(
    exchanges: list[Exchange], state: dict[str, str], why: str
) -> None:
    assert gave_up(session(*exchanges, **state)) == why


class Site:
    """What ``recorded`` asks of a site, with a session that is there already."""

    anywhere = False

    def __init__(self, opened: Session, broken: str = "") -> None:
        self.opened, self.grants, self._broken = opened, [], broken
        self.gateway: Any = SimpleNamespace(open=self._open, scrubber=NOTHING)

    @contextmanager
    def _given(self) -> Any:
        yield self.opened

    def _open(self, grant: Grant) -> Any:
        self.grants.append(grant)
        return self._given()

    def broken(self) -> str:
        return self._broken


@pytest.fixture
def request_(tmp_path: Path) -> Request:
    return Request(
        id="r", instruction="x", image="i", workspace=None, workdir="/app", skill=None,
        model=ModelSpec("up", "m"), timeout_s=60.0, limits=Limits(), budget=Budget(), seed=1,
        env={},
        record=tmp_path,
    )  # fmt: skip


INFRA, DONE, LATE = Status.INFRA_ERROR, Status.COMPLETED, Status.AGENT_TIMEOUT


@pytest.mark.parametrize(
    ("ended", "exchanges", "state", "broken", "status", "message"),
    [
        ((DONE, ""), [OK], {}, "", DONE, ""),
        # It finished before the place broke.
        ((DONE, ""), [OK], {}, "the engine is gone", DONE, ""),
        ((LATE, "stopped"), [OK], {}, "", LATE, "stopped"),
        ((LATE, "stopped"), [OK], {}, "the engine is gone", INFRA, "the engine is gone"),
        ((DONE, ""), [OK, CUT], {}, "", INFRA, "model service: the stream broke off"),
        ((LATE, "stopped"), [OK, CUT], {}, "", LATE, "stopped"),
        ((LATE, "stopped"), [OK], {"failure": "gone"}, "", INFRA, "gone"),
        ((DONE, ""), [OK, CUT], {}, "the engine is gone", INFRA, "the engine is gone"),
        ((Status.AGENT_ERROR, "it crashed"), [OK], {}, "", Status.AGENT_ERROR, "it crashed"),
    ],
)
def test_the_status_is_of_who_is_to_blame(
    ended: tuple[Status, str],
    exchanges: list[Exchange],
    state: dict[str, str],
    broken: str,
    status: Status,
    message: str,
    request_: Request,
) -> None:
    site: Any = Site(session(*exchanges, **state), broken)
    outcome = recorded(request_, site, "a", "1", lambda opened: ended)
    assert (outcome.status, outcome.message) == (status, message)


@pytest.mark.parametrize(
    ("seconds", "status", "said"),
    [(0.9, INFRA, False), (1.0, INFRA, True), (61.4, INFRA, True), (61.4, LATE, False)],
)
def test_the_services_time_is_named_if_it_is_to_blame(
    seconds: float, status: Status, said: bool, request_: Request
) -> None:
    opened = session(OK)
    opened.service_time = SimpleNamespace(seconds=seconds)  # type: ignore[assignment]
    site: Any = Site(opened)
    outcome = recorded(request_, site, "a", "1", lambda _: (status, "why"))
    taken = f"why (the model service took {seconds:.0f} s that are not the agent's)"
    assert outcome.message == (taken if said else "why")
    assert outcome.service_s == seconds


@pytest.mark.parametrize("timeout_s", [60.0, 10.0])
def test_the_first_byte_of_a_reply_may_take_half_of_the_agents_time(
    timeout_s: float, request_: Request
) -> None:
    site = Site(session(OK))
    given: Any = site
    recorded(replace(request_, timeout_s=timeout_s), given, "codex", "1", lambda _: (DONE, ""))
    (grant,) = site.grants
    assert grant.first_byte_s == timeout_s / 2
    assert (grant.program, grant.outside, grant.over) == ("codex", False, None)


def test_what_cannot_be_opened_leaves_no_companion(request_: Request) -> None:
    closed: list[int] = []
    companion: Any = SimpleNamespace(close=lambda: closed.append(1))

    def fail(grant: Grant) -> None:
        raise OSError("no socket")

    site: Any = Site(session())
    site.gateway.open = fail
    act: Callable[[Session], tuple[Status, str]] = lambda _: (DONE, "")  # noqa: E731
    with pytest.raises(OSError, match="no socket"):
        recorded(replace(request_, companion=companion), site, "a", "1", act)
    assert closed == [1]


@pytest.mark.parametrize("fails", [False, True])
def test_other_skills_are_not_kept_with_the_record(fails: bool, request_: Request) -> None:
    (request_.record / BESIDE / "other").mkdir(parents=True)
    (request_.record / "kept").touch()

    def act(_: Session) -> tuple[Status, str]:
        if fails:
            raise OSError("no room")
        return DONE, ""

    site: Any = Site(session(OK))
    with pytest.raises(OSError, match="no room") if fails else nullcontext():
        recorded(request_, site, "a", "1", act)
    assert not (request_.record / BESIDE).exists() and (request_.record / "kept").exists()

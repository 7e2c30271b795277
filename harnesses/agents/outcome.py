"""From a session to an outcome: the part of a rollout that is the same for every harness."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable

from harnesses.agents.openings import OpeningWatch
from harnesses.base import Outcome, Request, Status
from harnesses.gateway.session import Grant, Session
from harnesses.gateway.wire import WIRE
from harnesses.harness import RolloutSite
from harnesses.skills import BESIDE
from harnesses.trajectories.threads import Turns
from harnesses.trajectories.trajectory import (
    build_trajectory,
    final_answer,
    skill_activated,
    skills_opened,
)

HURRIED = 0.5
"""The share of the agent's time that the wait for one reply may use up: a single call that takes
longer to begin says nothing about the agent."""


def services_fault(session: Session) -> str:
    """Why the model service is to blame if the rollout has ended badly; empty if it is not.

    It is, if it was given up, never replied, or refused or broke off the last call for a reason
    that is not the agent's (see :mod:`harnesses.gateway.blame`).
    """
    if session.failure or session.exhausted:
        return session.failure
    if not any(exchange.reply for exchange in session.exchanges):
        error = session.exchanges[-1].error if session.exchanges else "it was never reached"
        return f"the model service has not replied: {session.refused or error}"
    last = session.exchanges[-1]
    if last.reply is not None or last.blame == "agent":
        return ""
    return session.refused if last.status not in (0, 200) else f"model service: {last.error}"


def agents_fault(session: Session) -> bool:
    """Whether a rollout that ended badly is the agent's fault, not that of the model service."""
    return not services_fault(session)


def gave_up(session: Session) -> str:
    """Why a rollout that seems completed is not: the program ended well although its last call had
    failed for no fault of its agent's. Empty if that is not so."""
    last = session.exchanges[-1] if session.exchanges else None
    if session.failure or last is None or last.blame != "service":
        return session.failure
    return services_fault(session)


def _opened(request: Request, site: RolloutSite, agent: str) -> Session:
    companion = request.companion
    grant = Grant(
        request.model,
        request.seed,
        request.record,
        request.budget,
        site.anywhere,
        companion,
        over=OpeningWatch(request) if request.openings else None,
        first_byte_s=HURRIED * request.timeout_s,
        program=agent,
    )
    try:
        return site.gateway.open(grant)
    except BaseException:
        if companion is not None:
            companion.close()
        raise


def recorded(
    request: Request,
    site: RolloutSite,
    agent: str,
    version: str,
    act: Callable[[Session], tuple[Status, str]],
) -> Outcome:
    """Open a session, let ``act`` run the agent in it, and build the outcome from its exchanges.

    Args:
        request, site: of the rollout.
        agent, version: recorded in the trajectory.
        act: returns the status and, if that is not ``completed``, what happened.
    """
    started = time.monotonic()
    try:
        with _opened(request, site, agent) as session:
            status, message = act(session)
            service_s = session.service_time.seconds
    finally:
        shutil.rmtree(request.record / BESIDE, ignore_errors=True)
        site.gateway.scrubber.folder(request.record)  # However it ended.
    if failure := gave_up(session) if status is Status.COMPLETED else session.failure:
        status, message = Status.INFRA_ERROR, failure
    if status is Status.INFRA_ERROR and service_s >= 1:
        message += f" (the model service took {service_s:.0f} s that are not the agent's)"
    # An agent that could no longer reach its model has not failed, however it ended.
    if status is not Status.COMPLETED and (broken := site.broken()):
        status, message = Status.INFRA_ERROR, broken
    message = session.scrub.text(message)
    found = Turns(request.record / WIRE).so_far()
    return Outcome(
        status=status,
        message=message,
        answer=final_answer(found),
        trajectory=build_trajectory(
            found,
            agent=agent,
            version=version,
            model=request.model.name,
            session_id=request.id,
            usage=session.usage,
        ),
        usage=session.usage,
        skill_activated=skill_activated(found, request.skill),
        version=version,
        duration_s=time.monotonic() - started,
        service_s=service_s,
        others_opened=skills_opened(found, request.beside),
    )

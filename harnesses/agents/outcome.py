"""From a session to an outcome: the part of a rollout that is the same for every harness."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable

from harnesses.base import Outcome, Request, Status
from harnesses.gateway.session import Grant, Session
from harnesses.harness import RolloutSite
from harnesses.skills import BESIDE
from harnesses.trajectories.trajectory import (
    build_trajectory,
    final_answer,
    skill_activated,
    skills_opened,
)

STALLED = 0.5
"""The share of a rollout's time that a single call may wait for its reply to begin. If the time
runs out with more, the model service is to blame, not the agent."""
BAD_REQUEST = (400, 413, 422)
"""The statuses with which a service answers a request that is itself wrong, such as too long."""


def agents_fault(session: Session) -> bool:
    """Whether a rollout that ended badly is the agent's fault, not that of the model service: the
    model had replied before, and the last request was answered or was itself wrong."""
    if session.failure:
        return False
    if session.exhausted:
        return True
    if not any(exchange.reply for exchange in session.exchanges):
        return False
    last = session.exchanges[-1]
    return last.reply is not None or last.status in BAD_REQUEST


def _opened(request: Request, site: RolloutSite) -> Session:
    companion = request.companion
    grant = Grant(
        request.model, request.seed, request.record, request.budget, site.anywhere, companion
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
        with _opened(request, site) as session:
            status, message = act(session)
            waited, failure = session.longest_wait_s, session.failure
    finally:
        shutil.rmtree(request.record / BESIDE, ignore_errors=True)
    if failure:
        status, message = Status.INFRA_ERROR, failure
    if status is Status.AGENT_TIMEOUT and waited > STALLED * request.timeout_s:
        status = Status.INFRA_ERROR
        message = (
            f"model service was too slow: a call had waited {waited:.0f} s for its reply when the "
            f"agent's {request.timeout_s:g} s ended; raise the task's agent.timeout_sec"
        )
    # An agent that could no longer reach its model has not failed, however it ended.
    if status is not Status.COMPLETED and (broken := site.broken()):
        status, message = Status.INFRA_ERROR, broken
    exchanges = tuple(session.exchanges)
    return Outcome(
        status=status,
        message=message,
        answer=final_answer(exchanges),
        trajectory=build_trajectory(
            exchanges,
            agent=agent,
            version=version,
            model=request.model.name,
            session_id=request.id,
            usage=session.usage,
        ),
        usage=session.usage,
        skill_activated=skill_activated(exchanges, request.skill),
        version=version,
        duration_s=time.monotonic() - started,
        others_opened=skills_opened(exchanges, request.beside),
    )

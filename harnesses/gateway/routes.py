"""The routes of a session's calls to their upstream: unchanged, confined, translated, adapted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harnesses.gateway.confinement import confined
from harnesses.gateway.exchange import Route
from harnesses.gateway.session import Session
from harnesses.gateway.translation import pick_protocol, translate
from harnesses.gateway.upstreams import Call, Upstream
from harnesses.protocols.base import ProtocolError, ProtocolName
from harnesses.protocols.registry import PATHS

Written = tuple[bytes, str]
"""A request's body and query as they came."""
_PATHS = {protocol: path for path, protocol in PATHS.items()}


def route_of(
    session: Session,
    upstream: Upstream,
    protocol: ProtocolName,
    body: Any,
    headers: Mapping[str, str],
) -> Route:
    """A call as the client made it, and as the upstream gets it.

    Args:
        session: of the client.
        upstream: of its model. If it has a method ``adapt``, this makes of a call in its protocol
            what it takes, and names what is left out.
        protocol: of the client.
        body: of the request.
        headers: with names in lower case.

    Raises:
        ProtocolError: it has to be translated and cannot be.
    """
    grant = session.grant
    # Whether a reply is a stream is the client's to say.
    sampling = {key: value for key, value in grant.model.sampling.items() if key != "stream"}
    taken: tuple[str, ...] = ()
    if not grant.outside:
        body, taken = confined(protocol, body)
    spoken, adapt = pick_protocol(protocol, upstream.protocols), getattr(upstream, "adapt", None)
    if spoken == protocol:
        body = {**body, **sampling}
    call = Call(protocol, _PATHS[protocol], body, headers, grant.seed, grant.silence_s)
    other = None
    if spoken != protocol:
        other = translate(call, spoken, sampling, session.thoughts, session.call_ids)
    return Route(call, session.part, taken, session.call_ids, other, adapt)


def passing(
    session: Session,
    protocol: ProtocolName,
    body: Mapping[str, Any],
    headers: Mapping[str, str],
    written: Written,
) -> Route:
    """A call that passes as it is, or not at all; arguments as for :func:`route_of`.

    Raises:
        ProtocolError: the service would act outside for the agent.
    """
    grant = session.grant
    if not grant.outside:
        _, taken = confined(protocol, body)
        if taken:
            raise ProtocolError(
                f"not passed on, as the service would act outside the sandbox: {', '.join(taken)}"
            )
    raw, query = written
    path = _PATHS[protocol] + (f"?{query}" if query else "")
    headers = {name: value for name, value in headers.items() if name != "authorization"}
    bearer = session.login.value if session.login else ""
    call = Call(protocol, path, body, headers, grant.seed, grant.silence_s, raw, bearer)
    return Route(call, session.part, (), session.call_ids)

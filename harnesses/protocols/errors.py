"""Error bodies: written as the clients of each protocol expect them, and read from services, which
also send them with status 200, within a reply or in its place."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from harnesses.json_values import loads
from harnesses.protocols.base import ProtocolError, ProtocolName, ServiceFailure
from harnesses.protocols.sse import event

_KINDS = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}


def error_body(protocol: ProtocolName, status: int, message: str) -> dict[str, Any]:
    """The body of an answer with an error status."""
    kind = _KINDS.get(status, "api_error" if status >= 500 else "invalid_request_error")
    error: dict[str, Any] = {"type": kind, "message": message}
    if protocol == "messages":
        return {"type": "error", "error": error}
    return {"error": {**error, "code": None, "param": None}}


def error_event(protocol: ProtocolName, message: str, code: str = "") -> bytes:
    """The event that reports the failure of a stream; ``code`` is the service's, if it gave one."""
    body = error_body(protocol, 500, message)
    if code:
        body["error"]["code"] = code
    if protocol == "messages":
        return event(body, "error")
    if protocol == "chat":
        return event(body)
    error = {"code": code or "server_error", "message": message}
    failed = {"type": "response.failed", "sequence_number": 0}
    response = {"id": "resp_failed", "object": "response", "status": "failed", "error": error}
    return event({**failed, "response": {**response, "output": []}}, "response.failed")


def error_message(raw: bytes) -> str:
    """The message in an error body of any service, else the body itself."""
    text = raw[:2000].decode("utf-8", "replace").strip()
    try:
        body = loads(raw)
    except ValueError:
        return text
    error = body.get("error", body) if isinstance(body, dict) else body
    if isinstance(error, dict) and isinstance(error.get("message"), str):
        return str(error["message"])
    return error if isinstance(error, str) else text


def check_body(body: Any, needed: str, where: str = "reply") -> None:
    """Check that a body is an object, reports no failure, and has what makes it a reply.

    Args:
        body: a response body.
        needed: the key that every reply has, with a list.
        where: what the body is.

    Raises:
        ServiceFailure: it reports a failure.
        ProtocolError: it is something else.
    """
    if not isinstance(body, Mapping):
        raise ProtocolError(f"{where}: expected an object, got {type(body).__name__}")
    check_error(body, where)
    if isinstance(body.get(needed), list):
        return
    if body.get(needed) is not None:
        kind = type(body[needed]).__name__
        raise ProtocolError(f"{where}: {needed}: expected a list, got {kind}")
    # Proxies and gateways have forms of their own: their words, whatever they are.
    raise _failure(body, f"{where}: no {needed}")


def check_error(item: Mapping[str, Any], where: str) -> None:
    """Raises ServiceFailure if an object of a reply, at any level, contains or is an error."""
    error = item.get("error")
    if error:
        raise _failure(error, f"{where}: error")
    if "error" in (item.get("object"), str(item.get("type"))[-5:]):  # overloaded_error, too
        raise _failure(item, f"{where}: error")


def _failure(error: Any, where: str) -> ServiceFailure:
    """A failure in the service's words: its message with what else it said, at most a page."""
    if not isinstance(error, Mapping):
        return ServiceFailure(f"{where}: {error if isinstance(error, str) else json.dumps(error)}")
    known = {key: str(error[key]) for key in ("code", "type") if error.get(key) is not None}
    message = error.get("message")
    words = message if isinstance(message, str) and message else json.dumps(dict(error))
    more = {"code": error.get("code"), "metadata": error.get("metadata")}
    if words is message and any(more.values()):
        words = f"{words} {json.dumps({key: value for key, value in more.items() if value})}"
    return ServiceFailure(f"{where}: {words[:2000]}", **known)

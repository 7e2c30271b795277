"""Error bodies: written as the clients of each protocol expect them, and read from services."""

from __future__ import annotations

from typing import Any

from harnesses.json_values import loads
from harnesses.protocols.base import ProtocolName
from harnesses.protocols.sse import event

_KINDS = {
    400: "invalid_request_error",
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


def error_event(protocol: ProtocolName, message: str) -> bytes:
    """The event that reports the failure of a stream."""
    body = error_body(protocol, 500, message)
    if protocol == "messages":
        return event(body, "error")
    if protocol == "chat":
        return event(body)
    error = {"code": "server_error", "message": message}
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
